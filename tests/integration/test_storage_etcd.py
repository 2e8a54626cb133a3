"""What only a real etcd can show: crashes, big stores, shared keyspaces, group commit."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import grpc
import pytest

from apiserver.storage import etcd as etcd_module
from apiserver.storage.base import (
    Batch,
    Compacted,
    Event,
    EventType,
    KeyExists,
    KeyMissing,
    Record,
    TooLarge,
    Unavailable,
    VersionMismatch,
)
from apiserver.storage.cache import WatchCache
from apiserver.storage.etcd import STRIDE, EtcdStorage, TlsFiles

DEADLINE = 30.0


class EtcdProcess(Protocol):
    url: str
    directory: Path

    def start(self) -> None: ...
    def kill(self) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...


@pytest.fixture
async def storage(etcd: EtcdProcess) -> AsyncIterator[EtcdStorage]:
    store = await EtcdStorage.open([etcd.url], compact_seconds=0)
    yield store
    await store.close()


def obj(name: str, **more: object) -> bytes:
    return json.dumps({"kind": "Pod", "metadata": {"name": name}, **more}, separators=(",", ":")).encode()


class Listener:
    """Follows a store and remembers every event, in a task of its own."""

    def __init__(self, storage: EtcdStorage, since: int) -> None:
        self.events: list[Event] = []
        self.version = since
        self._moved = asyncio.Condition()
        self._task = asyncio.create_task(self._run(storage, since))

    async def _run(self, storage: EtcdStorage, since: int) -> None:
        async for batch in storage.watch("/", since=since):
            async with self._moved:
                self.events += batch.events
                self.version = batch.version
                self._moved.notify_all()

    async def until(self, version: int) -> list[Event]:
        async with asyncio.timeout(DEADLINE), self._moved:
            await self._moved.wait_for(lambda: self.version >= version)
        self._task.cancel()
        return self.events


async def test_concurrent_writes_share_revisions(storage: EtcdStorage) -> None:
    records = await asyncio.gather(*(storage.create(f"/pods/default/{i}", obj(str(i))) for i in range(200)))
    assert len({record.version // STRIDE for record in records}) < 20


async def test_everything_acknowledged_survives_kill_9_and_the_watch_tells_it_once(
    etcd: EtcdProcess, storage: EtcdStorage
) -> None:
    listener = Listener(storage, await storage.version())
    acknowledged: dict[str, Record] = {}
    refused: set[str] = set()
    crashed = asyncio.Event()

    async def writer(number: int) -> None:
        for i in range(60):
            key = f"/pods/default/{number}-{i}"
            try:
                acknowledged[key] = await storage.create(key, obj(key))
            except Unavailable:
                refused.add(key)
            if len(acknowledged) == 200:
                crashed.set()

    async def crash() -> None:
        for _ in range(3):
            await asyncio.wait_for(crashed.wait(), DEADLINE)
            await asyncio.to_thread(etcd.kill)
            await asyncio.to_thread(etcd.start)

    await asyncio.gather(crash(), *(writer(n) for n in range(16)))
    stored = {record.key: record for record in (await storage.list("/")).records}
    assert acknowledged.items() <= stored.items()
    assert stored.keys() <= acknowledged.keys() | refused
    events = await listener.until(max(record.version for record in stored.values()))
    assert [event.record for event in events] == sorted(stored.values(), key=lambda record: record.version)
    assert not refused  # a crash this short is bridged


async def test_updates_and_deletes_across_a_crash_are_told_once(etcd: EtcdProcess, storage: EtcdStorage) -> None:
    start = await storage.version()
    listener = Listener(storage, start)
    told: list[Record] = []

    async def worker(number: int) -> None:
        key = f"/pods/default/{number}"
        for i in range(20):
            with contextlib.suppress(Unavailable):  # the outcome of a deletion may stay unknown
                record = await storage.create(key, obj(key, round=i))
                told.append(record)
                record = await storage.update(key, obj(key, round=i, n=1), expected=record.version)
                told.append(record)
                told.append(await storage.delete(key, expected=record.version))
                continue
            current = await storage.get(key)
            if current is not None:
                told.append(await storage.delete(key, expected=current.version))

    async def crash() -> None:
        await asyncio.to_thread(etcd.kill)
        await asyncio.to_thread(etcd.start)

    await asyncio.gather(crash(), *(worker(n) for n in range(10)))
    events = await listener.until(await last_version(storage))
    versions = [event.record.version for event in events]
    assert versions == sorted(set(versions))
    assert {record.version for record in told} <= set(versions)
    replayed = Listener(storage, start)
    assert await replayed.until(versions[-1]) == events


async def last_version(storage: EtcdStorage) -> int:
    return (await storage.create("/pods/default/last", obj("last"))).version


def lose_next_answer(storage: EtcdStorage, meanwhile: Callable[[], Awaitable[object]] | None = None) -> None:
    """The next transaction is carried out, and then the connection breaks before the answer."""
    real = storage._txn

    async def txn(*arguments: Any, **options: Any) -> Any:
        await real(*arguments, **options)
        storage._txn = real
        if meanwhile:
            await meanwhile()
        raise grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata())

    storage._txn = txn


async def test_a_write_whose_answer_was_lost_is_recognised(storage: EtcdStorage) -> None:
    start = await storage.version()
    lose_next_answer(storage)
    created = await storage.create("/pods/default/a", obj("a"))
    lose_next_answer(storage)
    updated = await storage.update(created.key, obj("a", n=1), expected=created.version)
    assert await storage.get(created.key) == updated
    events = await Listener(storage, start).until(updated.version)
    assert [event.record for event in events] == [created, updated]


async def test_a_lost_answer_leaves_an_overtaken_write_and_a_deletion_unknown(
    etcd: EtcdProcess, storage: EtcdStorage
) -> None:
    other = await EtcdStorage.open([etcd.url], compact_seconds=0)

    async def overtake() -> None:
        current = await other.get("/pods/default/a")
        assert current is not None
        await other.update(current.key, obj("a", by="another"), expected=current.version)

    lose_next_answer(storage, overtake)
    with pytest.raises(Unavailable):
        await storage.create("/pods/default/a", obj("a"))
    current = await storage.get("/pods/default/a")
    assert current is not None and b"another" in current.value
    lose_next_answer(storage)
    with pytest.raises(Unavailable):
        await storage.delete(current.key, expected=current.version)
    assert await storage.get(current.key) is None
    await other.close()


async def test_a_loser_whose_answer_was_lost_changes_nothing(storage: EtcdStorage) -> None:
    first = await storage.create("/pods/default/a", obj("a"))
    lose_next_answer(storage)
    with pytest.raises(Unavailable):
        await storage.create(first.key, obj("b"))
    assert await storage.get(first.key) == first


async def test_writes_wait_for_a_frozen_etcd_and_happen_once(
    etcd: EtcdProcess, storage: EtcdStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = await storage.version()
    monkeypatch.setattr(etcd_module, "ATTEMPT_SECONDS", 0.3)
    attempts, tried_again, real = itertools.count(1), asyncio.Event(), storage._txn

    async def txn(*arguments: Any, **options: Any) -> Any:
        if next(attempts) == 2:
            tried_again.set()
        return await real(*arguments, **options)

    storage._txn = txn
    etcd.pause()
    writes = asyncio.gather(*(storage.create(f"/pods/default/{i}", obj(str(i))) for i in range(20)))
    await asyncio.wait_for(tried_again.wait(), DEADLINE)
    etcd.resume()
    records = await writes
    events = await Listener(storage, start).until(max(record.version for record in records))
    assert sorted((event.record for event in events), key=lambda r: r.version) == sorted(
        records, key=lambda r: r.version
    )


async def test_a_store_that_stays_away_is_unavailable(
    etcd: EtcdProcess, storage: EtcdStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(etcd_module, "OUTAGE_SECONDS", 0.5)
    monkeypatch.setattr(etcd_module, "READ_ATTEMPTS", 2)
    etcd.kill()
    results = await asyncio.gather(
        *(storage.create(f"/pods/default/{i}", obj("a")) for i in range(200)), return_exceptions=True
    )
    assert all(isinstance(result, Unavailable) for result in results)
    with pytest.raises(Unavailable):
        await storage.get("/pods/default/a")
    with pytest.raises(Unavailable):
        await storage.version()
    etcd.start()
    assert await storage.create("/pods/default/a", obj("a"))


async def test_a_deletion_told_without_its_previous_value_is_not_lost(storage: EtcdStorage) -> None:
    """etcd 3.4 does so when a watch begins while events are at hand."""
    start = await storage.version()
    first = await storage.create("/pods/default/a", obj("a"))
    deleted = await storage.delete(first.key, expected=first.version)
    real = storage._watches

    class Forgetful:
        def __init__(self) -> None:
            self._stream = real.Watch()
            self.write, self.cancel = self._stream.write, self._stream.cancel

        async def __aiter__(self) -> AsyncIterator[Any]:
            async for response in self._stream:
                for event in response.events:
                    event.ClearField("prev_kv")
                yield response

    storage._watches = SimpleNamespace(Watch=Forgetful)
    events = await Listener(storage, start).until(deleted.version)
    assert events == [Event(EventType.ADDED, first), Event(EventType.DELETED, deleted)]


async def test_listing_more_than_a_grpc_message_holds(storage: EtcdStorage) -> None:
    padding = "x" * 100_000
    await asyncio.gather(*(storage.create(f"/pods/default/{i:02}", obj(str(i), pad=padding)) for i in range(80)))
    snapshot = await storage.list("/pods/")
    assert len(snapshot.records) == 80
    assert sum(len(record.value) for record in snapshot.records) > 4 << 20
    events = await Listener(storage, 0).until(snapshot.records[-1].version)
    assert len(events) == 80


async def test_listing_goes_page_by_page_as_of_one_version(
    storage: EtcdStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(etcd_module, "PAGE_KEYS", 7)
    created = await asyncio.gather(*(storage.create(f"/pods/default/{i:03}", obj(str(i))) for i in range(100)))
    snapshot = await storage.list("/")
    assert snapshot.records == [*created] and not snapshot.more
    part = await storage.list("/", limit=20, after=created[9].key)
    assert part.records == [*created[10:30]] and part.more


async def test_a_value_etcd_would_refuse_is_refused_alone(storage: EtcdStorage) -> None:
    results = await asyncio.gather(
        storage.create("/pods/default/huge", obj("huge", pad="x" * 2_000_000)),
        storage.create("/pods/default/big", obj("big", pad="x" * 1_200_000)),
        storage.create("/pods/default/small", obj("small")),
        return_exceptions=True,
    )
    assert isinstance(results[0], TooLarge)
    assert [type(result) for result in results[1:]] == [Record, Record]


async def test_foreign_keys_do_not_disturb(etcd: EtcdProcess, storage: EtcdStorage) -> None:
    start = await storage.version()
    command = ["etcdctl", f"--endpoints={etcd.url}", "put"]
    for key, value in [("/elsewhere", "x"), ("/registry/pods/default/odd", "not ours"), ("/registry2/a", "0{}")]:
        await asyncio.to_thread(subprocess.run, [*command, key, value], check=True, capture_output=True)
    record = await storage.create("/pods/default/a", obj("a"))
    assert (await storage.list("/")).records == [record]
    assert await Listener(storage, start).until(record.version) == [Event(EventType.ADDED, record)]


async def test_a_cache_stays_fresh_beside_foreign_writers(etcd: EtcdProcess, storage: EtcdStorage) -> None:
    cache = WatchCache(storage, lambda record: ({}, {}))
    running = asyncio.create_task(cache.run())
    await cache.ready()
    command = ["etcdctl", f"--endpoints={etcd.url}", "put", "/elsewhere", "x"]
    await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)
    assert await cache.fresh() <= cache.version
    running.cancel()


async def test_a_cache_serves_reads_while_etcd_is_away_and_goes_on_after(
    etcd: EtcdProcess, storage: EtcdStorage
) -> None:
    record = await storage.create("/pods/default/a", obj("a"))
    cache = WatchCache(storage, lambda record: ({}, {}))
    running = asyncio.create_task(cache.run())
    await cache.ready()
    watcher = cache.watch("pods", since=cache.version)
    etcd.kill()
    with pytest.raises(Unavailable):
        await cache.fresh()
    entry = cache.get(record.key)
    assert entry is not None and entry.value == record.value
    etcd.start()
    second = await storage.create("/pods/default/b", obj("b"))
    async with asyncio.timeout(DEADLINE):
        assert [change.entry.value for change in await watcher.next()] == [second.value]
        await cache.fresh()
    running.cancel()


async def test_a_cache_lists_again_when_history_was_compacted_while_it_was_away(
    etcd: EtcdProcess, storage: EtcdStorage
) -> None:
    old = await storage.create("/pods/default/old", obj("old"))
    paused = await PausedStorage.open([etcd.url], compact_seconds=0)
    cache = WatchCache(paused, lambda record: ({}, {}))
    running = asyncio.create_task(cache.run())
    await cache.ready()
    watcher = cache.watch("pods", since=cache.version)
    await storage.delete(old.key, expected=old.version)
    new = await storage.create("/pods/default/new", obj("new"))
    await storage.compact(new.version)
    paused.resumed.set()
    async with asyncio.timeout(DEADLINE):
        await cache.seen(new.version)
    assert [entry.key for entry in cache.list("pods")] == [new.key]
    with pytest.raises(Compacted):
        await watcher.next()
    running.cancel()
    await paused.close()


async def test_a_cache_lists_again_when_etcd_lost_everything(etcd: EtcdProcess, storage: EtcdStorage) -> None:
    for i in range(5):
        await storage.create(f"/pods/default/{i}", obj(str(i)))
    cache = WatchCache(storage, lambda record: ({}, {}))
    running = asyncio.create_task(cache.run())
    await cache.ready()
    watcher = cache.watch("pods", since=cache.version)
    etcd.kill()
    await asyncio.to_thread(shutil.rmtree, etcd.directory / "data")
    etcd.start()
    async with asyncio.timeout(DEADLINE):
        with pytest.raises(Compacted):
            await watcher.next()
    assert cache.list("pods") == []
    running.cancel()


class PausedStorage(EtcdStorage):
    """Its watch asks for nothing until `resumed`, as if the process had been frozen."""

    def __init__(self, channel: Any, **options: Any) -> None:
        super().__init__(channel, **options)
        self.resumed = asyncio.Event()

    async def watch(self, prefix: str, *, since: int) -> AsyncIterator[Batch]:
        await self.resumed.wait()
        async for batch in super().watch(prefix, since=since):
            yield batch


async def test_two_servers_writing_at_once_agree_on_every_version(etcd: EtcdProcess, storage: EtcdStorage) -> None:
    other = await EtcdStorage.open([etcd.url], compact_seconds=0)
    start = await storage.version()
    listeners = [Listener(storage, start), Listener(other, start)]
    told: list[Record] = []

    async def churn(store: EtcdStorage, number: int) -> None:
        for i in range(15):
            key = f"/pods/default/{(number + i) % 20}"
            with contextlib.suppress(KeyExists, KeyMissing, VersionMismatch):
                current = await store.get(key)
                if current is None:
                    told.append(await store.create(key, obj(key)))
                elif i % 3:
                    told.append(await store.update(key, obj(key, by=number, i=i), expected=current.version))
                else:
                    told.append(await store.delete(key, expected=current.version))

    await asyncio.gather(*(churn(store, n) for n in range(20) for store in (storage, other)))
    last = await last_version(storage)
    first, second = [await listener.until(last) for listener in listeners]
    assert first == second
    told.sort(key=lambda record: record.version)
    assert [event.record for event in first][:-1] == told
    await other.close()


async def test_two_servers_may_compact_the_same_history(etcd: EtcdProcess, storage: EtcdStorage) -> None:
    other = await EtcdStorage.open([etcd.url], compact_seconds=0)
    record = await storage.create("/pods/default/a", obj("a"))
    await storage.compact(record.version)
    await other.compact(record.version)
    assert await other.get(record.key) == record
    await other.close()


async def test_compaction_goes_on_by_itself(etcd: EtcdProcess, storage: EtcdStorage) -> None:
    tidy = await EtcdStorage.open([etcd.url], compact_seconds=0.05)
    first = await storage.create("/pods/default/a", obj("a"))
    await storage.update(first.key, obj("a", n=1), expected=first.version)
    async with asyncio.timeout(DEADLINE):
        while True:
            try:
                await storage.list("/", version=first.version)
            except Compacted:
                break
    await tidy.close()


async def test_it_speaks_tls_with_a_client_certificate(tls_etcd: EtcdProcess) -> None:
    directory = tls_etcd.directory
    ca, cert, key = (str(directory / name) for name in ("ca.crt", "etcd.crt", "etcd.key"))
    storage = await EtcdStorage.open([tls_etcd.url], tls=TlsFiles(ca, cert, key), compact_seconds=0)
    start = await storage.version()
    record = await storage.create("/pods/default/a", obj("a"))
    assert await Listener(storage, start).until(record.version) == [Event(EventType.ADDED, record)]
    await storage.close()


async def test_without_a_client_certificate_etcd_is_unavailable(
    tls_etcd: EtcdProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(etcd_module, "READ_ATTEMPTS", 2)
    storage = await EtcdStorage.open([tls_etcd.url], tls=TlsFiles(str(tls_etcd.directory / "ca.crt")))
    with pytest.raises(Unavailable):
        await storage.version()
    await storage.close()
