"""Whether this node takes a pod that was bound to it. Pure.

The scheduler has looked already, but pods can be bound by hand, and two schedulers can be right at the same time.
Kubernetes: the kubelet's admission handlers; a refused pod ends as Failed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lightkube.resources.core_v1 import Node, Pod

from api import meta, quantity
from api.pods import pod_requests

Refusal = tuple[str, str]


def refusal(pod: Pod, node: Node, others: Iterable[Pod]) -> Refusal | None:
    """Reason and message; `others` are the pods the node has taken and that have not ended."""
    selector = (pod.spec and pod.spec.nodeSelector) or {}
    labels = meta.labels(node)
    if any(labels.get(key) != value for key, value in selector.items()):
        return (
            "NodeAffinity",
            "Pod was rejected: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector",
        )
    taken = list(others)
    allocatable: Mapping[str, str] = (node.status and node.status.allocatable) or {}
    wanted, requests = pod_requests(pod), [pod_requests(each) for each in taken]
    rows = (
        ("pods", 1, len(taken), quantity.bytes_(str(allocatable.get("pods", "110")))),
        ("cpu", wanted.cpu_milli, sum(each.cpu_milli for each in requests), _amount(allocatable, "cpu")),
        ("memory", wanted.memory_bytes, sum(each.memory_bytes for each in requests), _amount(allocatable, "memory")),
    )
    for resource, request, used, capacity in rows:
        if request and used + request > capacity:
            numbers = f"requested: {request}, used: {used}, capacity: {capacity}"
            return f"OutOf{resource}", f"Pod was rejected: Node didn't have enough resource: {resource}, {numbers}"
    return None


def _amount(allocatable: Mapping[str, str], resource: str) -> int:
    text = str(allocatable.get(resource, "0"))
    return quantity.milli_cpu(text) if resource == "cpu" else quantity.bytes_(text)
