"""The nodes ranked for one class of equal pods, kept up to date change by change. Pure.

The first pod of a class costs a look at every node; each further one only at the nodes that changed since, usually
the one the pod before it went to. Entries of the heap that are out of date are recognised by the node's generation
and thrown away when they come up.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from zlib import crc32

from scheduler import filters, scores
from scheduler.facts import PodFacts
from scheduler.snapshot import Snapshot

REMEMBERED_RANKINGS = 64
COMPACT_FACTOR = 8
"""A heap with so many times more entries than there are nodes is built anew."""


class Ranking:
    """`best()` is the node for the next pod of the class; `reasons` says for every other node why not."""

    def __init__(self, facts: PodFacts, snapshot: Snapshot) -> None:
        self.facts = facts
        self.reasons: dict[str, filters.Reasons] = {}
        self._snapshot = snapshot
        self._seen = -1
        self._heap: list[tuple[float, int, str, int]] = []

    def best(self) -> str | None:
        """The best node the pod fits on, or None."""
        self._catch_up()
        while self._heap:
            _, _, name, generation = self._heap[0]
            info = self._snapshot.nodes.get(name)
            if info is not None and info.known and info.generation == generation:
                return name
            heapq.heappop(self._heap)
        return None

    def explain(self) -> str:
        """Why there is no best node."""
        return filters.explain(self.reasons.values(), self._snapshot.known_nodes)

    def _catch_up(self) -> None:
        snapshot = self._snapshot
        if self._seen < snapshot.log_start or len(self._heap) > COMPACT_FACTOR * len(snapshot.nodes) + 64:
            self._heap, self.reasons = [], {}
            changed = set(snapshot.nodes)
        else:
            changed = set(snapshot.log[self._seen - snapshot.log_start :])
        self._seen = snapshot.log_end
        for name in changed:
            self._look_at(name)

    def _look_at(self, name: str) -> None:
        self.reasons.pop(name, None)
        info = self._snapshot.nodes.get(name)
        if info is None or not info.known:
            return
        reasons = filters.verdict(self.facts, info)
        if reasons:
            self.reasons[name] = reasons
            return
        # Nodes that are equally good are taken in an order that differs from class to class.
        tie = crc32(name.encode(), crc32(self.facts.group.encode()))
        heapq.heappush(self._heap, (-scores.score(self.facts, info), tie, name, info.generation))


class Rankings:
    """The rankings of the classes scheduled lately."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._known: OrderedDict[PodFacts, Ranking] = OrderedDict()

    def of(self, facts: PodFacts) -> Ranking:
        ranking = self._known.get(facts)
        if ranking is None:
            ranking = self._known[facts] = Ranking(facts, self._snapshot)
            if len(self._known) > REMEMBERED_RANKINGS:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(facts)
        return ranking
