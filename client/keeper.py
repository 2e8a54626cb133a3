"""Keeps something on this host equal to what the cluster wants: the loop behind kernel rules and HAProxy.

Interface: `Keeper(name, sync)`; `mark()` says that something changed, `run()` works until cancelled.

Invariants
- The first change after a quiet time is applied at once; during a burst, at most one `sync` per `min_sync_seconds`,
  with everything that came meanwhile.
- A `sync` that raises OSError is logged and retried with backoff, and is to leave what was in force before.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from client.backoff import Backoff

CHECK_SECONDS = 30.0
"""How often what is kept is looked after, in case something else on the host changed it."""

BACKOFF = Backoff(0.1, 5.0)


@dataclass
class Health:
    """What /healthz tells."""

    started: float = field(default_factory=time.time)
    last_sync: float = 0.0
    """When it last was known to be as wanted; unix seconds, 0 for never."""
    pending_since: float = 0.0
    """Since when a change waits to be applied; 0 for none."""
    syncs: int = 0
    last_error: str = ""


class Keeper:
    """`sync(suspect)` makes it so; `suspect`: what is there may not be what was put there."""

    def __init__(self, name: str, sync: Callable[[bool], Awaitable[None]], *, min_sync_seconds: float) -> None:
        self.health = Health()
        self._apply = sync
        self._min_sync_seconds = min_sync_seconds
        self._suspect = False
        self._wake = asyncio.Event()
        self._log = logging.getLogger(name)

    def mark(self) -> None:
        """Something changed."""
        self.health.pending_since = self.health.pending_since or time.time()
        self._wake.set()

    async def run(self) -> None:
        """Call when the caches are complete: a half-known cluster must not replace what is good."""
        self.mark()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sync_forever())
            group.create_task(self._check_forever())

    async def _sync_forever(self) -> None:
        failures = 0
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._sync()
            except OSError as error:
                self.health.last_error = str(error)
                self._log.warning("everything stays as it is: %s", error)
                failures += 1
                await asyncio.sleep(BACKOFF.delay(failures))
                self._wake.set()
            else:
                failures = 0
                await asyncio.sleep(self._min_sync_seconds)

    async def _sync(self) -> None:
        suspect, self._suspect = self._suspect, False
        await self._apply(suspect)
        self.health.last_sync, self.health.last_error = time.time(), ""
        self.health.syncs += 1
        if not self._wake.is_set():
            self.health.pending_since = 0.0

    async def _check_forever(self) -> None:
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            if self.health.syncs:
                self._suspect = True
                self._wake.set()
