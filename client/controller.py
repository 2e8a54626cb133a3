"""The loop every controller runs: take a key, reconcile, retry with backoff (controller-runtime's reconciler).

A reconciler takes a key, reads its caches and acts; it is idempotent and simply raises when something goes wrong.
This is the one place where errors become retries.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import httpx2
from lightkube import ApiError

from client.workqueue import WorkQueue

Reconcile = Callable[[str], Awaitable[None]]


class Controller:
    """Workers that hand keys to `reconcile`, never one key to two of them at once."""

    def __init__(self, name: str, reconcile: Reconcile, *, workers: int = 4) -> None:
        self.name = name
        self.queue = WorkQueue()
        self._reconcile = reconcile
        self._workers = workers
        self._log = logging.getLogger(name)

    def enqueue(self, key: str) -> None:
        self.queue.add(key)

    def enqueue_after(self, key: str, seconds: float) -> None:
        self.queue.add_after(key, seconds)

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._workers):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            key = await self.queue.get()
            try:
                await self._reconcile(key)
            except Exception as error:
                self._report(key, error)
                self.queue.add_rate_limited(key)
            else:
                self.queue.forget(key)
            finally:
                self.queue.done(key)

    def _report(self, key: str, error: Exception) -> None:
        """Losing a race is daily business; an API error is a line; anything else is a bug and shows where."""
        if isinstance(error, ApiError) and error.status.code == 409:
            self._log.debug("%s: %s", key, error)
        elif isinstance(error, ApiError | httpx2.HTTPError | OSError):
            self._log.warning("%s: %s", key, str(error) or type(error).__name__)
        else:
            self._log.exception("%s: reconcile failed", key)
