"""The watch cache over the store in memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from apiserver.storage import cache as cache_module
from apiserver.storage.base import Batch, Compacted, Event, EventType, Record, Snapshot, Unavailable
from apiserver.storage.cache import Change, Entry, WatchCache, Watcher
from apiserver.storage.memory import MemoryStorage

DEADLINE = 10.0
ADDED, MODIFIED, DELETED = EventType.ADDED, EventType.MODIFIED, EventType.DELETED


def obj(name: str, labels: dict[str, str] | None = None, **more: object) -> bytes:
    value = {"kind": "Pod", "metadata": {"name": name, "labels": labels or {}}, **more}
    return json.dumps(value, separators=(",", ":")).encode()


def facts(record: Record) -> tuple[dict[str, str], dict[str, str]]:
    value = json.loads(record.value)
    return value["metadata"]["labels"], {"spec.nodeName": value.get("spec", {}).get("nodeName", "")}


class FaultyStorage(MemoryStorage):
    """Can be taken away, counts its version reads, and can hold them back."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.version_reads = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def version(self) -> int:
        self.version_reads += 1
        if self.away:
            raise Unavailable("away")
        answer = await super().version()
        await self.gate.wait()
        return answer

    async def list(self, prefix: str, *, limit: int = 0, after: str = "", version: int = 0) -> Snapshot:
        if self.away:
            raise Unavailable("away")
        return await super().list(prefix, limit=limit, after=after, version=version)


@pytest.fixture
def storage() -> FaultyStorage:
    return FaultyStorage()


@pytest.fixture
async def cache(storage: FaultyStorage) -> AsyncIterator[WatchCache]:
    cache = WatchCache(storage, facts)
    running = asyncio.create_task(cache.run())
    await asyncio.wait_for(cache.ready(), DEADLINE)
    yield cache
    running.cancel()


async def take(watcher: Watcher, count: int) -> list[Change]:
    changes: list[Change] = []
    async with asyncio.timeout(DEADLINE):
        while len(changes) < count:
            changes += await watcher.next()
    return changes


def told(changes: list[Change]) -> list[tuple[str, str]]:
    return [(change.type.value, change.entry.name) for change in changes]


async def test_it_starts_with_what_is_stored(storage: FaultyStorage) -> None:
    records = [await storage.create(key, obj("x")) for key in ["/pods/b/x", "/pods/a-b/x", "/pods/a/x", "/nodes/x"]]
    cache = WatchCache(storage, facts)
    assert not cache.is_ready
    running = asyncio.create_task(cache.run())
    await cache.ready()
    assert [entry.key for entry in cache.list("pods")] == ["/pods/a-b/x", "/pods/a/x", "/pods/b/x"]
    assert [entry.key for entry in cache.list("pods", "a")] == ["/pods/a/x"]
    assert [entry.key for entry in cache.list("nodes")] == ["/nodes/x"]
    assert cache.list("services") == [] and cache.count("pods") == 3
    assert cache.version >= records[-1].version
    running.cancel()


async def test_it_follows_writes(storage: FaultyStorage, cache: WatchCache) -> None:
    record = await storage.create("/pods/a/x", obj("x", {"app": "web"}, spec={"nodeName": "n1"}))
    await cache.seen(record.version)
    entry = cache.get("/pods/a/x")
    assert entry is not None
    assert (entry.value, entry.version, entry.namespace, entry.name) == (record.value, record.version, "a", "x")
    assert entry.labels == {"app": "web"} and entry.fields == {"spec.nodeName": "n1"}
    changed = await storage.update(record.key, obj("x"), expected=record.version)
    await cache.seen(changed.version)
    entry = cache.get(record.key)
    assert entry is not None and entry.value == changed.value
    deleted = await storage.delete(record.key, expected=changed.version)
    await cache.seen(deleted.version)
    assert cache.get(record.key) is None and cache.list("pods") == []


async def test_fresh_includes_every_acknowledged_write(storage: FaultyStorage, cache: WatchCache) -> None:
    for i in range(20):
        record = await storage.create(f"/pods/a/{i}", obj(str(i)))
        assert await cache.fresh() >= record.version
        assert cache.get(record.key) is not None


async def test_concurrent_fresh_reads_share_a_read_of_the_store(storage: FaultyStorage, cache: WatchCache) -> None:
    storage.gate.clear()
    callers = [asyncio.create_task(cache.fresh()) for _ in range(50)]
    await asyncio.sleep(0)  # they ask; the first read is under way
    await asyncio.sleep(0)
    late = [asyncio.create_task(cache.fresh()) for _ in range(50)]
    record = await storage.create("/pods/a/x", obj("x"))
    latest = asyncio.create_task(cache.fresh())
    storage.gate.set()
    await asyncio.gather(*callers, *late)
    assert await latest >= record.version
    assert storage.version_reads <= 3


