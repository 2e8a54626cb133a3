"""The storage contract, once, over every implementation."""

from __future__ import annotations

import asyncio
import json
import random
import uuid
from collections.abc import AsyncIterator

import pytest

from apiserver.storage.base import (
    Batch,
    Compacted,
    Event,
    EventType,
    KeyExists,
    KeyMissing,
    Record,
    Storage,
    VersionMismatch,
)
from apiserver.storage.etcd import EtcdStorage
from apiserver.storage.memory import MemoryStorage

DEADLINE = 20.0


@pytest.fixture(params=["memory", "etcd"])
async def storage(request: pytest.FixtureRequest) -> AsyncIterator[Storage]:
    store: Storage
    if request.param == "memory":
        store = MemoryStorage()
    else:
        url = request.getfixturevalue("shared_etcd_url")
        store = await EtcdStorage.open([url], prefix=f"/{uuid.uuid4()}", compact_seconds=0)
    yield store
    await store.close()


def obj(name: str, **more: object) -> bytes:
    return json.dumps({"kind": "Pod", "metadata": {"name": name}, **more}, separators=(",", ":")).encode()


def version_in(record: Record) -> int:
    return int(json.loads(record.value)["metadata"]["resourceVersion"])


async def collect(stream: AsyncIterator[Batch], *, until: int) -> list[Event]:
    """Events of a watch until it has told everything up to version `until`."""
    events: list[Event] = []
    async with asyncio.timeout(DEADLINE):
        async for batch in stream:
            events += batch.events
            if batch.version >= until:
                return events
    raise AssertionError("the watch ended")


async def test_create_stores_and_stamps(storage: Storage) -> None:
    record = await storage.create("/pods/default/a", obj("a"))
    assert await storage.get("/pods/default/a") == record
    assert version_in(record) == record.version > 0
    assert json.loads(record.value)["metadata"]["name"] == "a"


async def test_create_of_a_taken_key_raises(storage: Storage) -> None:
    first = await storage.create("/pods/default/a", obj("a"))
    with pytest.raises(KeyExists):
        await storage.create("/pods/default/a", obj("a", spec={}))
    assert await storage.get("/pods/default/a") == first


async def test_get_of_nothing_is_none(storage: Storage) -> None:
    assert await storage.get("/pods/default/none") is None


async def test_update_replaces_at_the_expected_version_only(storage: Storage) -> None:
    first = await storage.create("/pods/default/a", obj("a"))
    second = await storage.update("/pods/default/a", obj("a", n=2), expected=first.version)
    assert second.version > first.version
    with pytest.raises(VersionMismatch) as caught:
        await storage.update("/pods/default/a", obj("a", n=3), expected=first.version)
    assert caught.value.current == second
    assert await storage.get("/pods/default/a") == second


async def test_update_and_delete_of_nothing_raise(storage: Storage) -> None:
    with pytest.raises(KeyMissing):
        await storage.update("/pods/default/a", obj("a"), expected=5)
    with pytest.raises(KeyMissing):
        await storage.delete("/pods/default/a", expected=5)


async def test_a_version_of_another_object_does_not_match(storage: Storage) -> None:
    names = [f"p{i}" for i in range(20)]
    records = await asyncio.gather(*(storage.create(f"/pods/default/{name}", obj(name)) for name in names))
    for record, other in zip(records, [*records[1:], records[0]], strict=True):
        with pytest.raises(VersionMismatch):
            await storage.update(record.key, obj("x"), expected=other.version)
        with pytest.raises(VersionMismatch):
            await storage.delete(record.key, expected=other.version)


async def test_delete_returns_the_last_state_with_the_version_of_the_deletion(storage: Storage) -> None:
    first = await storage.create("/pods/default/a", obj("a", n=1))
    with pytest.raises(VersionMismatch):
        await storage.delete("/pods/default/a", expected=first.version + 1)
    deleted = await storage.delete("/pods/default/a", expected=first.version)
    assert deleted.version > first.version
    assert version_in(deleted) == deleted.version
    assert json.loads(deleted.value)["n"] == 1
    assert await storage.get("/pods/default/a") is None


async def test_a_key_can_be_created_again(storage: Storage) -> None:
    first = await storage.create("/pods/default/a", obj("a"))
    await storage.delete("/pods/default/a", expected=first.version)
    again = await storage.create("/pods/default/a", obj("a"))
    assert again.version > first.version


