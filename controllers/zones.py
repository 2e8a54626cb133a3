"""How fast pods may be evicted from lost nodes: one node at once, many slowly, and none when all are lost. Pure.

Kubernetes: nodelifecycle's disruption modes
(https://kubernetes.io/docs/concepts/architecture/nodes/#rate-limits-on-eviction). A zone is
- normal while few of its nodes are lost: they are given up at `rate`, the first of them at once;
- partially disrupted when more than two and at least `threshold` of its nodes are lost: then the network is the
  likelier cause, and a large zone gives nodes up at `secondary_rate`, a small one none;
- fully disrupted when no node is ready: the zone is gone, and its pods move to the others at `rate`.
When every zone is fully disrupted there is nowhere to go, and nothing is evicted at all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum

from lightkube.resources.core_v1 import Node

from api import meta
from controllers.node_health import ready_status

REGION, ZONE = "topology.kubernetes.io/region", "topology.kubernetes.io/zone"


class ZoneState(Enum):
    NORMAL = "Normal"
    PARTIAL = "PartialDisruption"
    FULL = "FullDisruption"


@dataclass(frozen=True)
class EvictionLimits:
    """Nodes per second that may be given up in a zone, and what decides between the rates; Kubernetes' flags and
    defaults: --node-eviction-rate, --secondary-node-eviction-rate, --large-cluster-size-threshold,
    --unhealthy-zone-threshold."""

    rate: float = 0.1
    secondary_rate: float = 0.01
    large: int = 50
    threshold: float = 0.55

    def state(self, *, ready: int, lost: int) -> ZoneState:
        if lost and not ready:
            return ZoneState.FULL
        if lost > 2 and lost / (ready + lost) >= self.threshold:
            return ZoneState.PARTIAL
        return ZoneState.NORMAL

    def rate_in(self, state: ZoneState, size: int) -> float:
        if state is not ZoneState.PARTIAL:
            return self.rate
        return self.secondary_rate if size > self.large else 0.0


@dataclass
class _Zone:
    state: ZoneState = ZoneState.NORMAL
    rate: float = 0.0
    last: float | None = None
    """When a node was last given up here."""
    granted: set[str] = field(default_factory=set)
    """Nodes whose turn has come and that are still lost; they do not wait again."""


class Brake:
    """Whose turn it is to be given up. `clock` gives monotonic seconds."""

    def __init__(self, clock: Callable[[], float], limits: EvictionLimits) -> None:
        self._clock = clock
        self._limits = limits
        self._zones: dict[str, _Zone] = {}
        self.stopped = False
        """Whether no node of any zone is ready, so that nothing may be evicted."""

    def survey(self, nodes: Iterable[Node]) -> dict[str, ZoneState]:
        """Take stock after a node's readiness changed. Returns the zones whose state did, with the new one."""
        present: dict[str, list[Node]] = defaultdict(list)
        for node in nodes:
            present[zone_of(node)].append(node)
        self._zones = {name: self._zones.get(name, _Zone()) for name in present}
        changed: dict[str, ZoneState] = {}
        for name, members in present.items():
            zone, lost = self._zones[name], {meta.name(each) for each in members if ready_status(each) != "True"}
            state = self._limits.state(ready=len(members) - len(lost), lost=len(lost))
            if state is not zone.state:
                changed[name] = state
            zone.state, zone.rate = state, self._limits.rate_in(state, len(members))
            zone.granted &= lost
        self.stopped = bool(present) and all(zone.state is ZoneState.FULL for zone in self._zones.values())
        return changed

    def seconds_until(self, node: Node) -> float:
        """How long the node must wait; 0 takes its turn, infinity is until the next survey says otherwise."""
        zone = self._zones.get(zone_of(node))
        if zone is None or self.stopped or zone.rate <= 0:
            return float("inf")
        now = self._clock()
        if meta.name(node) not in zone.granted:
            due = now if zone.last is None else zone.last + 1 / zone.rate
            if due > now:
                return due - now
            zone.last = now
            zone.granted.add(meta.name(node))
        return 0.0


def zone_of(node: Node) -> str:
    """Nodes that say nothing of zones are in one."""
    labels = meta.labels(node)
    return f"{labels.get(REGION, '')}/{labels.get(ZONE, '')}"
