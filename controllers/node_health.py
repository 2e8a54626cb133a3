"""What follows from a node's health: conditions and taints. Pure.

Kubernetes: pkg/controller/nodelifecycle. A node that is silent for the grace period is Unknown; taints carry the
verdict to the scheduler (NoSchedule) and to the eviction of its pods (NoExecute).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from lightkube.models.core_v1 import NodeCondition, Taint
from lightkube.resources.core_v1 import Node

from api import meta

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
CONDITIONS = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")

Key = tuple[str, str]
"""A taint's key and effect, by which it is told from others."""

_PRESSURES = {
    "MemoryPressure": "node.kubernetes.io/memory-pressure",
    "DiskPressure": "node.kubernetes.io/disk-pressure",
    "PIDPressure": "node.kubernetes.io/pid-pressure",
    "NetworkUnavailable": "node.kubernetes.io/network-unavailable",
}
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"

MANAGED: frozenset[Key] = frozenset(
    [(key, "NoSchedule") for key in (NOT_READY, UNREACHABLE, UNSCHEDULABLE, *_PRESSURES.values())]
    + [(NOT_READY, "NoExecute"), (UNREACHABLE, "NoExecute")]
)
"""The taints this controller sets and removes; it touches no others."""


def ready_status(node: Node) -> str:
    """True, False or Unknown; a node that never said anything is Unknown."""
    condition = meta.get_condition(node.status.conditions if node.status else None, "Ready")
    return condition.status if condition is not None else "Unknown"


def lost_conditions(node: Node, now: datetime) -> list[NodeCondition]:
    """The node's conditions after it has been silent for too long."""
    present = [meta.clone(each) for each in (node.status.conditions if node.status else None) or []]
    created = meta.metadata(node).creationTimestamp
    for type_ in CONDITIONS:
        found = meta.get_condition(present, type_)
        if found is None:
            present.append(
                NodeCondition(
                    type=type_,
                    status="Unknown",
                    reason="NodeStatusNeverUpdated",
                    message="Kubelet never posted node status.",
                    lastHeartbeatTime=created,
                    lastTransitionTime=now,
                )
            )
        elif found.status != "Unknown":
            found.status = "Unknown"
            found.reason = "NodeStatusUnknown"
            found.message = "Kubelet stopped posting node status."
            found.lastTransitionTime = now
    return present


def wanted_taints(node: Node, *, evict: bool) -> frozenset[Key]:
    """The managed taints this node should have; `evict` says whether its turn to be given up has come (zones.py)."""
    wanted: set[Key] = set()
    ready = ready_status(node)
    if ready != "True":
        key = NOT_READY if ready == "False" else UNREACHABLE
        wanted.add((key, "NoSchedule"))
        if evict:
            wanted.add((key, "NoExecute"))
    for type_, key in _PRESSURES.items():
        condition = meta.get_condition(node.status.conditions if node.status else None, type_)
        if condition is not None and condition.status == "True":
            wanted.add((key, "NoSchedule"))
    if node.spec and node.spec.unschedulable:
        wanted.add((UNSCHEDULABLE, "NoSchedule"))
    return frozenset(wanted)


def is_evicted(node: Node) -> bool:
    """Whether the node has been given up already."""
    keys = {each.key for each in (node.spec.taints if node.spec else None) or () if each.effect == "NoExecute"}
    return bool(keys & {NOT_READY, UNREACHABLE})


def with_taints(present: list[Taint] | None, wanted: frozenset[Key], now: datetime) -> list[Taint] | None:
    """The taints with the managed ones brought to `wanted`; None when that is what they are."""
    present = present or []
    have = {(each.key, each.effect) for each in present}
    if have & MANAGED == wanted:
        return None
    kept = [each for each in present if (each.key, each.effect) not in MANAGED - wanted]
    return kept + [Taint(key=key, effect=effect, timeAdded=now) for key, effect in sorted(wanted - have)]


@dataclass
class _Sight:
    """What a node looked like when it last changed, and when that was."""

    lease: str
    heartbeat: datetime | None
    at: float


class Observations:
    """How long each node has been silent, in time during which it could have been heard.

    The local monotonic clock is used, and what nodes write as time is only compared. Time counts only while this
    process can hear at all: it writes a heartbeat of its own every `period` and waits for the watch to bring it back.
    While that does not come round (API server or etcd away, or this machine frozen) hardly more than a period is
    counted, and after a long gap every node gets its grace anew.
    """

    def __init__(self, clock: Callable[[], float], *, period: float) -> None:
        self._clock = clock
        self._countable_gap = 1.5 * period + 0.5
        self._long_gap = 2 * self._countable_gap
        self._nodes: dict[str, _Sight] = {}
        self._heard: float | None = None
        self._counted = 0.0

    def now(self) -> float:
        """The time counted so far; it begins with the first heartbeat."""
        if self._heard is None:
            return self._counted
        return self._counted + min(self._clock() - self._heard, self._countable_gap)

    def hear_ourselves(self) -> bool:
        """Our own heartbeat came round. Returns whether that ended a long gap."""
        counted, moment = self.now(), self._clock()
        ended_gap = self._heard is not None and moment - self._heard > self._long_gap
        self._counted, self._heard = counted, moment
        if ended_gap:
            self.renew()
        return ended_gap

    def renew(self) -> None:
        """Every node gets its grace period anew."""
        now = self.now()
        for sight in self._nodes.values():
            sight.at = now

    def see(self, name: str, *, lease: str, heartbeat: datetime | None) -> None:
        """The node as it is now: it lives if its lease or its status' heartbeat changed."""
        sight = self._nodes.get(name)
        if sight is None:
            self._nodes[name] = _Sight(lease, heartbeat, self.now())
        elif (lease and lease != sight.lease) or (heartbeat is not None and heartbeat != sight.heartbeat):
            self._nodes[name] = _Sight(lease or sight.lease, heartbeat or sight.heartbeat, self.now())

    def silent_for(self, name: str) -> float:
        """Seconds since the node was last heard of."""
        sight = self._nodes.get(name)
        return self.now() - sight.at if sight is not None else 0.0

    def forget(self, name: str) -> None:
        self._nodes.pop(name, None)