async def test_list_is_ordered_by_key_and_bound_to_the_prefix(storage: Storage) -> None:
    for key in ["/pods/b/x", "/pods/a/x", "/pods/a-b/x", "/podsandmore/a/x", "/nodes/n"]:
        await storage.create(key, obj("x"))
    snapshot = await storage.list("/pods/")
    assert [record.key for record in snapshot.records] == ["/pods/a-b/x", "/pods/a/x", "/pods/b/x"]
    assert not snapshot.more
    assert len((await storage.list("/")).records) == 5


async def test_list_of_nothing_has_a_version(storage: Storage) -> None:
    record = await storage.create("/pods/default/a", obj("a"))
    snapshot = await storage.list("/nodes/")
    assert snapshot.records == []
    assert snapshot.version >= record.version


async def test_list_in_pages_shows_one_moment(storage: Storage) -> None:
    records = [await storage.create(f"/pods/default/{i}", obj(str(i))) for i in range(5)]
    page = await storage.list("/pods/", limit=2)
    assert page.more
    await storage.delete(records[3].key, expected=records[3].version)
    await storage.update(records[4].key, obj("changed"), expected=records[4].version)
    await storage.create("/pods/default/9", obj("9"))
    rest = await storage.list("/pods/", limit=100, after=page.records[-1].key, version=page.version)
    assert page.records + rest.records == records
    assert rest.version == page.version
    assert not rest.more


async def test_exact_limit_leaves_no_more(storage: Storage) -> None:
    for i in range(4):
        await storage.create(f"/pods/default/{i}", obj(str(i)))
    first = await storage.list("/pods/", limit=2)
    second = await storage.list("/pods/", limit=2, after=first.records[-1].key, version=first.version)
    assert first.more and not second.more


async def test_version_covers_acknowledged_writes(storage: Storage) -> None:
    before = await storage.version()
    record = await storage.create("/pods/default/a", obj("a"))
    assert before < record.version <= await storage.version()


async def test_200_concurrent_creates_get_versions_of_their_own(storage: Storage) -> None:
    start = await storage.version()
    names = [f"{i:03}" for i in range(200)]
    records = await asyncio.gather(*(storage.create(f"/pods/default/{name}", obj(name)) for name in names))
    assert len({record.version for record in records}) == 200
    listed = (await storage.list("/pods/")).records
    assert listed == sorted(records, key=lambda record: record.key)
    events = await collect(storage.watch("/pods/", since=start), until=max(r.version for r in records))
    versions = [event.record.version for event in events]
    assert versions == sorted(versions)
    assert sorted(versions) == sorted(record.version for record in records)
    assert {event.record.key: event.record for event in events} == {record.key: record for record in records}


async def test_one_of_many_creators_wins(storage: Storage) -> None:
    results = await asyncio.gather(
        *(storage.create("/pods/default/a", obj(str(i))) for i in range(50)), return_exceptions=True
    )
    winners = [result for result in results if isinstance(result, Record)]
    assert len(winners) == 1
    assert sum(isinstance(result, KeyExists) for result in results) == 49
    assert await storage.get("/pods/default/a") == winners[0]


async def test_one_of_many_updaters_wins_and_losers_learn_what_is_there(storage: Storage) -> None:
    first = await storage.create("/pods/default/a", obj("a"))
    results = await asyncio.gather(
        *(storage.update(first.key, obj("a", n=i), expected=first.version) for i in range(50)), return_exceptions=True
    )
    (winner,) = [result for result in results if isinstance(result, Record)]
    losers = [result for result in results if isinstance(result, VersionMismatch)]
    assert len(losers) == 49
    assert all(loser.current == winner for loser in losers)


async def test_watch_tells_types_in_order(storage: Storage) -> None:
    start = await storage.version()
    added = await storage.create("/pods/default/a", obj("a", n=1))
    await storage.create("/nodes/other", obj("other"))
    modified = await storage.update(added.key, obj("a", n=2), expected=added.version)
    deleted = await storage.delete(added.key, expected=modified.version)
    events = await collect(storage.watch("/pods/", since=start), until=deleted.version)
    assert events == [
        Event(EventType.ADDED, added),
        Event(EventType.MODIFIED, modified),
        Event(EventType.DELETED, deleted),
    ]


async def test_watch_waits_for_what_is_to_come(storage: Storage) -> None:
    start = await storage.version()
    watching = asyncio.create_task(collect(storage.watch("/", since=start), until=start + 1))
    record = await storage.create("/pods/default/a", obj("a"))
    assert await watching == [Event(EventType.ADDED, record)]


