"""The storage contract: versioned bytes under keys, compare-and-swap writes, ordered events.

Two implementations keep it, `memory.py` and `etcd.py`, and one test suite runs over both.

Invariants
- A *version* is a positive integer, unique per event and strictly increasing over the whole store. It is
  Kubernetes' resourceVersion (https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions).
- Values are the JSON of one API object without `metadata.resourceVersion`; every record handed out is stamped
  with its version (see `stamp`), so bytes can go to a client as they are.
- Every write names the version it expects; a loser raises and changes nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class StorageError(Exception):
    """Base of everything a store raises."""


class KeyExists(StorageError):
    """A create found the key taken."""


class KeyMissing(StorageError):
    """An update or delete found no such key."""


class VersionMismatch(StorageError):
    """A compare-and-swap lost: `current` is the record that is there now."""

    def __init__(self, current: Record) -> None:
        super().__init__(f"{current.key} is at version {current.version}")
        self.current = current


class Compacted(StorageError):
    """Events (or a snapshot) that old are gone; list again. HTTP 410 Expired."""


class Unavailable(StorageError):
    """The store cannot be reached or did not answer; the write was not applied, or its outcome could not be learned."""


class EventType(StrEnum):
    """Kubernetes' watch event types."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


@dataclass(frozen=True, slots=True)
class Record:
    """One stored object: its key, its JSON stamped with its version, and the version."""

    key: str
    value: bytes
    version: int


@dataclass(frozen=True, slots=True)
class Event:
    """One change. For DELETED, `record` holds the last value stamped with the version of the deletion."""

    type: EventType
    record: Record


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A consistent listing of a prefix, ordered by key, as of `version`. `more` says whether a limit cut it."""

    records: list[Record]
    version: int
    more: bool = False


class Storage(Protocol):
    """What the API server needs of a database. All calls may raise `Unavailable`."""

    async def create(self, key: str, value: bytes) -> Record:
        """Store a new key. Raises `KeyExists`."""

    async def get(self, key: str) -> Record | None:
        """The current record (linearizable), or None."""

    async def list(self, prefix: str, *, limit: int = 0, after: str = "", version: int = 0) -> Snapshot:
        """Records under `prefix` with key > `after`, at most `limit` (0: all), as of `version` (0: now). Raises `Compacted`."""

    async def update(self, key: str, value: bytes, *, expected: int) -> Record:
        """Replace the record at version `expected`. Raises `KeyMissing` or `VersionMismatch`."""

    async def delete(self, key: str, *, expected: int) -> Record:
        """Remove the record at version `expected`; returns it stamped with the deletion's version. Raises as `update`."""

    async def version(self) -> int:
        """A version at least as new as every write acknowledged before the call (linearizable)."""

    def watch(self, prefix: str, *, since: int) -> AsyncIterator[list[Event]]:
        """Every event under `prefix` after version `since`, in order, in batches. Raises `Compacted` when they are gone."""

    async def close(self) -> None:
        """Let go of connections."""


_METADATA = b'"metadata":{'


def stamp(value: bytes, version: int) -> bytes:
    """Insert `resourceVersion` as the first member of the object's metadata.

    Relies on the encoder's order: no field before `metadata` holds an object with a `metadata` member of its own.
    """
    head, found, tail = value.partition(_METADATA)
    if not found:
        raise ValueError("a stored object has no metadata")
    comma = b"" if tail.startswith(b"}") else b","
    return b'%b%b"resourceVersion":"%d"%b%b' % (head, _METADATA, version, comma, tail)
