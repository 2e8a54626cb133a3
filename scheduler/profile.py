"""A profile: which filters and scores place a pod, and what they say together. Pure.

Kubernetes: https://kubernetes.io/docs/reference/scheduling/config/#profiles. A decision costs a few operations on
columns for each plug-in, whatever the mix of pods: nothing is kept between decisions but what follows from nodes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from zlib import crc32

import numpy as np

from scheduler import filters, scores
from scheduler.facts import PodFacts
from scheduler.filters import Filter, OfNode, Reasons
from scheduler.scores import Score
from scheduler.snapshot import Mask, NodeInfo, Numbers, Snapshot

CLOSE = 1e-6
"""Scores that differ by less are equal."""


@dataclass(frozen=True)
class Profile:
    filters: tuple[Filter, ...]
    scores: tuple[tuple[float, Score], ...]
    """Each with its weight."""

    def best(self, pod: PodFacts, nodes: Snapshot) -> str | None:
        """The best node the pod fits on, or None."""
        left = nodes.column("known") > 0
        for each in self.filters:
            admitted = each.admits(pod, nodes)
            if admitted is not None:
                left &= admitted
        if pod.refused or pod.volumes.refused or not left.any():
            return None
        total = self.score(pod, nodes, left)
        among = np.flatnonzero(left)
        best = among[total[among] >= total[among].max() - CLOSE]
        # Nodes that are equally good are taken in an order that differs from group to group.
        factor = crc32(pod.group.encode()) | 1
        info = nodes.info(int(best[np.argmin(nodes.ties()[best] * factor & 0xFFFFFFFF)]))
        return info.name if info is not None else None

    def score(self, pod: PodFacts, nodes: Snapshot, among: Mask) -> Numbers:
        """The weighted sum, for each row."""
        total: Numbers = np.zeros(nodes.size)
        for weight, each in self.scores:
            total += weight * each(pod, nodes, among)
        return total

    def verdicts(self, pod: PodFacts, nodes: Snapshot) -> Iterator[tuple[str, Reasons]]:
        """Each node the pod cannot run on, and why."""
        left = nodes.column("known") > 0
        for each in self.filters:
            admitted = each.admits(pod, nodes)
            if admitted is None:
                continue
            for row in np.flatnonzero(left & ~admitted):
                info = nodes.info(int(row))
                if info is not None:
                    yield info.name, each.reasons(pod, nodes, info)
            left &= admitted

    def explain(self, pod: PodFacts, nodes: Snapshot) -> str:
        """Why there is no node for it."""
        if pod.refused:
            return pod.refused
        if pod.volumes.refused and nodes.known_nodes:
            return f"0/{nodes.known_nodes} nodes are available: {pod.volumes.refused}."
        return filters.explain((reasons for _, reasons in self.verdicts(pod, nodes)), nodes.known_nodes)

    def fits(self, pod: PodFacts, nodes: Snapshot, info: NodeInfo) -> bool:
        """Whether the pod could run on that node, in view of all others."""
        if not self.may_fit(pod, nodes, info):
            return False
        answers = (each.admits(pod, nodes) for each in self.filters if not each.is_local)
        return all(admitted is None or admitted[info.row] for admitted in answers)

    def may_be_emptied(self, pod: PodFacts, nodes: Snapshot) -> Iterator[str]:
        """Nodes on which nothing but other pods can be in the way."""
        left = nodes.column("known") > 0
        for each in self.filters:
            admitted = each.admits(pod, nodes) if isinstance(each, OfNode) else None
            if admitted is not None:
                left &= admitted
        for row in np.flatnonzero(left):
            info = nodes.info(int(row))
            if info is not None:
                yield info.name

    def may_fit(self, pod: PodFacts, nodes: Snapshot, info: NodeInfo) -> bool:
        """Whether, as far as one node can tell, the pod could run there."""
        return not any(each.reasons(pod, nodes, info) for each in self.filters if each.is_local)


DEFAULT = Profile(
    filters=(
        filters.NODE_UNSCHEDULABLE,
        filters.TAINT_TOLERATION,
        filters.NODE_AFFINITY,
        filters.NodePorts(),
        filters.NodeResourcesFit(),
        filters.VOLUME_BINDING,
        filters.PodTopologySpread(),
        filters.InterPodAffinity(),
    ),
    scores=(
        (3, scores.taint_toleration),
        (2, scores.node_affinity),
        (2, scores.spreading),
        (2, scores.pod_topology_spread),
        (2, scores.inter_pod_affinity),
        (1, scores.least_allocated),
        (1, scores.balanced_allocation),
    ),
)
