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
    whole = text.isascii() and text.isdigit()
    if not whole or len(text) > 20 or int(text) >= 1 << 64:
        why = f'strconv.ParseUint: parsing "{text}": {"value out of range" if whole else "invalid syntax"}'
        raise BadRequest(f'resourceVersion: Invalid value: "{text}": {why}')
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