async def test_watch_resumes_at_every_version_even_inside_a_revision(storage: Storage) -> None:
    start = await storage.version()
    history = await mixed_history(storage, seed=1)
    places = range(len(history) - 1)
    last = history[-1].record.version
    rests = await asyncio.gather(
        *(collect(storage.watch("/", since=history[place].record.version), until=last) for place in places)
    )
    for place, rest in zip(places, rests, strict=True):
        assert rest == history[place + 1 :]
    assert await collect(storage.watch("/", since=start), until=history[-1].record.version) == history


async def test_a_watch_of_one_prefix_gives_the_same_versions_as_a_watch_of_all(storage: Storage) -> None:
    start = await storage.version()
    history = await mixed_history(storage, seed=2)
    for prefix in ["/pods/", "/nodes/"]:
        wanted = [event for event in history if event.record.key.startswith(prefix)]
        got = await collect(storage.watch(prefix, since=start), until=wanted[-1].record.version)
        assert got == wanted


async def test_writers_watch_and_list_agree_on_versions(storage: Storage) -> None:
    """Creates, updates and deletes of one batch, some of them losing: everyone must name the same versions."""
    start = await storage.version()
    told: list[Record] = []
    history = await mixed_history(storage, seed=3, told=told)
    assert sorted(told, key=lambda record: record.version) == [event.record for event in history]
    state: dict[str, Record] = {}
    for event in history:
        if event.type is EventType.DELETED:
            del state[event.record.key]
        else:
            assert (event.type is EventType.ADDED) == (event.record.key not in state)
            state[event.record.key] = event.record
    assert (await storage.list("/")).records == [state[key] for key in sorted(state)]
    assert start < history[0].record.version


async def mixed_history(storage: Storage, *, seed: int, told: list[Record] | None = None) -> list[Event]:
    """Rounds of concurrent writes of all sorts; what a watch told of them. `told` collects what the writers heard."""
    chance = random.Random(seed)
    start = await storage.version()
    keys = [f"/{kind}/default/{i}" for i in range(15) for kind in ("pods", "nodes")]

    async def write(key: str) -> Record:
        current = await storage.get(key)
        if current is None:
            return await storage.create(key, obj("created"))
        wrong = current.version + 1 if chance.random() < 0.2 else current.version
        if chance.random() < 0.5:
            return await storage.delete(key, expected=wrong)
        return await storage.update(key, obj("updated", n=chance.random()), expected=wrong)

    last = 0
    for _ in range(6):
        chance.shuffle(keys)
        results = await asyncio.gather(*map(write, keys), *map(write, keys[:10]), return_exceptions=True)
        written = [result for result in results if isinstance(result, Record)]
        last = max(last, *(record.version for record in written))
        if told is not None:
            told += written
    return await collect(storage.watch("/", since=start), until=last)


async def test_compaction_ends_old_watches_and_old_listings(storage: Storage) -> None:
    old = await storage.create("/pods/default/a", obj("a"))
    await storage.create("/pods/default/b", obj("b"))
    snapshot = await storage.list("/")
    last = await storage.create("/pods/default/c", obj("c"))
    now = await storage.version()
    await compact(storage, last.version)
    with pytest.raises(Compacted):
        await collect(storage.watch("/", since=old.version), until=last.version)
    with pytest.raises(Compacted):
        await storage.list("/", version=snapshot.version)
    new = await storage.create("/pods/default/d", obj("d"))
    assert await collect(storage.watch("/", since=now), until=new.version) == [Event(EventType.ADDED, new)]


async def test_a_compacted_deletion_is_never_skipped_silently(storage: Storage) -> None:
    first = await storage.create("/pods/default/a", obj("a"))
    deleted = await storage.delete(first.key, expected=first.version)
    await compact(storage, deleted.version)
    with pytest.raises(Compacted):
        await collect(storage.watch("/", since=first.version), until=deleted.version)


async def compact(storage: Storage, version: int) -> None:
    if isinstance(storage, MemoryStorage):
        storage.compact(version)
    else:
        assert isinstance(storage, EtcdStorage)
        await storage.compact(version)


async def test_touch_brings_a_watch_of_everything_to_the_present(storage: Storage) -> None:
    record = await storage.create("/pods/default/a", obj("a"))
    await storage.touch()
    now = await storage.version()
    if now > record.version:
        assert await collect(storage.watch("/", since=record.version), until=now) == []
    assert len((await storage.list("/")).records) == 1
