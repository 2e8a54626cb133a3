"""The client machinery against a real API server on a real etcd."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest
from control_plane import ControlPlane
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.coordination_v1 import Lease
from lightkube.resources.core_v1 import ConfigMap, Event

from api import meta
from client import events, rest
from client.config import Client
from client.events import EventRecorder
from client.informer import Informer
from client.leader import LeaderElector, LeaseTiming


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory, etcd_binary: str) -> Iterator[ControlPlane]:
    plane = ControlPlane(tmp_path_factory.mktemp("plane"))
    try:
        plane.start_etcd()
        plane.start_apiserver()
        yield plane
    finally:
        plane.stop()


def config_map(name: str, namespace: str, **labels: str) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name=name, namespace=namespace, labels=labels or None), data={"k": "v"})


async def until(changed: asyncio.Event, holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            changed.clear()
            await changed.wait()


@pytest.fixture
async def informer(client: Client, namespace: str):
    """A running informer on the test's ConfigMaps, the changes it told of, and an event that fires with each."""
    informer = Informer(client, ConfigMap, namespace=namespace)
    informer.add_index("label", lambda obj: (obj.metadata.labels or {}).values())
    told: list[tuple[str | None, str | None]] = []
    changed = asyncio.Event()

    def note(old: ConfigMap | None, new: ConfigMap | None) -> None:
        told.append((old and old.metadata.name, new and new.metadata.name))
        changed.set()

    informer.on_change(note)
    running = asyncio.ensure_future(informer.run())
    async with asyncio.timeout(10):
        await informer.wait_synced()
    told.clear()
    yield informer, told, changed
    running.cancel()


async def test_an_informer_follows_every_change(client: Client, namespace: str, informer) -> None:
    cache, told, changed = informer
    first = await client.create(config_map("a", namespace, color="red"))
    await until(changed, lambda: cache.get(f"{namespace}/a") is not None)
    assert [meta.name(each) for each in cache.by_index("label", "red")] == ["a"]
    first.metadata.labels = {"color": "blue"}
    await client.replace(first)
    await until(changed, lambda: bool(cache.by_index("label", "blue")))
    assert cache.by_index("label", "red") == []
    await client.delete(ConfigMap, "a", namespace=namespace)
    await until(changed, lambda: cache.get(f"{namespace}/a") is None)
    assert cache.by_index("label", "blue") == []
    assert told == [(None, "a"), ("a", "a"), ("a", None)]


async def test_an_informer_outlives_the_api_server(
    plane: ControlPlane, client: Client, namespace: str, informer
) -> None:
    cache, told, changed = informer
    await client.create(config_map("kept", namespace))
    await client.create(config_map("lost", namespace))
    await until(changed, lambda: cache.get(f"{namespace}/lost") is not None)
    plane.kill("apiserver")
    plane.start_apiserver()
    # The new server has no history: the informer lists again and tells the difference.
    await client.delete(ConfigMap, "lost", namespace=namespace)
    await client.create(config_map("new", namespace))
    await until(changed, lambda: {meta.name(each) for each in cache.list(namespace)} >= {"kept", "new"})
    await until(changed, lambda: cache.get(f"{namespace}/lost") is None)
    assert sorted(told, key=str) == [("lost", None), (None, "kept"), (None, "lost"), (None, "new")]


async def test_a_delete_names_the_very_object(client: Client, namespace: str) -> None:
    old = await client.create(config_map("a", namespace))
    await client.delete(ConfigMap, "a", namespace=namespace)
    new = await client.create(config_map("a", namespace))
    with pytest.raises(Exception, match="UID") as caught:
        await rest.delete(client, old)
    assert caught.value.status.code == 409
    await rest.delete(client, new)


async def test_one_leader_at_a_time_and_the_next_takes_over(client: Client, namespace: str) -> None:
    timing = LeaseTiming(lease=2, renew_deadline=1.5, retry=0.1)
    leading: list[str] = []
    changed = asyncio.Event()

    def elector(identity: str) -> asyncio.Future[None]:
        async def lead() -> None:
            leading.append(identity)
            changed.set()
            try:
                await asyncio.Event().wait()
            finally:
                leading.remove(identity)
                changed.set()

        election = LeaderElector(client, name="test", namespace=namespace, identity=identity, timing=timing)
        return asyncio.ensure_future(election.run(lead))

    first = elector("first")
    await until(changed, lambda: leading == ["first"])
    second = elector("second")
    lease = await client.get(Lease, "test", namespace=namespace)
    assert lease.spec.holderIdentity == "first"
    first.cancel()
    await until(changed, lambda: leading == ["second"])
    lease = await client.get(Lease, "test", namespace=namespace)
    assert (lease.spec.holderIdentity, lease.spec.leaseTransitions) == ("second", 1)
    second.cancel()
    await asyncio.gather(first, second, return_exceptions=True)


async def test_repeated_events_are_counted(client: Client, namespace: str) -> None:
    about = await client.create(config_map("a", namespace))
    recorder = EventRecorder(client, "tester", host="here")
    running = asyncio.ensure_future(recorder.run())
    for _ in range(3):
        recorder.event(about, "Warning", "Odd", "it happened again")
    found: list[Event] = []
    async with asyncio.timeout(10):
        async for _, event in client.watch(Event, namespace=namespace, fields={"involvedObject.name": "a"}):
            found.append(event)
            if event.count == 3:
                break
    running.cancel()
    assert {meta.name(each) for each in found} == {meta.name(found[0])}
    assert (found[-1].reason, found[-1].source.component) == ("Odd", "tester")


async def test_a_burst_of_events_arrives_whole(client: Client, namespace: str) -> None:
    about = await client.create(config_map("a", namespace))
    recorder = EventRecorder(client, "tester")
    for number in range(1500):
        recorder.event(about, "Normal", "Different", f"number {number}")
        recorder.event(about, "Normal", "Same", "again")
    running = asyncio.ensure_future(recorder.run())
    informer = Informer(client, Event, namespace=namespace)
    changed = asyncio.Event()
    informer.on_change(lambda old, new: changed.set())
    following = asyncio.ensure_future(informer.run())

    def counts(reason: str) -> list[int]:
        return [each.count or 1 for each in informer.list() if each.reason == reason]

    async with asyncio.timeout(60):
        while sum(counts("Different")) < 1500 or sum(counts("Same")) < 1500:
            changed.clear()
            await changed.wait()
    for task in (running, following):
        task.cancel()
    assert (len(counts("Different")), len(counts("Same")), recorder.dropped) == (1500, 1, 0)


async def test_an_event_outlives_the_api_server_s_absence(plane: ControlPlane, client: Client, namespace: str) -> None:
    about = await client.create(config_map("a", namespace))
    recorder = EventRecorder(client, "tester")
    plane.kill("apiserver")
    running = asyncio.ensure_future(recorder.run())
    recorder.event(about, "Normal", "Late", "better than never")
    await asyncio.to_thread(plane.start_apiserver)
    async with asyncio.timeout(20):
        async for _, event in client.watch(Event, namespace=namespace):
            if event.reason == "Late":
                break
    running.cancel()
    assert recorder.dropped == 0


async def test_a_lost_event_is_counted(client: Client, namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "QUEUE_LIMIT", 1)
    recorder = EventRecorder(client, "tester")
    about = await client.create(config_map("a", namespace))
    recorder.event(about, "Normal", "Kept", "waits")
    recorder.event(about, "Normal", "Lost", "no room")
    assert recorder.dropped == 1