async def test_fresh_fails_while_the_store_is_away_and_reads_go_on(storage: FaultyStorage, cache: WatchCache) -> None:
    record = await storage.create("/pods/a/x", obj("x"))
    await cache.seen(record.version)
    storage.away = True
    for _ in range(2):
        with pytest.raises(Unavailable):
            await cache.fresh()
    assert cache.get(record.key) is not None
    storage.away = False
    assert await cache.fresh() >= record.version


async def test_fresh_gives_up_when_the_watch_does_not_keep_up(
    storage: FaultyStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "FRESH_SECONDS", 0.05)
    cache = WatchCache(storage, facts)  # not running
    with pytest.raises(Unavailable):
        await cache.fresh()


async def test_a_watch_tells_changes_of_its_resource_and_namespace(storage: FaultyStorage, cache: WatchCache) -> None:
    everywhere, here = cache.watch("pods", since=cache.version), cache.watch("pods", "a", since=cache.version)
    first = await storage.create("/pods/a/x", obj("x"))
    await storage.create("/nodes/n", obj("n"))
    await storage.create("/pods/b/y", obj("y"))
    changed = await storage.update(first.key, obj("x", spec={}), expected=first.version)
    deleted = await storage.delete(first.key, expected=changed.version)
    assert told(await take(everywhere, 4)) == [
        ("ADDED", "x"),
        ("ADDED", "y"),
        ("MODIFIED", "x"),
        ("DELETED", "x"),
    ]
    changes = await take(here, 3)
    assert told(changes) == [("ADDED", "x"), ("MODIFIED", "x"), ("DELETED", "x")]
    assert [change.entry.value for change in changes] == [first.value, changed.value, deleted.value]
    assert [change.previous.value if change.previous else None for change in changes] == [
        None,
        first.value,
        changed.value,
    ]


async def test_a_watch_without_a_version_begins_with_what_is_there(storage: FaultyStorage, cache: WatchCache) -> None:
    await storage.create("/pods/a/x", obj("x"))
    await storage.create("/pods/a/y", obj("y"))
    await cache.fresh()
    watcher = cache.watch("pods")
    assert told(await watcher.next()) == [("ADDED", "x"), ("ADDED", "y")]
    await storage.create("/pods/a/z", obj("z"))
    assert told(await watcher.next()) == [("ADDED", "z")]


async def test_a_watch_resumes_after_any_version(storage: FaultyStorage, cache: WatchCache) -> None:
    start = cache.version
    records = [await storage.create(f"/pods/a/{i}", obj(str(i))) for i in range(10)]
    await cache.seen(records[-1].version)
    for place, since in enumerate([start, *(record.version for record in records)]):
        watcher = cache.watch("pods", since=since)
        got = await watcher.next(within=0)
        assert [change.version for change in got] == [record.version for record in records[place:]]


async def test_a_watch_from_the_future_waits_for_it(storage: FaultyStorage, cache: WatchCache) -> None:
    watcher = cache.watch("pods", since=cache.version + 2)
    for i in range(4):
        await storage.create(f"/pods/a/{i}", obj(str(i)))
    assert told(await take(watcher, 2)) == [("ADDED", "2"), ("ADDED", "3")]


async def test_a_watch_from_before_the_cache_is_gone(storage: FaultyStorage) -> None:
    for i in range(3):
        await storage.create(f"/pods/a/{i}", obj(str(i)))
    cache = WatchCache(storage, facts)
    running = asyncio.create_task(cache.run())
    await cache.ready()
    with pytest.raises(Compacted):
        cache.watch("pods", since=1)
    running.cancel()


async def test_a_bookmark_carries_a_version_without_events(storage: FaultyStorage, cache: WatchCache) -> None:
    watcher = cache.watch("pods", "quiet", since=cache.version)
    record = await storage.create("/nodes/n", obj("n"))
    await cache.seen(record.version)
    assert await watcher.next(within=0.01) == []
    assert watcher.version >= record.version
    other = await storage.create("/pods/busy/x", obj("x"))
    await cache.seen(other.version)
    assert await watcher.next(within=0.01) == []
    assert watcher.version >= other.version
    cache.watch("pods", since=watcher.version)


async def test_a_slow_watcher_is_dropped_and_holds_nothing(
    storage: FaultyStorage, cache: WatchCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "RING_CHANGES", 10)
    slow, quick = cache.watch("pods", since=cache.version), cache.watch("pods", since=cache.version)
    seen: list[Change] = []
    for i in range(50):
        record = await storage.create(f"/pods/a/{i:02}", obj(str(i)))
        await cache.seen(record.version)
        seen += await quick.next()
    assert len(seen) == 50
    with pytest.raises(Compacted):
        await slow.next()
    assert len(cache._rings["pods"].changes) <= 20


