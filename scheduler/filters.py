"""Whether a pod may run on a node, and if not, why. Pure.

Each filter is one plugin of kube-scheduler. `admits` looks at all nodes at once; `reasons` says of one that was not
admitted why, in Kubernetes' words. As in Kubernetes the first filter that says no speaks for the node, so `describe
pod` shows one cause per node.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from typing import Protocol

import numpy as np
from lightkube.models.core_v1 import Taint

from api.taints import tolerated
from scheduler.facts import PodFacts, Port, Spread, Term
from scheduler.snapshot import Mask, NodeInfo, Numbers, Snapshot

Reasons = tuple[str, ...]

FITS: Reasons = ()
UNSCHEDULABLE_TAINT = Taint(key="node.kubernetes.io/unschedulable", effect="NoSchedule")
ANY_ADDRESS = "0.0.0.0"
EPHEMERAL_STORAGE = "ephemeral-storage"
ELSEWHERE = "node(s) had volume node affinity conflict"
NO_VOLUMES = "node(s) didn't find available persistent volumes to bind"


class Filter(Protocol):
    """A plugin of the Filter extension point."""

    is_local: bool
    """Whether what happens on other nodes makes no difference."""

    def admits(self, pod: PodFacts, nodes: Snapshot) -> Mask | None:
        """For each row whether the pod may run there; None is yes for all."""
        ...

    def reasons(self, pod: PodFacts, nodes: Snapshot, info: NodeInfo) -> Reasons:
        """Why not there; of a local filter empty when it may."""
        ...


class OfNode(Filter):
    """A filter whose answer follows from the Node object: worked out once for pods that ask alike."""

    is_local = True

    def __init__(
        self, why_not: Callable[[PodFacts, NodeInfo], Reasons], asks: Callable[[PodFacts], Hashable | None]
    ) -> None:
        self._why_not, self._asks = why_not, asks

    def admits(self, pod: PodFacts, nodes: Snapshot) -> Mask | None:
        question = self._asks(pod)
        if question is None:
            return None
        return nodes.remembered((self._why_not, question), lambda info: not self._why_not(pod, info))

    def reasons(self, pod: PodFacts, nodes: Snapshot, info: NodeInfo) -> Reasons:
        return self._why_not(pod, info)


def node_unschedulable(pod: PodFacts, node: NodeInfo) -> Reasons:
    """A cordoned node takes only pods that tolerate being there."""
    if not node.unschedulable or tolerated(UNSCHEDULABLE_TAINT, pod.tolerations):
        return FITS
    return ("node(s) were unschedulable",)


def taint_toleration(pod: PodFacts, node: NodeInfo) -> Reasons:
    for taint in node.hard_taints:
        if not tolerated(taint, pod.tolerations):
            return (f"node(s) had untolerated taint {{{taint.key}: {taint.value or ''}}}",)
    return FITS


def node_affinity(pod: PodFacts, node: NodeInfo) -> Reasons:
    """nodeSelector, and any of the required terms."""
    fits = all(each.matches(node.labels) for each in pod.selector)
    if fits and pod.required_terms is not None:
        fits = any(term.matches(node.name, node.labels) for term in pod.required_terms)
    return FITS if fits else ("node(s) didn't match Pod's node affinity/selector",)


def _asks_affinity(pod: PodFacts) -> Hashable | None:
    return (pod.selector, pod.required_terms) if pod.selector or pod.required_terms is not None else None


def volume_binding(pod: PodFacts, node: NodeInfo) -> Reasons:
    """The volumes of its claims can be used there."""
    for terms in pod.volumes.terms:
        if not any(term.matches(node.name, node.labels) for term in terms):
            return (NO_VOLUMES if pod.volumes.unbound else ELSEWHERE,)
    return FITS


class NodePorts(Filter):
    is_local = True

    def admits(self, pod: PodFacts, nodes: Snapshot) -> Mask | None:
        if not pod.ports:
            return None
        free: Mask = nodes.column("ports") == 0
        for row in np.flatnonzero(~free):
            info = nodes.info(int(row))
            free[row] = info is not None and not self.reasons(pod, nodes, info)
        return free

    def reasons(self, pod: PodFacts, nodes: Snapshot, info: NodeInfo) -> Reasons:
        if any(_conflicts(port, info.used_ports) for port in pod.ports):
            return ("node(s) didn't have free ports for the requested pod ports",)
        return FITS


class NodeResourcesFit(Filter):
    """Requests of all pods together must stay within what the node has to give.

    Asking for nothing of a resource never fails, even on a node that is overcommitted; a node that does not report
    its ephemeral storage does not count it.
    """

    is_local = True

    def admits(self, pod: PodFacts, nodes: Snapshot) -> Mask | None:
        fits: Mask = nodes.column("pods") < nodes.column(("room", "pods"))
        for name, amount in pod.requests.items():
            room = nodes.column(("room", name))
            enough = nodes.column(("used", name)) + amount <= room
            fits &= enough | (room == 0) if name == EPHEMERAL_STORAGE else enough
        return fits

    def reasons(self, pod: PodFacts, nodes: Snapshot, info: NodeInfo) -> Reasons:
        def of(*column: str) -> int:
            return int(nodes.column(column if len(column) > 1 else column[0])[info.row])

        lacking = ["Too many pods"] if of("pods") >= of("room", "pods") else []
        for name, amount in pod.requests.items():
            uncounted = name == EPHEMERAL_STORAGE and not of("room", name)
            if of("used", name) + amount > of("room", name) and not uncounted:
                lacking.append(f"Insufficient {name}")
        return tuple(lacking)


class PodTopologySpread(Filter):
    """topologySpreadConstraints with DoNotSchedule: no domain gets further ahead of the emptiest than maxSkew."""

    is_local = False

    def admits(self, pod: PodFacts, nodes: Snapshot) -> Mask | None:
        admitted: Mask | None = None
        for each in pod.spread:
            mask = _keeps_skew(pod, nodes, each)
            admitted = mask if admitted is None else admitted & mask
        return admitted

    def reasons(self, pod: PodFacts, nodes: Snapshot, info: NodeInfo) -> Reasons:
        missing = any(each.term.topology_key not in info.labels for each in pod.spread)
        text = "node(s) didn't match pod topology spread constraints"
        return (f"{text} (missing required label)" if missing else text,)


def _keeps_skew(pod: PodFacts, nodes: Snapshot, wanted: Spread) -> Mask:
    domain, number = nodes.domains(wanted.term.topology_key)
    eligible = counted_nodes(pod, nodes, wanted) & (domain >= 0)
    counts = nodes.matching((wanted.term,))
    sums = np.bincount(domain[eligible], weights=counts[eligible], minlength=max(number, 1))
    there = np.unique(domain[eligible])
    least = 0 if len(there) < wanted.min_domains or not len(there) else sums[there].min()
    after = sums[np.maximum(domain, 0)] + pod.matches(wanted.term) - least
    admitted: Mask = (domain >= 0) & (after <= wanted.max_skew)
    return admitted


def counted_nodes(pod: PodFacts, nodes: Snapshot, wanted: Spread) -> Mask:
    """Nodes that take part in a constraint: by its policies those the pod could be on by affinity and taints."""
    mask: Mask = nodes.column("known") > 0
    for honoured, each in ((wanted.honor_affinity, NODE_AFFINITY), (wanted.honor_taints, TAINT_TOLERATION)):
        admitted = each.admits(pod, nodes) if honoured else None
        mask = mask if admitted is None else mask & admitted
    if all_keys := {each.term.topology_key for each in pod.spread}:
        for key in all_keys:
            mask = mask & (nodes.domains(key)[0] >= 0)
    return mask


class InterPodAffinity(Filter):
    """Required pod affinity, pod anti-affinity, and the anti-affinity of pods that are there already."""

    is_local = False

    def __init__(self) -> None:
        self._parts: tuple[tuple[str, Callable[[PodFacts, Snapshot], Mask | None]], ...] = (
            ("node(s) didn't match pod affinity rules", _near),
            ("node(s) didn't match pod anti-affinity rules", _apart),
            ("node(s) didn't satisfy existing pods anti-affinity rules", _welcome),
        )

    def admits(self, pod: PodFacts, nodes: Snapshot) -> Mask | None:
        admitted: Mask | None = None
        for _, part in self._parts:
            mask = part(pod, nodes)
            if mask is not None:
                admitted = mask if admitted is None else admitted & mask
        return admitted

    def reasons(self, pod: PodFacts, nodes: Snapshot, info: NodeInfo) -> Reasons:
        masks = ((text, part(pod, nodes)) for text, part in self._parts)
        return next(((text,) for text, mask in masks if mask is not None and not mask[info.row]), FITS)


def _near(pod: PodFacts, nodes: Snapshot) -> Mask | None:
    """In a domain of pods that match all terms; the first of those that seek their own kind may go anywhere."""
    if not pod.affinity:
        return None
    counts = nodes.matching(pod.affinity)
    is_first = pod.matches_all(pod.affinity) and not counts.any()
    admitted: Mask = np.ones(nodes.size, np.bool_)
    for term in pod.affinity:
        has = nodes.domains(term.topology_key)[0] >= 0
        admitted &= has if is_first else has & (nodes.in_domain(term.topology_key, counts) > 0)
    return admitted


def _apart(pod: PodFacts, nodes: Snapshot) -> Mask | None:
    return _without(nodes, ((term, nodes.matching((term,))) for term in pod.anti_affinity))


def _welcome(pod: PodFacts, nodes: Snapshot) -> Mask | None:
    return _without(nodes, ((term, counts) for weight, term, counts in nodes.wishes(pod) if not weight))


def _without(nodes: Snapshot, terms: Iterable[tuple[Term, Numbers]]) -> Mask | None:
    admitted: Mask | None = None
    for term, counts in terms:
        mask: Mask = nodes.in_domain(term.topology_key, counts) == 0
        admitted = mask if admitted is None else admitted & mask
    return admitted


NODE_UNSCHEDULABLE = OfNode(node_unschedulable, lambda pod: pod.tolerations_key)
TAINT_TOLERATION = OfNode(taint_toleration, lambda pod: pod.tolerations_key)
NODE_AFFINITY = OfNode(node_affinity, _asks_affinity)
VOLUME_BINDING = OfNode(volume_binding, lambda pod: pod.volumes.terms or None)


def explain(verdicts: Iterable[Reasons], total: int) -> str:
    """`0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable.`"""
    if total == 0:
        return "no nodes available to schedule pods"
    counts = Counter(reason for reasons in verdicts for reason in reasons)
    listed = ", ".join(sorted(f"{count} {reason}" for reason, count in counts.items()))
    return f"0/{total} nodes are available: {listed}." if listed else f"0/{total} nodes are available."


def _conflicts(port: Port, used: Counter[Port]) -> bool:
    protocol, number, address = port
    return any(
        (used_protocol, used_number) == (protocol, number)
        and (used_address == address or ANY_ADDRESS in (address, used_address))
        for used_protocol, used_number, used_address in used
    )
