"""Whether a pod may run on a node, and if not, why. Pure.

Each filter is one plugin of kube-scheduler and answers with its reasons in Kubernetes' words; no reason means yes.
As in Kubernetes the first filter that says no speaks for the node, so `describe pod` shows one cause per node.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from lightkube.models.core_v1 import Taint

from api.taints import tolerated
from scheduler.facts import PodFacts, Port
from scheduler.snapshot import NodeInfo

Reasons = tuple[str, ...]
Filter = Callable[[PodFacts, NodeInfo], Reasons]

FITS: Reasons = ()
UNSCHEDULABLE_TAINT = Taint(key="node.kubernetes.io/unschedulable", effect="NoSchedule")
ANY_ADDRESS = "0.0.0.0"


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


def node_ports(pod: PodFacts, node: NodeInfo) -> Reasons:
    if any(_conflicts(port, node.used_ports) for port in pod.ports):
        return ("node(s) didn't have free ports for the requested pod ports",)
    return FITS


def node_resources_fit(pod: PodFacts, node: NodeInfo) -> Reasons:
    """Requests of all pods together must stay within what the node has to give."""
    if (
        node.pods < node.pod_limit
        and node.used_cpu_milli + pod.cpu_milli <= node.cpu_milli
        and node.used_memory_bytes + pod.memory_bytes <= node.memory_bytes
        and not pod.extended
    ):
        return FITS
    lacking = []
    if node.pods >= node.pod_limit:
        lacking.append("Too many pods")
    # Asking for nothing of a resource never fails, even on a node that is overcommitted.
    if pod.cpu_milli and node.used_cpu_milli + pod.cpu_milli > node.cpu_milli:
        lacking.append("Insufficient cpu")
    if pod.memory_bytes and node.used_memory_bytes + pod.memory_bytes > node.memory_bytes:
        lacking.append("Insufficient memory")
    for name, amount in pod.extended.items():
        if node.used_extended[name] + amount > node.extended.get(name, 0):
            lacking.append(f"Insufficient {name}")
    return tuple(lacking)


FILTERS: tuple[Filter, ...] = (
    node_unschedulable,
    taint_toleration,
    node_affinity,
    node_ports,
    node_resources_fit,
)


def verdict(pod: PodFacts, node: NodeInfo) -> Reasons:
    """Why the pod cannot run on the node; empty when it can."""
    for each in FILTERS:
        reasons = each(pod, node)
        if reasons:
            return reasons
    return FITS


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