async def test_a_ring_holds_so_many_bytes_and_few_finished_lines(
    storage: FaultyStorage, cache: WatchCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "RING_BYTES", 20_000)
    monkeypatch.setattr(cache_module, "RING_LINES", 2)
    slow, quick = cache.watch("pods", since=cache.version), cache.watch("pods", since=cache.version)
    for i in range(50):
        await cache.seen((await storage.create(f"/pods/a/{i:02}", obj("x" * 1000))).version)
        for change in await quick.next():
            change.line()
    ring = cache._rings["pods"]
    assert ring.size == sum(len(change.entry.value) for change in ring.changes) <= 20_000
    assert sum(change._line is not None for change in ring.changes) <= 2
    assert ring.changes[0].line().startswith(b'{"type":"ADDED"')
    with pytest.raises(Compacted):
        await slow.next()


async def test_labels_are_looked_up(storage: FaultyStorage) -> None:
    def labelled(record: Record) -> tuple[dict[str, str], dict[str, str]]:
        return json.loads(record.value)["metadata"]["labels"], {}

    def make(**labels: str) -> bytes:
        return json.dumps({"metadata": {"labels": labels}}, separators=(",", ":")).encode()

    cache = WatchCache(storage, labelled)
    following = asyncio.create_task(cache.run())
    await cache.ready()
    for name, labels in (("b", {"app": "web", "tier": "x"}), ("a", {"app": "web"}), ("c", {"app": "db"})):
        last = await storage.create(f"/pods/n/{name}", make(**labels))
    await cache.seen(last.version)

    def found(*labels: tuple[str, str]) -> list[str]:
        return [entry.name for entry in cache.list("pods", "n", labels)]

    assert found(("app", "web")) == ["a", "b"] and found(("app", "web"), ("tier", "x")) == ["b"]
    assert found(("app", "none")) == []
    record = await storage.update("/pods/n/c", make(app="web"), expected=last.version)
    await cache.seen(record.version)
    assert found(("app", "web")) == ["a", "b", "c"] and found(("app", "db")) == []
    record = await storage.delete("/pods/n/c", expected=record.version)
    await cache.seen(record.version)
    assert found(("app", "web")) == ["a", "b"]
    assert [entry.name for entry in cache.list("pods", "", (("tier", "x"),))] == ["b"]
    following.cancel()


