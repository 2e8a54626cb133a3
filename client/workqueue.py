"""Keys to work on: client-go's work queue (k8s.io/client-go/util/workqueue).

Invariants
- A key waits at most once, however often it was added.
- A key is never handed to two workers at once: added while being worked on, it comes again after `done`.
- Backoff is per key, doubling with each `add_rate_limited` until `forget`.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import deque

from client.backoff import Backoff

BACKOFF = Backoff(0.005, 30.0)  # seconds


class WorkQueue:
    """An asyncio queue of string keys; times are in seconds of the running loop's (monotonic) clock."""

    def __init__(self, *, backoff: Backoff = BACKOFF) -> None:
        self._backoff = backoff
        self._ready: deque[str] = deque()
        self._dirty: set[str] = set()  # waiting, or to be worked on again
        self._processing: set[str] = set()
        self._failures: dict[str, int] = {}
        self._delayed: list[tuple[float, int, str]] = []
        self._due: dict[str, float] = {}  # the earliest time each delayed key is wanted
        self._sequence = itertools.count()
        self._wakeup: asyncio.TimerHandle | None = None
        self._available = asyncio.Event()

    def __len__(self) -> int:
        return len(self._ready)

    def add(self, key: str) -> None:
        """Make the key wait for a worker."""
        if key in self._dirty:
            return
        self._dirty.add(key)
        if key not in self._processing:
            self._ready.append(key)
            self._available.set()

    def add_after(self, key: str, seconds: float) -> None:
        """Add the key when `seconds` have passed; of several delays for one key the earliest counts."""
        if seconds <= 0:
            self.add(key)
            return
        due = asyncio.get_running_loop().time() + seconds
        if due >= self._due.get(key, float("inf")):
            return
        self._due[key] = due
        heapq.heappush(self._delayed, (due, next(self._sequence), key))
        self._schedule_wakeup()

    def add_rate_limited(self, key: str) -> None:
        """Add the key after a delay that doubles with each failure."""
        self._failures[key] = self._failures.get(key, 0) + 1
        self.add_after(key, self._backoff.delay(self._failures[key]))

    def forget(self, key: str) -> None:
        """The key's work succeeded: its next failure starts from the shortest delay again."""
        self._failures.pop(key, None)

    async def get(self) -> str:
        """The next key; `done` must be called when its work is over."""
        while not self._ready:
            self._available.clear()
            await self._available.wait()
        key = self._ready.popleft()
        self._dirty.discard(key)
        self._processing.add(key)
        return key

    def done(self, key: str) -> None:
        """The work on the key ended, well or not."""
        self._processing.discard(key)
        if key in self._dirty:
            self._ready.append(key)
            self._available.set()

    def _schedule_wakeup(self) -> None:
        if self._wakeup is not None:
            self._wakeup.cancel()
        self._wakeup = None
        if self._delayed:
            self._wakeup = asyncio.get_running_loop().call_at(self._delayed[0][0], self._release_due)

    def _release_due(self) -> None:
        # The loop's clock may fire a hair early, so what is due is counted with its resolution.
        horizon = asyncio.get_running_loop().time() + 0.001
        while self._delayed and self._delayed[0][0] <= horizon:
            due, _, key = heapq.heappop(self._delayed)
            if self._due.get(key) == due:
                del self._due[key]
                self.add(key)
        self._schedule_wakeup()
