"""The storage contract: versioned bytes under keys, compare-and-swap writes, ordered events.

Two implementations keep it, `memory.py` and `etcd.py`, and one test suite runs over both.

Invariants
- A *version* is a positive integer, unique per event and strictly increasing over the whole store. It is
  Kubernetes' resourceVersion (https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions).
- Values are the JSON of one API object without `metadata.resourceVersion`; every record handed out is stamped
  with its version (see `stamp`), so bytes can go to a client as they are.
- Every write names the version it expects; a loser raises and changes nothing.
- Keys are `/<resource>/<namespace>/<name>`, or `/<resource>/<name>` for what has no namespace; a resource is written
  as Kubernetes writes it in messages: `pods`, `deployments.apps`. See `resource_key`. No resource starts with a dot.
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


class TooLarge(StorageError):
    """The value is larger than the store takes (etcd: 1.5 MiB a request). HTTP 413."""


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
class Batch:
    """What a watch hands out: events in order, and the version up to which the watch has now told everything.

    `events` may be empty: then only time has moved on, not the watched keys.
    """

    events: list[Event]
    version: int


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
        """Records under `prefix` with key > `after`, at most `limit` (0: all), as of `version` (0: now).

        Raises `Compacted`. A `version` taken from an earlier snapshot gives exactly that snapshot; this is what a
        continue token holds.
        """

    async def update(self, key: str, value: bytes, *, expected: int) -> Record:
        """Replace the record at version `expected`. Raises `KeyMissing` or `VersionMismatch`."""

    async def delete(self, key: str, *, expected: int) -> Record:
        """Remove the record at version `expected`; returns it stamped with the deletion's version.

        Raises as `update` does.
        """

    async def version(self) -> int:
        """A version at least as new as every write acknowledged before the call (linearizable)."""

    async def touch(self) -> None:
        """Make a watch of the whole store (prefix `/`) reach the present version, even if nothing in it changed.

        Needed where the database is shared: someone else's writes move its clock without an event for us.
        """

    def watch(self, prefix: str, *, since: int) -> AsyncIterator[Batch]:
        """Every event under `prefix` after version `since`, in order, each exactly once.

        Raises `Compacted` when they are gone. It outlives the store's restarts: while the store is away it waits, then
        resumes where it was.
        """

    async def close(self) -> None:
        """Let go of connections."""


def resource_key(resource: str, namespace: str, name: str) -> str:
    """The key of an object; `namespace` is empty for cluster-scoped kinds."""
    return f"/{resource}/{namespace}/{name}" if namespace else f"/{resource}/{name}"


def split_key(key: str) -> tuple[str, str, str]:
    """(resource, namespace, name) of a key; the inverse of `resource_key`."""
    resource, _, rest = key[1:].partition("/")
    namespace, _, name = rest.rpartition("/")
    return resource, namespace, name


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


def restamp(value: bytes, version: int) -> bytes:
    """Give stamped bytes another version."""
    head, _, tail = value.partition(_METADATA + b'"resourceVersion":"')
    return b'%b%b"resourceVersion":"%d"%b' % (head, _METADATA, version, tail[tail.index(b'"') + 1 :])
