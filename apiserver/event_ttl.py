"""Events are kept for an hour: a task deletes those that nobody touched for longer.

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


class _Series(msgspec.Struct):
    lastObservedTime: datetime | None = None


class _Metadata(msgspec.Struct):
    creationTimestamp: datetime | None = None


class _Event(msgspec.Struct):
    metadata: _Metadata
    lastTimestamp: datetime | None = None
    eventTime: datetime | None = None
    series: _Series | None = None


def last_seen(value: bytes) -> datetime:
    """When an event was last of interest."""
    event = msgspec.json.decode(value, type=_Event)
    observed = event.series.lastObservedTime if event.series else None
    moments = (event.metadata.creationTimestamp, event.lastTimestamp, event.eventTime, observed)
    return max((each for each in moments if each is not None), default=datetime.now(UTC))


async def run(backend: Backend) -> None:
    """For ever."""
    while True:
        await asyncio.sleep(PERIOD_SECONDS)
        await expire(backend, datetime.now(UTC) - timedelta(seconds=backend.config.event_ttl_seconds))


async def expire(backend: Backend, before: datetime) -> int:
    """Delete events last seen before a moment; how many."""
    deleted = 0
    for entry in backend.cache.list("events"):
        try:
            if last_seen(entry.value) >= before:
                continue
            await backend.storage.delete(entry.key, expected=entry.version)
            deleted += 1
        except (KeyMissing, VersionMismatch):
            continue
        except msgspec.MsgspecError as error:  # one unreadable event must not stop the server
            log.warning("cannot tell the age of %s: %s", entry.key, error)
        except StorageError as error:
            log.warning("cannot delete old events: %s", error)
            break
    return deleted
