"""Which pod is next (kube-scheduler's PriorityQueue).

    active         waiting to be scheduled: higher priority first, then who came first
    backing off    an attempt ended in an error; again after 1 s, doubling to 10 s
    unschedulable  fits nowhere; moved to active by a change that can help it

Invariants
- A pod is in one place at most, and nowhere while it is being scheduled.
- Unschedulable pods are kept by class, so that a change is held against each class once, not against each pod.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass

from client.backoff import Backoff
from scheduler.facts import PodFacts

BACKOFF = Backoff(1.0, 10.0)
FLUSH_SECONDS = 300.0
"""Unschedulable pods are tried again so often whatever happens, in case a change was overlooked."""


@dataclass(slots=True)
class _Waiting:
    """A pod the queue knows. `ticket` tells live heap entries from outdated ones."""

    key: str
    facts: PodFacts
    priority: int
    arrival: int
    ticket: int = 0
    attempts: int = 0


class SchedulingQueue:
    """Keys of pods to schedule; times are in seconds of the running loop's (monotonic) clock."""

    def __init__(self) -> None:
        self._pods: dict[str, _Waiting] = {}
        self._active: list[tuple[int, int, int, str]] = []
        self._unschedulable: dict[PodFacts, dict[str, _Waiting]] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._numbers = itertools.count(1)
        self._available = asyncio.Event()

    def __len__(self) -> int:
        return len(self._pods)

    def add(self, key: str, facts: PodFacts, *, priority: int = 0) -> None:
        """A pod appeared, or changed in a way that may matter. One that is known keeps its turn."""
        waiting = self._pods.get(key)
        if waiting is None:
            waiting = self._pods[key] = _Waiting(key, facts, priority, arrival=next(self._numbers))
        elif waiting.facts is facts and waiting.priority == priority:
            return
        else:
            self._take_out(waiting)
            waiting.facts, waiting.priority = facts, priority
        self._activate(waiting)

    def delete(self, key: str) -> None:
        """The pod is gone, has been bound, or is no longer to be scheduled."""
        waiting = self._pods.pop(key, None)
        if waiting is not None:
            self._take_out(waiting)

    async def pop(self) -> str:
        """The next pod. Afterwards exactly one of `delete`, `put_unschedulable` and `back_off` must follow."""
        while True:
            while self._active:
                _, _, ticket, key = heapq.heappop(self._active)
                waiting = self._pods.get(key)
                if waiting is not None and waiting.ticket == ticket:
                    waiting.ticket = 0
                    return key
            self._available.clear()
            await self._available.wait()

    def put_unschedulable(self, key: str) -> None:
        """It fits nowhere: wait for a change that helps."""
        waiting = self._pods.get(key)
        if waiting is not None:
            self._unschedulable.setdefault(waiting.facts, {})[key] = waiting
            self._wake_after(waiting, FLUSH_SECONDS)

    def back_off(self, key: str) -> None:
        """An error, also of what it waits for: try again in a while, longer each time."""
        waiting = self._pods.get(key)
        if waiting is not None:
            self._take_out(waiting)
            waiting.attempts += 1
            self._wake_after(waiting, BACKOFF.delay(waiting.attempts))

    def move(self, helps: Callable[[PodFacts], bool]) -> None:
        """A change may have made room: activate the unschedulable pods of every class it helps."""
        for facts in [each for each in self._unschedulable if helps(each)]:
            for waiting in list(self._unschedulable[facts].values()):
                self._take_out(waiting)
                self._activate(waiting)

    def _wake_after(self, waiting: _Waiting, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._timers[waiting.key] = loop.call_later(seconds, self._wake, waiting)

    def _wake(self, waiting: _Waiting) -> None:
        self._take_out(waiting)
        self._activate(waiting)

    def _activate(self, waiting: _Waiting) -> None:
        waiting.ticket = next(self._numbers)
        heapq.heappush(self._active, (-waiting.priority, waiting.arrival, waiting.ticket, waiting.key))
        self._available.set()

    def _take_out(self, waiting: _Waiting) -> None:
        waiting.ticket = 0
        timer = self._timers.pop(waiting.key, None)
        if timer is not None:
            timer.cancel()
        siblings = self._unschedulable.get(waiting.facts)
        if siblings is not None:
            siblings.pop(waiting.key, None)
            if not siblings:
                del self._unschedulable[waiting.facts]