async def test_old_changes_are_dropped_with_time(
    storage: FaultyStorage, cache: WatchCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = cache.version
    for i in range(10):
        await cache.seen((await storage.create(f"/pods/a/{i}", obj(str(i)))).version)
    monkeypatch.setattr(cache_module, "RING_SECONDS", 0)
    last = await storage.create("/pods/a/last", obj("last"))
    await cache.seen(last.version)
    assert len(cache._rings["pods"].changes) <= 6
    with pytest.raises(Compacted):
        cache.watch("pods", since=start)
    assert cache.watch("pods", since=last.version)


async def test_after_a_compaction_it_lists_again_and_sends_watchers_away(storage: FaultyStorage) -> None:
    old = await storage.create("/pods/a/old", obj("old"))
    paused = asyncio.Event()

    class Pausing(WatchCache):
        async def _load(self) -> None:
            await super()._load()
            await paused.wait()

    cache = Pausing(storage, facts)
    running = asyncio.create_task(cache.run())
    await cache.ready()
    watcher, sleeping = cache.watch("pods", since=cache.version), cache.watch("pods", since=cache.version)
    waiting = asyncio.create_task(sleeping.next())
    await storage.delete(old.key, expected=old.version)
    new = await storage.create("/pods/a/new", obj("new"))
    storage.compact(new.version)
    paused.set()
    await asyncio.wait_for(cache.seen(new.version), DEADLINE)
    assert [entry.name for entry in cache.list("pods")] == ["new"]
    with pytest.raises(Compacted):
        await watcher.next()
    with pytest.raises(Compacted):
        await waiting
    after = cache.watch("pods", since=cache.version)
    await storage.create("/pods/a/newer", obj("newer"))
    assert told(await after.next()) == [("ADDED", "newer")]
    running.cancel()


async def test_it_waits_for_a_store_that_is_not_there_yet(storage: FaultyStorage) -> None:
    storage.away = True
    cache = WatchCache(storage, facts)
    running = asyncio.create_task(cache.run())
    await asyncio.sleep(0)
    assert not cache.is_ready
    storage.away = False
    await asyncio.wait_for(cache.ready(), DEADLINE)
    running.cancel()


async def test_an_object_that_cannot_be_indexed_stays_visible(storage: FaultyStorage) -> None:
    def broken(record: Record) -> Any:
        raise RuntimeError("no")

    cache = WatchCache(storage, broken)
    running = asyncio.create_task(cache.run())
    record = await storage.create("/pods/a/x", obj("x"))
    await cache.fresh()
    entry = cache.get(record.key)
    assert entry is not None and entry.labels == {}
    running.cancel()


async def test_a_follower_sees_each_change_once_and_before_any_reader(
    storage: FaultyStorage, cache: WatchCache
) -> None:
    before = await storage.create("/pods/a/before", obj("before"))
    await cache.seen(before.version)
    seen: dict[str, int] = {}

    def follow(old: Entry | None, new: Entry | None) -> None:
        assert (old.version if old else None) == seen.get((old or new).key)  # type: ignore[union-attr]
        if new is None:
            del seen[old.key]  # type: ignore[union-attr]
        else:
            seen[new.key] = new.version
            raise ValueError("an index that cannot read it stops nothing")

    cache.follow("pods", follow)
    assert seen == {"/pods/a/before": before.version}
    changed = await storage.update(before.key, obj("before"), expected=before.version)
    other = await storage.create("/pods/b/x", obj("x"))
    await storage.create("/nodes/n", obj("n"))
    await cache.fresh()
    assert seen == {"/pods/a/before": changed.version, "/pods/b/x": other.version}
    await storage.delete(other.key, expected=other.version)
    await cache._load()  # as after a compaction: the same objects, told anew
    assert seen == {"/pods/a/before": changed.version}


async def test_waiting_for_a_version_that_never_comes_leaves_nothing_behind(cache: WatchCache) -> None:
    for version in (10**12, 10**15):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(cache.seen(version), 0.01)
    assert not cache._awaited


async def test_a_watch_event_is_made_once_for_all(storage: FaultyStorage, cache: WatchCache) -> None:
    watchers = [cache.watch("pods", since=cache.version) for _ in range(3)]
    record = await storage.create("/pods/a/x", obj("x"))
    lines = [(await watcher.next())[0].line() for watcher in watchers]
    assert lines[0] is lines[1] is lines[2]
    assert lines[0].endswith(b"\n")
    assert json.loads(lines[0]) == {"type": "ADDED", "object": json.loads(record.value)}


async def test_cancelled_watchers_leave_nothing_behind(cache: WatchCache) -> None:
    waiting = [asyncio.create_task(cache.watch("pods", since=cache.version).next()) for _ in range(5)]
    await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert not cache._rings["pods"].waiting


def entry(name: str, version: int, **labels: str) -> Entry:
    value = obj(name, labels).replace(b'"metadata":{', b'"metadata":{"resourceVersion":"%d",' % version)
    return Entry(Record(f"/pods/a/{name}", value, version), (labels, {}))


RED, BLUE, GONE = entry("x", 5, colour="red"), entry("x", 7, colour="blue"), entry("x", 9, colour="red")


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        (Change(ADDED, RED, None), ADDED),
        (Change(ADDED, BLUE, None), None),
        (Change(MODIFIED, RED, RED), MODIFIED),
        (Change(MODIFIED, RED, BLUE), ADDED),
        (Change(MODIFIED, BLUE, RED), DELETED),
        (Change(MODIFIED, BLUE, BLUE), None),
        (Change(DELETED, GONE, RED), DELETED),
        (Change(DELETED, GONE, BLUE), None),
    ],
)
def test_what_a_change_is_to_a_watcher_with_a_selector(change: Change, seen: EventType | None) -> None:
    def red(entry: Entry) -> bool:
        return entry.labels["colour"] == "red"

    assert change.seen_by(red) is seen
    line = change.line_for(red)
    assert (json.loads(line)["type"] if line else None) == seen


def test_an_object_that_ceases_to_match_is_shown_as_it_last_matched() -> None:
    line = Change(MODIFIED, BLUE, RED).line_for(lambda entry: entry.labels["colour"] == "red")
    assert line is not None
    shown = json.loads(line)["object"]["metadata"]
    assert shown["labels"] == {"colour": "red"} and shown["resourceVersion"] == "7"


async def test_a_batch_becomes_visible_at_once(storage: FaultyStorage, cache: WatchCache) -> None:
    """Whoever wakes in the middle would see half of a revision; there must be no middle."""
    watcher = cache.watch("pods", since=cache.version)
    events = [Event(ADDED, Record(f"/pods/a/{i}", obj(str(i)), cache.version + 1 + i)) for i in range(700)]
    cache._apply(Batch(events, cache.version + 700))
    first, second = await watcher.next(), await watcher.next()
    assert len(first) == cache_module.NEXT_CHANGES and len(first) + len(second) == 700
    assert watcher.version == cache.version
