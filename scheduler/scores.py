"""How well a pod would be placed on each node: 0 to 100, higher is better. Pure.

The plugins and weights of kube-scheduler. `among` are the nodes that are left to choose from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from api.taints import tolerated
from scheduler.facts import PodFacts
from scheduler.filters import counted_nodes
from scheduler.snapshot import Mask, NodeInfo, Numbers, Snapshot

BEST = 100.0

Score = Callable[[PodFacts, Snapshot, Mask], "Numbers | float"]
"""A number for each row, or one for all."""


def taint_toleration(pod: PodFacts, nodes: Snapshot, among: Mask) -> Numbers | float:
    """Nodes whose PreferNoSchedule taints the pod does not tolerate come last."""

    def of(info: NodeInfo) -> float:
        return BEST / (1 + sum(not tolerated(taint, pod.tolerations) for taint in info.soft_taints))

    return nodes.remembered(("soft taints", pod.tolerations_key), of, np.float32)


def node_affinity(pod: PodFacts, nodes: Snapshot, among: Mask) -> Numbers | float:
    """The share of the preferred terms, by weight, that the node matches."""
    total = sum(weight for weight, _ in pod.preferred_terms)
    if not total:
        return 0.0

    def of(info: NodeInfo) -> float:
        matched = sum(weight for weight, term in pod.preferred_terms if term.matches(info.name, info.labels))
        return BEST * matched / total

    return nodes.remembered(("preferred nodes", pod.preferred_terms), of, np.float32)


def spreading(pod: PodFacts, nodes: Snapshot, among: Mask) -> Numbers | float:
    """Pods of one controller (or with equal labels) go to different nodes first."""
    counts = nodes.held("group", pod.group)
    return BEST if counts is None else BEST / (1 + counts)


def pod_topology_spread(pod: PodFacts, nodes: Snapshot, among: Mask) -> Numbers | float:
    """topologySpreadConstraints with ScheduleAnyway: the emptier the node's domains, the better."""
    if not pod.soft_spread:
        return 0.0
    crowd = np.zeros(nodes.size)
    for each in pod.soft_spread:
        number = nodes.domains(each.term.topology_key)[1]
        counts = np.where(counted_nodes(pod, nodes, each), nodes.matching((each.term,)), 0)
        crowd += nodes.in_domain(each.term.topology_key, counts) * np.log(number + 2) + each.max_skew - 1
    return _scaled(-crowd, among)


def inter_pod_affinity(pod: PodFacts, nodes: Snapshot, among: Mask) -> Numbers | float:
    """Preferred (anti-)affinity, the pod's and that of pods already there."""
    sums: Numbers | None = None
    for key, weight, counts in _pulls(pod, nodes):
        pull = weight * nodes.in_domain(key, counts)
        sums = pull if sums is None else sums + pull
    return 0.0 if sums is None else _scaled(sums, among)


def _pulls(pod: PodFacts, nodes: Snapshot) -> Iterator[tuple[str, int, Numbers]]:
    for weight, term in pod.preferences:
        yield term.topology_key, weight, nodes.matching((term,))
    for weight, term, counts in nodes.wishes(pod):
        yield term.topology_key, weight, counts


def _scaled(values: Numbers, among: Mask) -> Numbers | float:
    """0 for the least of those left, 100 for the greatest."""
    least, greatest = values[among].min(), values[among].max()
    span: float = greatest - least
    scaled: Numbers = BEST * (values - least) / (span or 1)
    return scaled


def least_allocated(pod: PodFacts, nodes: Snapshot, among: Mask) -> Numbers | float:
    """The share that would stay free, of cpu and memory on average."""
    cpu, memory = _fractions(pod, nodes)
    return BEST * (1 - (cpu + memory) / 2)


def balanced_allocation(pod: PodFacts, nodes: Snapshot, among: Mask) -> Numbers | float:
    """Cpu and memory should fill up together."""
    cpu, memory = _fractions(pod, nodes)
    unbalanced: Numbers = np.abs(cpu - memory)
    return BEST * (1 - unbalanced / 2)


def _fractions(pod: PodFacts, nodes: Snapshot) -> tuple[Numbers, Numbers]:
    def of(name: str, amount: int) -> Numbers:
        room = nodes.column(("room", name))
        share: Numbers = np.minimum((nodes.column(("scored", name)) + amount) / np.maximum(room, 1), 1.0)
        return share

    return of("cpu", pod.scored_cpu_milli), of("memory", pod.scored_memory_bytes)
