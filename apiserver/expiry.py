"""Some kinds (events) are kept for --event-ttl: a task deletes objects that nobody touched for longer.

Kubernetes gives them an etcd lease; here one look a minute at the cache is enough, and two API servers do no harm.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta

import msgspec

from apiserver.backend import Backend
from apiserver.storage.base import KeyMissing, StorageError, VersionMismatch

log = logging.getLogger(__name__)

PERIOD_SECONDS = 60.0


async def run(backend: Backend) -> None:
    """For ever."""
    await backend.cache.ready()
    while True:
        await repair(backend)
        await asyncio.sleep(PERIOD_SECONDS)
        await expire(backend, datetime.now(UTC) - timedelta(seconds=backend.config.event_ttl_seconds))


async def repair(backend: Backend) -> None:
    """Let every kind give back what none of its objects holds any longer."""
    for kind in [*backend.registry]:
        try:
            if kind.repair is not None and (freed := await kind.repair(backend)):
                log.warning("gave back %d allocations that no %s holds", freed, kind.singular_name)
        except StorageError as error:
            log.warning("cannot look for what %s left behind: %s", kind.plural, error)


async def expire(backend: Backend, before: datetime) -> int:
    """Delete what was last of interest before a moment; how many."""
    expiring = [(kind.expires, kind.qualified) for kind in backend.registry if kind.expires and kind.stored is kind]
    found = [(expires, entry) for expires, resource in expiring for entry in backend.cache.list(resource)]
    deleted = 0
    for expires, entry in found:
        try:
            if expires(entry.value) >= before:
                continue
            await backend.storage.delete(entry.key, expected=entry.version)
            deleted += 1
        except (KeyMissing, VersionMismatch):
            continue
        except msgspec.MsgspecError as error:  # one unreadable object must not stop the server
            log.warning("cannot tell the age of %s: %s", entry.key, error)
        except StorageError as error:
            log.warning("cannot delete what has expired: %s", error)
            break
    return deleted
