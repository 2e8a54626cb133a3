"""A store in memory: the storage contract in its plainest form, for tests and for reading.

Interface: `MemoryStorage` keeps `Storage`; `compact` forgets history, as a test of 410 Expired wants.

Invariants
- Nothing awaits between a check and its write, so every call is atomic on the event loop.
- `_history` holds every change since the last compaction, oldest first, each with the record it replaced: a watch
  reads it forwards, a listing of the past undoes it backwards.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right, insort
from collections.abc import AsyncIterator

from apiserver.storage.base import (
    Batch,
    Compacted,
    Event,
    EventType,
    KeyExists,
    KeyMissing,
    Record,
    Snapshot,
    VersionMismatch,
    restamp,
    stamp,
)


class MemoryStorage:
    """Objects in a dict, one counter for versions."""

    def __init__(self) -> None:
        self._records: dict[str, Record] = {}
        self._keys: list[str] = []  # sorted
        self._history: list[tuple[Event, Record | None]] = []
        self._version = 1
        self._compacted = 0
        self._moved = asyncio.Condition()

    async def create(self, key: str, value: bytes) -> Record:
        if key in self._records:
            raise KeyExists(key)
        return await self._commit(EventType.ADDED, key, value)

    async def get(self, key: str) -> Record | None:
        return self._records.get(key)

    async def list(self, prefix: str, *, limit: int = 0, after: str = "", version: int = 0) -> Snapshot:
        records, version = self._as_of(version) if version else (self._records, self._version)
        keys = [key for key in (self._keys if records is self._records else sorted(records)) if key.startswith(prefix)]
        start = bisect_right(keys, after)
        stop = start + limit if limit else len(keys)
        return Snapshot([records[key] for key in keys[start:stop]], version, more=stop < len(keys))

    async def update(self, key: str, value: bytes, *, expected: int) -> Record:
        self._expect(key, expected)
        return await self._commit(EventType.MODIFIED, key, value)

    async def delete(self, key: str, *, expected: int) -> Record:
        return await self._commit(EventType.DELETED, key, self._expect(key, expected).value)

    async def version(self) -> int:
        return self._version

    async def touch(self) -> None:
        """Nothing to do: only our own events move the version."""

    async def watch(self, prefix: str, *, since: int) -> AsyncIterator[Batch]:
        while True:
            if since < self._compacted:
                raise Compacted(f"events after {since} are gone")
            start = bisect_right(self._history, since, key=lambda change: change[0].record.version)
            events = [event for event, _ in self._history[start:] if event.record.key.startswith(prefix)]
            since = max(since, self._version)
            if events:
                yield Batch(events, since)
            async with self._moved:
                await self._moved.wait_for(lambda: self._version > since)  # noqa: B023 (waits within this turn)

    async def close(self) -> None:
        """Nothing is held."""

    def compact(self, version: int) -> None:
        """Forget the events up to `version`."""
        self._compacted = version
        self._history = [change for change in self._history if change[0].record.version > version]

    def _expect(self, key: str, expected: int) -> Record:
        record = self._records.get(key)
        if record is None:
            raise KeyMissing(key)
        if record.version != expected:
            raise VersionMismatch(record)
        return record

    async def _commit(self, change: EventType, key: str, value: bytes) -> Record:
        self._version += 1
        previous = self._records.get(key)
        if change is EventType.DELETED:
            record = Record(key, restamp(value, self._version), self._version)
            del self._records[key]
            self._keys.remove(key)
        else:
            record = Record(key, stamp(value, self._version), self._version)
            self._records[key] = record
            if previous is None:
                insort(self._keys, key)
        self._history.append((Event(change, record), previous))
        async with self._moved:
            self._moved.notify_all()
        return record

    def _as_of(self, version: int) -> tuple[dict[str, Record], int]:
        if version < self._compacted:
            raise Compacted(f"version {version} is gone")
        records = dict(self._records)
        for event, previous in reversed(self._history):
            if event.record.version <= version:
                break
            if previous is None:
                del records[event.record.key]
            else:
                records[previous.key] = previous
        return records, min(version, self._version)
