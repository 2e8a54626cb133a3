"""What resourceVersion means on a read: how new the cache must be before it answers."""

from __future__ import annotations

import asyncio

from api.errors import BadRequest, Timeout
from apiserver.backend import Backend

WAIT_SECONDS = 3.0
"""How long a read waits for a resourceVersion that is not there yet (Kubernetes: 3 s)."""


def read_version(text: str | None) -> int | None:
    """A resourceVersion parameter; None when the client set none."""
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 20:
        raise BadRequest(
            f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'
        )
    return int(text)


async def reach(backend: Backend, version: int | None) -> None:
    """Let the cache be as new as the client demands: None: newest of all, 0: as it is."""
    if version is None:
        await backend.cache.fresh()
    elif version > backend.cache.version:
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await backend.cache.seen(version)
        except TimeoutError:
            raise Timeout(f"Too large resource version: {version}, current: {backend.cache.version}") from None
