"""What was written but is not in the cache yet (client-go's ControllerExpectations, by uid).

A reconciler that created three pods must not count its cache before the three are in it, or it would create three
more. Each write is noted with the uid the API server answered; the watch ticks it off.

Invariant: a key with open expectations is not acted upon, unless they are so old that the watch must have missed
them (TIMEOUT_SECONDS).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

TIMEOUT_SECONDS = 60.0


class Expectations:
    """Open creations and deletions per key of the object reconciled."""

    def __init__(self) -> None:
        self._open: dict[str, dict[str, float]] = {}

    def expect(self, key: str, uid: str, *, is_done: Callable[[], bool]) -> None:
        """`uid` was created or deleted; ignored when the cache has seen it by now."""
        if not is_done():
            self._open.setdefault(key, {})[uid] = asyncio.get_running_loop().time() + TIMEOUT_SECONDS

    def observe(self, key: str, uid: str) -> None:
        """The watch delivered the creation or deletion."""
        waiting = self._open.get(key)
        if waiting is not None:
            waiting.pop(uid, None)
            if not waiting:
                del self._open[key]

    def satisfied(self, key: str) -> bool:
        now = asyncio.get_running_loop().time()
        return all(due <= now for due in self._open.get(key, {}).values())

    def forget(self, key: str) -> None:
        """The object of that key has gone."""
        self._open.pop(key, None)
