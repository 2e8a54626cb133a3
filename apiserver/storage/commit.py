"""Group commit: writes that arrive together leave together.

Interface: `GroupCommit(send)`; `await write(key, value, expected)` returns what `send` settled for that write.
Knows nothing of the store: `send(batch)` gives every write of the batch its outcome, or raises for all of them.

A write that finds nothing under way leaves in this turn of the event loop, with whatever else arrived in it. Others
wait for the batch under way to return, or to be enough to fill one: the store would sync them to disk no sooner. So
a lone write is not delayed, and batches grow with the load by themselves.

Invariants
- A batch holds each key once, oldest write first; a second write to a key waits for the next batch.
- Every write gets an outcome: when the store stays away, those still queued fail too, instead of waiting as long again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from apiserver.storage.base import Unavailable

BATCH_WRITES = 64  # writes per batch; etcd's default limit is 128 operations a transaction
BATCH_BYTES = 1 << 20  # and their bytes; etcd's default limit is 1.5 MiB a request
BATCHES_IN_FLIGHT = 4  # at most; the second and later leave only when full
CLOSE_SECONDS = 10.0  # how long a closing store waits for the batches under way


@dataclass(slots=True, eq=False)
class Write:
    """One write waiting for its batch. `value` is None for a delete; `expected` 0 means the key must not exist."""

    key: bytes
    value: bytes | None
    expected: int
    outcome: asyncio.Future[tuple[int, bytes]]  # the version, and what is stored or was removed


Send = Callable[[list[Write]], Awaitable[None]]


class GroupCommit:
    """See the module."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._queue: deque[Write] = deque()
        self._in_flight: set[asyncio.Task[None]] = set()
        self._scheduled = False

    async def write(self, key: bytes, value: bytes | None, expected: int) -> tuple[int, bytes]:
        loop = asyncio.get_running_loop()
        write = Write(key, value, expected, loop.create_future())
        self._queue.append(write)
        if not self._scheduled and self._may_depart():
            self._scheduled = True
            loop.call_soon(self._depart)
        return await write.outcome

    async def close(self) -> None:
        """Let what is under way finish, refuse the rest."""
        self._fail_queue(Unavailable("the API server is stopping"))
        if self._in_flight:
            await asyncio.wait(self._in_flight, timeout=CLOSE_SECONDS)

    def _may_depart(self) -> bool:
        under_way = len(self._in_flight)
        return under_way == 0 or (len(self._queue) >= BATCH_WRITES and under_way < BATCHES_IN_FLIGHT)

    def _depart(self) -> None:
        self._scheduled = False
        while self._queue and self._may_depart():
            batch = self._take()
            if batch:
                task = asyncio.create_task(self._commit(batch))
                self._in_flight.add(task)
                task.add_done_callback(self._returned)

    def _returned(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        self._depart()

    def _take(self) -> list[Write]:
        batch: list[Write] = []
        keys: set[bytes] = set()
        again: list[Write] = []
        size = 0
        while self._queue and len(batch) < BATCH_WRITES:
            write = self._queue[0]
            size += len(write.key) + len(write.value or b"")
            if batch and size > BATCH_BYTES:
                break
            self._queue.popleft()
            if write.outcome.done():  # its client has gone
                continue
            if write.key in keys:
                again.append(write)
            else:
                batch.append(write)
                keys.add(write.key)
        self._queue.extendleft(reversed(again))
        return batch

    async def _commit(self, batch: list[Write]) -> None:
        try:
            await self._send(batch)
        except Unavailable as error:
            _fail(batch, error)
            self._fail_queue(error)
        except Exception as error:
            _fail(batch, error)

    def _fail_queue(self, error: Exception) -> None:
        _fail(self._queue, error)
        self._queue.clear()


def _fail(writes: Iterable[Write], error: Exception) -> None:
    for write in writes:
        if not write.outcome.done():
            write.outcome.set_exception(error)
