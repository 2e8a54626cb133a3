"""The nodes, with what runs on them: the world as the scheduler decides about it. Pure.

Invariants
- A pod is accounted for once, on one node: first assumed (decided, binding under way), then confirmed by the API.
- Every change to a node gives it a new generation and a place in the log of changes, so that whoever derives
  something from nodes (ranking.py) need look only at what changed.
- Pods on a node that is not known (yet) are accounted for, so that the node is right when it appears.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TypeVar

from lightkube.models.core_v1 import Taint
from lightkube.resources.core_v1 import Node

from api import meta, quantity
from scheduler.facts import PodFacts, Port

LOG_LIMIT = 20_000
"""Changes remembered; who fell further behind starts over."""

K = TypeVar("K")

HARD_EFFECTS = ("NoSchedule", "NoExecute")


@dataclass(slots=True)
class NodeInfo:
    """A node's room and what is taken of it. `known` is False while only pods told of the node."""

    name: str
    generation: int = 0
    known: bool = False
    labels: dict[str, str] = field(default_factory=dict)
    unschedulable: bool = False
    hard_taints: tuple[Taint, ...] = ()
    soft_taints: tuple[Taint, ...] = ()
    cpu_milli: int = 0
    memory_bytes: int = 0
    pod_limit: int = 0
    extended: dict[str, int] = field(default_factory=dict)
    used_cpu_milli: int = 0
    used_memory_bytes: int = 0
    scored_cpu_milli: int = 0
    scored_memory_bytes: int = 0
    used_extended: Counter[str] = field(default_factory=Counter)
    used_ports: Counter[Port] = field(default_factory=Counter)
    groups: Counter[str] = field(default_factory=Counter)
    pods: int = 0

    def describe(self, node: Node) -> bool:
        """Take in the Node object; returns whether anything that matters to placing pods changed."""
        before = self._placement()
        self.known = True
        self.labels = meta.labels(node)
        self.unschedulable = bool(node.spec and node.spec.unschedulable)
        taints = (node.spec.taints if node.spec else None) or ()
        self.hard_taints = tuple(each for each in taints if each.effect in HARD_EFFECTS)
        self.soft_taints = tuple(each for each in taints if each.effect == "PreferNoSchedule")
        status = node.status
        room = (status.allocatable or status.capacity) if status else None
        amounts = dict(room or {})
        self.cpu_milli = quantity.milli_cpu(str(amounts.pop("cpu", "0")))
        self.memory_bytes = quantity.bytes_(str(amounts.pop("memory", "0")))
        self.pod_limit = quantity.bytes_(str(amounts.pop("pods", "0")))
        self.extended = {name: quantity.bytes_(str(text)) for name, text in amounts.items()}
        return before != self._placement()

    def _placement(self) -> tuple[object, ...]:
        room = (self.cpu_milli, self.memory_bytes, self.pod_limit, self.extended)
        return (self.known, self.labels, self.unschedulable, self.hard_taints, self.soft_taints, *room)

    def account(self, pod: PodFacts, sign: int) -> None:
        """Add (+1) or remove (-1) a pod of this class."""
        self.pods += sign
        self.used_cpu_milli += sign * pod.cpu_milli
        self.used_memory_bytes += sign * pod.memory_bytes
        self.scored_cpu_milli += sign * pod.scored_cpu_milli
        self.scored_memory_bytes += sign * pod.scored_memory_bytes
        for name, amount in pod.extended.items():
            self.used_extended[name] += sign * amount
        for port in pod.ports:
            _count(self.used_ports, port, sign)
        _count(self.groups, pod.group, sign)


def _count(counter: Counter[K], key: K, sign: int) -> None:
    counter[key] += sign
    if not counter[key]:
        del counter[key]


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a pod is accounted for; `assumed` until the API confirms it."""

    node: str
    facts: PodFacts
    assumed: bool


class Snapshot:
    """All nodes and placements. `log` and `log_start` number the changes since the beginning."""

    def __init__(self) -> None:
        self.nodes: dict[str, NodeInfo] = {}
        self.known_nodes = 0
        self.log: list[str] = []
        self.log_start = 0
        self._generation = 0
        self._placements: dict[str, Placement] = {}

    @property
    def log_end(self) -> int:
        return self.log_start + len(self.log)

    def put_node(self, node: Node) -> bool:
        """Take in a Node; returns whether that may let a pod run there that could not before."""
        info = self._node(meta.name(node))
        was_known = info.known
        changed = info.describe(node)
        if changed:
            self.known_nodes += not was_known
            self._touch(info)
        return changed

    def remove_node(self, name: str) -> None:
        info = self.nodes.get(name)
        if info is None or not info.known:
            return
        self.known_nodes -= 1
        info.known = False
        self._touch(info)
        self._drop_if_empty(info)

    def put_pod(self, uid: str, node: str, facts: PodFacts, *, assumed: bool = False) -> None:
        """Account for a pod on a node; what was assumed or known of it before is replaced."""
        before = self._placements.get(uid)
        if before is not None and before.node == node and before.facts is facts:
            if before.assumed and not assumed:
                self._placements[uid] = Placement(node, facts, assumed=False)
            return
        if before is not None:
            self._release(before)
        info = self._node(node)
        info.account(facts, +1)
        self._touch(info)
        self._placements[uid] = Placement(node, facts, assumed)

    def placement(self, uid: str) -> Placement | None:
        return self._placements.get(uid)

    def remove_pod(self, uid: str) -> str | None:
        """The pod is gone or has finished; returns the node that has room again."""
        placement = self._placements.pop(uid, None)
        if placement is None:
            return None
        self._release(placement)
        return placement.node

    def forget(self, uid: str) -> None:
        """Binding failed: the assumed pod is nowhere again, unless the API confirmed it meanwhile."""
        placement = self._placements.get(uid)
        if placement is not None and placement.assumed:
            self.remove_pod(uid)

    def _release(self, placement: Placement) -> None:
        info = self._node(placement.node)
        info.account(placement.facts, -1)
        self._touch(info)
        self._drop_if_empty(info)

    def _drop_if_empty(self, info: NodeInfo) -> None:
        if not info.known and info.pods == 0:
            self.nodes.pop(info.name, None)

    def _node(self, name: str) -> NodeInfo:
        info = self.nodes.get(name)
        if info is None:
            info = self.nodes[name] = NodeInfo(name)
            self._touch(info)
        return info

    def _touch(self, info: NodeInfo) -> None:
        self._generation += 1
        info.generation = self._generation
        self.log.append(info.name)
        if len(self.log) > 2 * LOG_LIMIT:
            del self.log[:LOG_LIMIT]
            self.log_start += LOG_LIMIT
