"""The nodes, with what runs on them: the world as the scheduler decides about it. Pure.

A node is a row; what changes with each pod are columns (numpy arrays over all rows), so that a filter or a score looks
at every node in a few operations. What follows from Node objects alone is worked out row by row and remembered.

Invariants
- A pod is accounted for once, on one node: first assumed (decided, binding under way), then confirmed by the API.
- A row whose Node object changed is in the log of changes; remembered columns look at it again, and at nothing else.
- Pods on a node that is not known (yet) are accounted for, so that the node is right when it appears.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from zlib import crc32

import numpy as np
import numpy.typing as npt
from lightkube.models.core_v1 import Taint
from lightkube.resources.core_v1 import Node

from api import meta, quantity
from scheduler.facts import Anchor, PodFacts, Port, Term

REMEMBERED_COLUMNS = 2048
"""Of what follows from Node objects alone, one for each question; 5 to 20 KB each at 5,000 nodes."""
REMEMBERED_TERMS = 512
"""Selectors of other pods that are counted along."""
FIRST_ROWS = 64
LOG_LIMIT = 100_000
"""Changes of nodes; then everything is worked out anew."""

HARD_EFFECTS = ("NoSchedule", "NoExecute")

Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[Any]
Wish = tuple[int, Term]
K = TypeVar("K")


@dataclass(slots=True)
class NodeInfo:
    """What the Node object says, and which host ports are taken. `known` is False while only pods told of the node."""

    name: str
    row: int
    known: bool = False
    labels: dict[str, str] = field(default_factory=dict)
    unschedulable: bool = False
    hard_taints: tuple[Taint, ...] = ()
    soft_taints: tuple[Taint, ...] = ()
    room: dict[str, int] = field(default_factory=dict)
    used_ports: Counter[Port] = field(default_factory=Counter)

    def describe(self, node: Node) -> bool:
        """Take in the Node object; returns whether anything that matters to placing pods changed."""
        before = self._placement()
        self.known = True
        self.labels = meta.labels(node)
        self.unschedulable = bool(node.spec and node.spec.unschedulable)
        taints = (node.spec.taints if node.spec else None) or ()
        self.hard_taints = tuple(each for each in taints if each.effect in HARD_EFFECTS)
        self.soft_taints = tuple(each for each in taints if each.effect == "PreferNoSchedule")
        amounts = dict((node.status and (node.status.allocatable or node.status.capacity)) or {})
        self.room = {name: quantity.bytes_(str(text)) for name, text in amounts.items() if name != "cpu"}
        self.room["cpu"] = quantity.milli_cpu(str(amounts.get("cpu", "0")))
        return before != self._placement()

    def _placement(self) -> tuple[object, ...]:
        return (self.known, self.labels, self.unschedulable, self.hard_taints, self.soft_taints, self.room)


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a pod is accounted for; `assumed` until the API confirms it."""

    node: str
    facts: PodFacts
    assumed: bool


@dataclass(slots=True)
class _Remembered:
    values: Numbers
    seen: int


