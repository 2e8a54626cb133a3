"""The watch cache: the whole store in memory as bytes, fed by one watch, feeding every watcher.

    storage --one watch--> WatchCache --+--> get, list: bytes, ready to send
                                        +--> a ring of recent changes per resource --> any number of Watchers

Interface
- `await cache.run()` for ever, in a task; `await cache.ready()` until it has listed once.
- Reads: `get`, `list`, `version`. They answer at once from what the cache has seen. For an answer as strong as the
  store's own (linearizable) say `await cache.fresh()` first; to include a write, `await cache.seen(its_version)`.
- `watch(resource, namespace, since=...)` gives a `Watcher`; `await watcher.next(within=...)` gives the next changes.
- `follow(resource, follower)`: an index that is never behind the cache; it is told before anybody can read the change.

Invariants
- A batch of the store is applied without awaiting, so nobody sees half of an etcd revision.
- Entries and changes never change once made: watchers share them, and the bytes of a watch event are made once.
- A ring is the only buffer. A watcher is a place in it: many watchers cost nothing, and one that falls behind the
  ring's tail is told to list again (`Compacted`, HTTP 410) instead of holding the server's memory.
- The cache outlives the store: while etcd is away, reads go on answering with what was seen and `fresh` raises
  `Unavailable`. When the store has forgotten where the cache was, it lists anew and every watcher is told to.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import time
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from apiserver.storage.base import (
    Batch,
    Compacted,
    Event,
    EventType,
    Record,
    Storage,
    StorageError,
    Unavailable,
    split_key,
)
from apiserver.storage.change import Change, Entry, Facts, Indexer, event_line

__all__ = ["Change", "Entry", "Facts", "Gone", "Indexer", "WatchCache", "Watcher", "event_line"]

log = logging.getLogger(__name__)

Label = tuple[str, str]
Follower = Callable[[Entry | None, Entry | None], None]
"""Gets an object before and after a change, None where it is not there."""

RING_CHANGES = 8192  # recent changes kept per resource
RING_BYTES = 32 * 1024 * 1024  # and how much they may hold in all
RING_LINES = 256  # of the latest, the finished line of a watch stream is kept, too
RING_SECONDS = 300  # and for how long
NEXT_CHANGES = 500  # changes handed to a watcher at once
TOUCH_SECONDS = 0.1  # fresh: how long the watch may lag before the cache makes the store speak
PACE_SECONDS = 0.001  # fresh: while many ask, so much is waited between reads, so that more share each
FRESH_SECONDS = 5.0  # fresh: how long it may take in all
RETRY_SECONDS = 0.2  # between attempts to list while the store is away


class _Bucket:
    """The objects of one resource in one namespace: by key, in key order, and by label."""

    __slots__ = ("entries", "keys", "labelled")

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.keys: list[str] = []
        self.labelled: dict[Label, set[str]] = {}

    def put(self, entry: Entry) -> Entry | None:
        previous = self.entries.get(entry.key)
        if previous is None:
            insort(self.keys, entry.key)
        self.entries[entry.key] = entry
        self._index(entry.key, previous.labels if previous else {}, entry.labels)
        return previous

    def pop(self, key: str) -> Entry | None:
        previous = self.entries.pop(key, None)
        if previous is not None:
            del self.keys[bisect_left(self.keys, key)]
            self._index(key, previous.labels, {})
        return previous

    def _index(self, key: str, before: Mapping[str, str], after: Mapping[str, str]) -> None:
        if before == after:
            return
        for label in before.items() - after.items():
            keys = self.labelled[label]
            keys.discard(key)
            if not keys:
                del self.labelled[label]
        for label in after.items() - before.items():
            self.labelled.setdefault(label, set()).add(key)

    def having(self, labels: Iterable[Label]) -> list[Entry]:
        """In key order, everything with the rarest of these labels: the caller looks at the others."""
        rarest = min((self.labelled.get(label, set()) for label in labels), key=len)
        return [self.entries[key] for key in sorted(rarest)]

    def __iter__(self) -> Iterator[Entry]:
        return map(self.entries.__getitem__, self.keys)


class Gone(Exception):
    """The resource that was watched is no longer served, or not as it was."""


class _Ring:
    """Recent changes of one resource. Places are counted from the first change ever, so they outlive trimming."""

    __slots__ = ("changes", "ended", "floor", "size", "start", "waiting")

    def __init__(self, floor: int) -> None:
        self.ended = False
        self.changes: list[Change] = []
        self.size = 0  # bytes of their objects
        self.start = 0  # the place of changes[0]
        self.floor = floor  # changes up to this version are gone
        self.waiting: set[asyncio.Future[None]] = set()

    @property
    def end(self) -> int:
        return self.start + len(self.changes)

    def place_after(self, version: int) -> int:
        if version < self.floor:
            raise Compacted(f"changes after version {version} are gone; the oldest kept are after {self.floor}")
        return self.start + bisect_right(self.changes, version, key=lambda change: change.version)

    def add(self, change: Change) -> None:
        self.changes.append(change)
        self.size += change.size
        if len(self.changes) > RING_LINES:
            self.changes[-RING_LINES - 1].forget_line()

    def trim(self, now: float) -> None:
        """Drop in large steps, so that a change costs O(1) on average."""
        drop = 0
        if len(self.changes) >= 2 * RING_CHANGES:
            drop = RING_CHANGES
        elif self.size > RING_BYTES:
            drop = len(self.changes) // 2
        elif self.changes[len(self.changes) // 2].when < now - RING_SECONDS:
            drop = len(self.changes) // 2 + 1
        if drop:
            self.floor = self.changes[drop - 1].version
            self.start += drop
            self.size -= sum(change.size for change in self.changes[:drop])
            del self.changes[:drop]

    def wake(self) -> None:
        for future in self.waiting:
            if not future.done():
                future.set_result(None)
        self.waiting.clear()


class WatchCache:
    """See the module. `indexer` finds labels and selectable fields of a record."""

    def __init__(self, storage: Storage, indexer: Indexer) -> None:
        self._storage = storage
        self._indexer = indexer
        self._buckets: dict[str, dict[str, _Bucket]] = {}  # resource -> namespace -> bucket
        self._rings: dict[str, _Ring] = {}
        self._followers: dict[str, list[Follower]] = {}
        self._floor = 0  # a ring made later begins here: nothing of its resource happened since
        self._version = 0
        self._ready = asyncio.Event()
        self._awaited: list[tuple[int, int, asyncio.Future[None]]] = []  # heap of (version, tie, waiter)
        self._ties = itertools.count()
        self._asking: list[asyncio.Future[int]] = []  # who waits for the next read of the store's version
        self._answering: asyncio.Task[None] | None = None

    # Reads

    @property
    def version(self) -> int:
        """Everything the store did up to this version is in the cache."""
        return self._version

    async def ready(self) -> None:
        """Return once the cache has been filled."""
        await self._ready.wait()

    @property
    def is_ready(self) -> bool:
        return self._ready.is_set()

    def get(self, key: str) -> Entry | None:
        resource, namespace, _ = split_key(key)
        bucket = self._buckets.get(resource, {}).get(namespace)
        return bucket.entries.get(key) if bucket else None

    def list(self, resource: str, namespace: str = "", labels: Sequence[Label] = ()) -> list[Entry]:
        """The objects of a resource, in one namespace or in all, ordered by key.

        With `labels`, at least all those that have every one of them, found by index.
        """
        namespaces = self._buckets.get(resource, {})
        if namespace:
            namespaces = {namespace: namespaces[namespace]} if namespace in namespaces else {}
        # "/" ends a namespace in a key, so namespaces are ordered with it: "a-b/" < "a/".
        ordered = sorted(namespaces, key=lambda name: name + "/")
        buckets = [namespaces[name] for name in ordered]
        return [entry for bucket in buckets for entry in (bucket.having(labels) if labels else bucket)]

    def count(self, resource: str) -> int:
        return sum(len(bucket.keys) for bucket in self._buckets.get(resource, {}).values())

    async def fresh(self) -> int:
        """Return when the cache has everything acknowledged before the call; the version it then has at least.

        Concurrent callers share one read of the store. Raises `Unavailable`.
        """
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._asking.append(future)
        if self._answering is None:
            self._answering = asyncio.create_task(self._answer(), name="cache-freshness")
        return await future

    async def seen(self, version: int) -> None:
        """Return when the cache includes `version`."""
        if self._version >= version:
            return
        future = asyncio.get_running_loop().create_future()
        waiter = (version, next(self._ties), future)
        heapq.heappush(self._awaited, waiter)
        try:
            await future
        except asyncio.CancelledError:
            if waiter in self._awaited:  # it may wait for a version that never comes
                self._awaited.remove(waiter)
                heapq.heapify(self._awaited)
            raise

    def watch(self, resource: str, namespace: str = "", *, since: int | None = None) -> Watcher:
        """Changes of a resource after version `since`; without it, first the present objects as ADDED.

        Raises `Compacted` when they are no longer known.
        """
        ring = self._ring(resource)
        if since is None:
            present = [Change(EventType.ADDED, entry, None) for entry in self.list(resource, namespace)]
            return Watcher(self, ring, namespace, place=ring.end, since=self._version, present=present)
        return Watcher(self, ring, namespace, place=ring.place_after(since), since=since)

    def follow(self, resource: str, follower: Follower) -> None:
        """Tell `follower` of what is there, and from then on of each change as it is applied."""
        self._followers.setdefault(resource, []).append(follower)
        for entry in self.list(resource):
            _tell((follower,), None, entry)

    def renew(self, resource: str) -> None:
        """What is served of a resource changed: its watches end, and its facts are read anew."""
        ring = self._rings.pop(resource, None)
        if ring is not None:
            ring.ended = True
            ring.wake()
            self._rings[resource] = _Ring(self._version)
        for entry in self.list(resource):
            self._put(self._entry(Record(entry.key, entry.value, entry.version)))

    # Feeding

    async def run(self) -> None:
        """Follow the store for ever."""
        while True:
            try:
                await self._load()
                async for batch in self._storage.watch("/", since=self._version):
                    self._apply(batch)
            except Compacted:
                log.warning(
                    "the store's history was compacted past the cache at version %d; listing again", self._version
                )
            except Unavailable as error:
                log.warning("cannot follow the store: %s", error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _load(self) -> None:
        snapshot = await self._storage.list("/")
        for resource, followers in self._followers.items():
            for entry in self.list(resource):
                _tell(followers, entry, None)
        self._buckets = {}
        for record in snapshot.records:
            entry = self._entry(record)
            self._put(entry)
            _tell(self._followers.get(split_key(entry.key)[0], ()), None, entry)
        rings, self._rings = self._rings, {}
        self._floor = snapshot.version
        for ring in rings.values():  # a place in an old ring means nothing now
            ring.start, ring.floor, ring.changes, ring.size = ring.end + 1, snapshot.version, [], 0
            ring.wake()
        self._advance(snapshot.version)
        self._ready.set()

    def _apply(self, batch: Batch) -> None:
        touched = {}
        for event in batch.events:
            change = self._change(event)
            resource = split_key(event.record.key)[0]
            ring = touched[resource] = self._ring(resource)
            ring.add(change)
            gone = change.type is EventType.DELETED
            _tell(self._followers.get(resource, ()), change.previous, None if gone else change.entry)
        self._advance(batch.version)
        now = time.monotonic()
        for ring in touched.values():
            ring.trim(now)
            ring.wake()

    def _change(self, event: Event) -> Change:
        if event.type is EventType.DELETED:
            resource, namespace, _ = split_key(event.record.key)
            previous = self._bucket(resource, namespace).pop(event.record.key)
            facts = (previous.labels, previous.fields) if previous else self._facts(event.record)
            return Change(event.type, Entry(event.record, facts), previous)
        entry = self._entry(event.record)
        return Change(event.type, entry, self._put(entry))

    def _advance(self, version: int) -> None:
        self._version = version
        while self._awaited and self._awaited[0][0] <= version:
            future = heapq.heappop(self._awaited)[2]
            if not future.done():
                future.set_result(None)

    def _put(self, entry: Entry) -> Entry | None:
        return self._bucket(split_key(entry.key)[0], entry.namespace).put(entry)

    def _bucket(self, resource: str, namespace: str) -> _Bucket:
        namespaces = self._buckets.setdefault(resource, {})
        bucket = namespaces.get(namespace)
        if bucket is None:
            bucket = namespaces[namespace] = _Bucket()
        return bucket

    def _ring(self, resource: str) -> _Ring:
        ring = self._rings.get(resource)
        if ring is None:
            ring = self._rings[resource] = _Ring(self._floor)
        return ring

    def _entry(self, record: Record) -> Entry:
        return Entry(record, self._facts(record))

    def _facts(self, record: Record) -> Facts:
        try:
            return self._indexer(record)
        except Exception:  # one unreadable object must not stop the cache; it stays visible, without labels
            log.exception("cannot index %s", record.key)
            return {}, {}

    # Freshness

    async def _answer(self) -> None:
        """One read of the store after another, each for all who asked before it began."""
        while self._asking:
            asking, self._asking = self._asking, []
            try:
                version = await self._refresh()
            except Exception as error:
                failure = error if isinstance(error, StorageError) else Unavailable(str(error))
                for future in asking:
                    if not future.done():
                        future.set_exception(failure)
            else:
                for future in asking:
                    if not future.done():
                        future.set_result(version)
            if self._asking:
                await asyncio.sleep(PACE_SECONDS)
        self._answering = None

    async def _refresh(self) -> int:
        try:
            async with asyncio.timeout(FRESH_SECONDS):
                target = await self._storage.version()
                if self._version < target:
                    await self._catch_up(target)
                return target
        except TimeoutError:
            raise Unavailable("the cache does not keep up with the store") from None

    async def _catch_up(self, target: int) -> None:
        try:
            async with asyncio.timeout(TOUCH_SECONDS):
                await self.seen(target)
        except TimeoutError:
            await self._storage.touch()
            await self.seen(target)


def _tell(followers: Iterable[Follower], before: Entry | None, after: Entry | None) -> None:
    for follower in followers:
        try:
            follower(before, after)
        except Exception:  # an object an index cannot read must not stop the cache
            log.exception("an index does not take the change of %s", getattr(after or before, "key", ""))


class Watcher:
    """One watch: a place in a ring.

    `version`: everything up to it was handed out; what a bookmark carries.
    """

    def __init__(
        self,
        cache: WatchCache,
        ring: _Ring,
        namespace: str,
        *,
        place: int,
        since: int,
        present: Iterable[Change] = (),
    ) -> None:
        self._cache = cache
        self._ring = ring
        self._namespace = namespace
        self._place = place
        self._since = since
        self._present = [*present]
        self.version = since

    async def next(self, *, within: float | None = None) -> list[Change]:
        """The next changes, at least one; after `within` seconds without any, none: time for a bookmark.

        Raises `Compacted` when the watcher was too slow, or the cache had to begin anew.
        """
        if self._present:
            changes, self._present = self._present, []
            return changes
        deadline = None if within is None else asyncio.get_running_loop().time() + within
        while True:
            changes = self._take()
            if changes or not await self._moved(deadline):
                return changes

    def _take(self) -> list[Change]:
        ring = self._ring
        index = self._place - ring.start
        if ring.ended:
            raise Gone()
        if index < 0:
            raise Compacted("the watch fell behind")
        taken = ring.changes[index : index + NEXT_CHANGES]
        self._place += len(taken)
        at_end = self._place == ring.end
        self.version = max(self.version, self._cache.version if at_end else taken[-1].version)
        if self._namespace:
            taken = [change for change in taken if change.entry.namespace == self._namespace]
        if taken and taken[0].version <= self._since:  # a client ahead of this replica
            taken = [change for change in taken if change.version > self._since]
        return taken

    async def _moved(self, deadline: float | None) -> bool:
        """Wait until the ring has more; False when the deadline passed first."""
        ring = self._ring
        if self._place < ring.end:
            return True
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        ring.waiting.add(future)
        timer = loop.call_at(deadline, _expire, future) if deadline is not None else None
        try:
            await future
        except TimeoutError:
            return False
        finally:
            ring.waiting.discard(future)
            if timer is not None:
                timer.cancel()
        return True


def _expire(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_exception(TimeoutError())
