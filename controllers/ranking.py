"""Which pods go first when a ReplicaSet is scaled down (Kubernetes' ActivePodsWithRanks). Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from lightkube.resources.core_v1 import Pod

from api import meta, pods

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"

_PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}
_NEVER = datetime.max.replace(tzinfo=UTC)


def to_delete(candidates: Sequence[Pod], count: int, related: Iterable[Pod]) -> list[Pod]:
    """`count` of the candidates, the least valuable ones.

    `related` are the active pods of all ReplicaSets of the same owner: where several of them share a node, one of
    those goes before one that is alone.
    """
    if count >= len(candidates):
        return list(candidates)
    crowd = Counter(pods.node_name(pod) for pod in related if pods.node_name(pod))
    return sorted(candidates, key=lambda pod: _value(pod, crowd))[:count]


def _value(pod: Pod, crowd: Counter[str]) -> tuple[object, ...]:
    """Smaller goes first: unassigned, pending, not ready, cheap, crowded, lately ready, often restarted, new."""
    created = meta.metadata(pod).creationTimestamp or _NEVER
    return (
        bool(pods.node_name(pod)),
        _PHASES.get(pods.phase(pod), 1),
        pods.is_ready(pod),
        _cost(pod),
        -crowd[pods.node_name(pod)],
        -_ready_since(pod).timestamp(),
        -_restarts(pod),
        -created.timestamp(),
        meta.name(pod),
    )


def _cost(pod: Pod) -> int:
    try:
        return int(meta.annotations(pod).get(DELETION_COST, "0"))
    except ValueError:
        return 0


def _ready_since(pod: Pod) -> datetime:
    condition = meta.get_condition(pod.status.conditions if pod.status else None, "Ready")
    if condition is None or condition.status != "True" or condition.lastTransitionTime is None:
        return _NEVER
    return condition.lastTransitionTime


def _restarts(pod: Pod) -> int:
    """The most restarted container, sidecars included."""
    status = pod.status
    if status is None:
        return 0
    statuses = [*(status.containerStatuses or []), *(status.initContainerStatuses or [])]
    return max((each.restartCount for each in statuses), default=0)