class Snapshot:
    """All nodes and placements. Columns are read-only to everybody else, and hold for one decision."""

    def __init__(self) -> None:
        self.nodes: dict[str, NodeInfo] = {}
        self.known_nodes = 0
        self._rows: list[NodeInfo | None] = []
        self._free: list[int] = []
        self._capacity = FIRST_ROWS
        self._columns: dict[Hashable, Numbers] = {}
        self._log: list[int] = []
        self._remembered: OrderedDict[Hashable, _Remembered] = OrderedDict()
        self._placements: dict[str, Placement] = {}
        self._counted: OrderedDict[tuple[Term, ...], None] = OrderedDict()
        self._counted_by: dict[Anchor, set[tuple[Term, ...]]] = {}
        self._holders: Counter[Hashable] = Counter()
        self._wishes: dict[Anchor, Counter[Wish]] = {}
        self._numbers: dict[str, dict[str, int]] = {}

    # Columns

    @property
    def size(self) -> int:
        """Rows in use; some may be of no node."""
        return len(self._rows)

    def info(self, row: int) -> NodeInfo | None:
        return self._rows[row]

    def column(self, key: Hashable) -> Numbers:
        """("room", "used" or "scored", resource), "known", "pods" or "ports" (host ports taken)."""
        return self._column(key)[: self.size]

    def held(self, *key: Hashable) -> Numbers | None:
        """Pods on each node that are of ("group", name); None when there is none on any."""
        return self.column(key) if key in self._holders else None

    def _column(self, key: Hashable) -> Numbers:
        found = self._columns.get(key)
        if found is None or len(found) < self._capacity:
            grown = np.zeros(self._capacity, np.int64)
            if found is not None:
                grown[: len(found)] = found
            found = self._columns[key] = grown
        return found

    def remembered(
        self, question: Hashable, answer: Callable[[NodeInfo], Any], kind: npt.DTypeLike = np.bool_
    ) -> Numbers:
        """`answer` for each row; it must follow from the Node object alone, and `question` must tell all it asks."""
        if len(self._log) > LOG_LIMIT:
            self._log.clear()
            self._remembered.clear()
        known = self._remembered.get(question)
        if known is None:
            known = self._remembered[question] = _Remembered(np.zeros(self._capacity, kind), 0)
            if len(self._remembered) > REMEMBERED_COLUMNS:
                self._remembered.popitem(last=False)
            rows: Any = range(self.size)
        else:
            self._remembered.move_to_end(question)
            rows = self._log[known.seen :] if len(self._log) - known.seen < self.size else range(self.size)
        if len(known.values) < self.size:
            known.values = np.concatenate([known.values, np.zeros(self._capacity - len(known.values), kind)])
        for row in rows:
            info = self._rows[row]
            known.values[row] = answer(info) if info is not None and info.known else 0
        known.seen = len(self._log)
        return known.values[: self.size]

    def ties(self) -> Numbers:
        """A number of each node's name, to choose among equals."""
        return self.remembered("tie", lambda info: crc32(info.name.encode()), np.int64)

    # Nodes

    def put_node(self, node: Node) -> bool:
        """Take in a Node; returns whether that may let a pod run there that could not before."""
        info = self._node(meta.name(node))
        was_known, before = info.known, info.room
        if not info.describe(node):
            return False
        self.known_nodes += not was_known
        for name in before.keys() | info.room.keys():
            self._column(("room", name))[info.row] = info.room.get(name, 0)
        self._column("known")[info.row] = 1
        self._log.append(info.row)
        return True

    def remove_node(self, name: str) -> None:
        info = self.nodes.get(name)
        if info is None or not info.known:
            return
        self.known_nodes -= 1
        info.known = False
        self._column("known")[info.row] = 0
        self._log.append(info.row)
        self._drop_if_empty(info)

    def _node(self, name: str) -> NodeInfo:
        info = self.nodes.get(name)
        if info is None:
            row = self._free.pop() if self._free else len(self._rows)
            info = self.nodes[name] = NodeInfo(name, row)
            if row == len(self._rows):
                self._rows.append(info)
                while self._capacity < len(self._rows):
                    self._capacity *= 2
            self._rows[row] = info
            self._log.append(row)
        return info

    def _drop_if_empty(self, info: NodeInfo) -> None:
        if not info.known and not self._column("pods")[info.row]:
            for name in info.room:
                self._column(("room", name))[info.row] = 0
            del self.nodes[info.name]
            self._rows[info.row] = None
            self._free.append(info.row)
            self._log.append(info.row)

    # Pods

    def put_pod(self, uid: str, node: str, facts: PodFacts, *, assumed: bool = False) -> None:
        """Account for a pod on a node; what was assumed or known of it before is replaced."""
        before = self._placements.get(uid)
        if before is not None and before.node == node and before.facts is facts:
            if before.assumed and not assumed:
                self._placements[uid] = Placement(node, facts, assumed=False)
            return
        if before is not None:
            self._account(before, -1)
        self._placements[uid] = after = Placement(node, facts, assumed)
        self._node(node)
        self._account(after, +1)

    def placement(self, uid: str) -> Placement | None:
        return self._placements.get(uid)

    def remove_pod(self, uid: str) -> str | None:
        """The pod is gone or has finished; returns the node that has room again."""
        placement = self._placements.pop(uid, None)
        if placement is None:
            return None
        self._account(placement, -1)
        return placement.node

    def forget(self, uid: str) -> None:
        """Binding failed: the assumed pod is nowhere again, unless the API confirmed it meanwhile."""
        placement = self._placements.get(uid)
        if placement is not None and placement.assumed:
            self.remove_pod(uid)

    @contextmanager
    def without(self, uids: Iterable[str]) -> Iterator[None]:
        """As if those pods were nowhere, for a question or two."""
        away = {uid: found for uid in uids if (found := self._placements.pop(uid, None)) is not None}
        for placement in away.values():
            self._account(placement, -1)
        try:
            yield
        finally:
            for uid, placement in away.items():
                self._placements[uid] = placement
                self._account(placement, +1)

    def _account(self, placement: Placement, sign: int) -> None:
        info, facts = self._node(placement.node), placement.facts
        row = info.row
        self._column("pods")[row] += sign
        for name, amount in facts.requests.items():
            self._column(("used", name))[row] += sign * amount
        self._column(("scored", "cpu"))[row] += sign * facts.scored_cpu_milli
        self._column(("scored", "memory"))[row] += sign * facts.scored_memory_bytes
        for port in facts.ports:
            _count(info.used_ports, port, sign)
            self._column("ports")[row] += sign
        self._count_held(("group", facts.group), row, sign)
        for wish in (*((0, term) for term in facts.anti_affinity), *facts.preferences):
            self._count_held(("wish", wish), row, sign)
            held = self._wishes.setdefault(wish[1].anchor, Counter())
            _count(held, wish, sign)
            if not held:
                del self._wishes[wish[1].anchor]
        for anchor in facts.anchors:
            for terms in self._counted_by.get(anchor, ()):
                if facts.matches_all(terms):
                    self._column(("matching", terms))[row] += sign
        self._drop_if_empty(info)

    def _count_held(self, key: Hashable, row: int, sign: int) -> None:
        """In a column that goes when nobody is left in it."""
        self._column(key)[row] += sign
        _count(self._holders, key, sign)
        if not self._holders[key]:
            self._columns.pop(key, None)

    # Pods near pods

    def wishes(self, facts: PodFacts) -> Iterator[tuple[int, Term, Numbers]]:
        """What placed pods want of pods of this class: (weight, term, how many on each node want it).

        The weight is 0 for what they require: not to have such a pod in their domain.
        """
        for anchor in facts.anchors:
            for wish in self._wishes.get(anchor, ()):
                if facts.matches(wish[1]):
                    yield (*wish, self.column(("wish", wish)))

    def matching(self, terms: tuple[Term, ...]) -> Numbers:
        """How many pods on each node all of the terms select; counted along from the first question on."""
        if terms not in self._counted:
            self._counted[terms] = None
            self._counted_by.setdefault(terms[0].anchor, set()).add(terms)
            column = self._column(("matching", terms))
            for placement in self._placements.values():
                if placement.facts.matches_all(terms):
                    column[self.nodes[placement.node].row] += 1
            if len(self._counted) > REMEMBERED_TERMS:
                oldest, _ = self._counted.popitem(last=False)
                self._counted_by[oldest[0].anchor].discard(oldest)
                self._columns.pop(("matching", oldest), None)
        else:
            self._counted.move_to_end(terms)
        return self.column(("matching", terms))

    def domains(self, key: str) -> tuple[Numbers, int]:
        """(each row's domain of that topology, -1 without one; how many domains there are)."""
        numbers = self._numbers.setdefault(key, {})

        def of(info: NodeInfo) -> int:
            value = info.labels.get(key)
            return 0 if value is None else numbers.setdefault(value, len(numbers) + 1)

        return self.remembered(("domain", key), of, np.int64) - 1, len(numbers)

    def in_domain(self, key: str, counts: Numbers) -> Numbers:
        """The sum of `counts` over each row's domain; 0 for a row without one."""
        domain, number = self.domains(key)
        has = domain >= 0
        sums = np.bincount(domain[has], weights=counts[has], minlength=max(number, 1))
        return np.where(has, sums[np.maximum(domain, 0)], 0)


def _count(counter: Counter[K], key: K, sign: int) -> None:
    counter[key] += sign
    if not counter[key]:
        del counter[key]
