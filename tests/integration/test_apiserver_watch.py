"""Watches and writes over real TLS connections, on a real etcd."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from control_plane import ControlPlane

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
DEADLINE_SECONDS = 10.0


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory, etcd_binary: str) -> Iterator[ControlPlane]:
    plane = ControlPlane(tmp_path_factory.mktemp("plane"))
    try:
        plane.start_etcd()
        plane.start_apiserver()
        yield plane
    finally:
        plane.stop()


def connect(plane: ControlPlane, port: int | None = None) -> httpx2.AsyncClient:
    d = plane.directory
    context = ssl.create_default_context(cafile=str(d / "ca.crt"))
    context.load_cert_chain(d / "admin.crt", d / "admin.key")
    url = f"https://127.0.0.1:{port or plane.port}"
    return httpx2.AsyncClient(base_url=url, verify=context, timeout=DEADLINE_SECONDS, trust_env=False)


@pytest.fixture
async def http(plane: ControlPlane) -> AsyncIterator[httpx2.AsyncClient]:
    async with connect(plane) as client:
        await client.delete(CONFIG_MAPS)
        yield client


async def make(http: httpx2.AsyncClient, name: str, **labels: str) -> dict[str, Any]:
    answer = await http.post(CONFIG_MAPS, json={"metadata": {"name": name, "labels": labels}})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


class Events:
    """The lines of a watch."""

    def __init__(self, response: httpx2.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(DEADLINE_SECONDS):
            event: dict[str, Any] = json.loads(await anext(self._lines))
        return event

    async def seen(self, count: int) -> list[tuple[str, str]]:
        """(type, name) of the next events."""
        events = [await self.next() for _ in range(count)]
        return [(each["type"], each["object"]["metadata"].get("name", "")) for each in events]

    async def end(self) -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            assert [line async for line in self._lines] == []


@asynccontextmanager
async def watching(http: httpx2.AsyncClient, path: str = CONFIG_MAPS, **query: str) -> AsyncIterator[Events]:
    accept = {"accept": query.pop("accept")} if "accept" in query else {}
    async with http.stream("GET", path, params={"watch": "true", **query}, headers=accept) as response:
        yield Events(response)


async def test_what_happens_after_a_version_comes_in_order(http):
    version = (await http.get(CONFIG_MAPS)).json()["metadata"]["resourceVersion"]
    made = await make(http, "a")
    async with watching(http, resourceVersion=version) as events:
        assert await events.seen(1) == [("ADDED", "a")]
        await http.patch(
            f"{CONFIG_MAPS}/a", json={"data": {"x": "1"}}, headers={"content-type": "application/merge-patch+json"}
        )
        changed = await events.next()
        assert changed["type"] == "MODIFIED" and changed["object"]["data"] == {"x": "1"}
        await http.delete(f"{CONFIG_MAPS}/a")
        gone = await events.next()
        assert gone["type"] == "DELETED"
        versions = [int(each["metadata"]["resourceVersion"]) for each in (made, changed["object"], gone["object"])]
        assert versions == sorted(set(versions))


async def test_without_a_version_it_begins_with_what_there_is(http):
    await make(http, "a")
    await make(http, "b")
    async with watching(http) as events:
        assert await events.seen(2) == [("ADDED", "a"), ("ADDED", "b")]
        await make(http, "c")
        assert await events.seen(1) == [("ADDED", "c")]


async def test_a_selector_sees_objects_come_and_go(http):
    version = (await http.get(CONFIG_MAPS)).json()["metadata"]["resourceVersion"]
    async with watching(http, resourceVersion=version, labelSelector="app=web") as events:
        merge = {"content-type": "application/merge-patch+json"}
        await make(http, "a", app="db")
        await http.patch(f"{CONFIG_MAPS}/a", json={"metadata": {"labels": {"app": "web"}}}, headers=merge)
        await http.patch(f"{CONFIG_MAPS}/a", json={"data": {"x": "1"}}, headers=merge)
        await http.patch(f"{CONFIG_MAPS}/a", json={"metadata": {"labels": {"app": "db"}}}, headers=merge)
        assert await events.seen(2) == [("ADDED", "a"), ("MODIFIED", "a")]
        gone = await events.next()
        assert gone["type"] == "DELETED" and gone["object"]["metadata"]["labels"] == {"app": "web"}


async def test_one_object_by_field_selector(http):
    async with watching(http, fieldSelector="metadata.name=b") as events:
        await make(http, "a")
        await make(http, "b")
        assert await events.seen(1) == [("ADDED", "b")]


async def test_a_streamed_list_ends_with_a_bookmark(http):
    await make(http, "a")
    query = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
    async with watching(http, **query) as events:
        assert await events.seen(1) == [("ADDED", "a")]
        bookmark = await events.next()
        assert bookmark["type"] == "BOOKMARK"
        assert bookmark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
        await make(http, "b")
        assert await events.seen(1) == [("ADDED", "b")]


async def test_it_ends_when_asked_to_with_a_last_bookmark(http):
    made = await make(http, "a")
    query = {"timeoutSeconds": "1", "allowWatchBookmarks": "true"}
    async with watching(http, resourceVersion=made["metadata"]["resourceVersion"], **query) as events:
        bookmark = await events.next()
        assert bookmark["type"] == "BOOKMARK"
        assert int(bookmark["object"]["metadata"]["resourceVersion"]) >= int(made["metadata"]["resourceVersion"])
        await events.end()


async def test_a_forgotten_version_has_expired(http):
    async with watching(http, resourceVersion="1") as events:
        if events.response.status_code == 200:
            assert (await events.next())["object"]["code"] == 410
        else:
            await events.response.aread()
            assert events.response.json()["reason"] == "Expired"


async def test_a_table_names_its_columns_once(http):
    accept = "application/json;as=Table;v=v1;g=meta.k8s.io"
    await make(http, "a")
    async with watching(http, accept=accept) as events:
        first = await events.next()
        await make(http, "b")
        second = await events.next()
    assert [each["name"] for each in first["object"]["columnDefinitions"]] == ["Name", "Data", "Age"]
    assert second["object"]["columnDefinitions"] is None
    assert second["object"]["rows"][0]["cells"][0] == "b"


async def test_many_watchers_all_see_everything(http, plane):
    version = (await http.get(CONFIG_MAPS)).json()["metadata"]["resourceVersion"]

    async def watcher() -> list[tuple[str, str]]:
        async with connect(plane) as client, watching(client, resourceVersion=version) as events:
            return await events.seen(30)

    watchers = [asyncio.create_task(watcher()) for _ in range(8)]
    await asyncio.gather(*(make(http, f"m-{number}") for number in range(30)))
    seen = await asyncio.gather(*watchers)
    assert all(each == seen[0] for each in seen)
    assert sorted(name for _, name in seen[0]) == sorted(f"m-{number}" for number in range(30))


async def test_concurrent_writers_lose_nothing(http):
    await make(http, "counter")

    async def increment() -> None:
        while True:
            current = (await http.get(f"{CONFIG_MAPS}/counter")).json()
            current["data"] = {"n": str(int(current.get("data", {}).get("n", "0")) + 1)}
            answer = await http.put(f"{CONFIG_MAPS}/counter", json=current)
            if answer.status_code == 200:
                return
            assert answer.status_code == 409

    await asyncio.gather(*(increment() for _ in range(20)))
    assert (await http.get(f"{CONFIG_MAPS}/counter")).json()["data"] == {"n": "20"}


async def test_two_servers_never_give_the_same_address_twice(http, plane):
    """Two API servers on one etcd, a tiny range of ports: each is given once, then none is left."""
    second = ControlPlaneTwin(plane, "--service-node-port-range=30000-30009")
    third = ControlPlaneTwin(plane, "--service-node-port-range=30000-30009")
    services = "/api/v1/namespaces/default/services"
    try:
        async with connect(plane, second.port) as one, connect(plane, third.port) as two:

            async def create(number: int) -> Any:
                body = {"metadata": {"name": f"s-{number}"}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}}
                return await (one, two)[number % 2].post(services, json=body)

            answers = await asyncio.gather(*(create(number) for number in range(14)))
            made = [each.json()["spec"] for each in answers if each.status_code == 201]
            ports = [spec["ports"][0]["nodePort"] for spec in made]
            assert sorted(ports) == list(range(30000, 30010))
            assert len({spec["clusterIP"] for spec in made}) == 10
            assert {each.status_code for each in answers} == {201, 422}
    finally:
        second.stop()
        third.stop()


class ControlPlaneTwin:
    """Another API server on the same etcd."""

    def __init__(self, plane: ControlPlane, *options: str) -> None:
        from ports import free_port

        self._plane, self.port = plane, free_port()
        self._name = f"apiserver-{self.port}"
        d = plane.directory
        plane._python(
            "apiserver",
            f"--etcd-servers=http://127.0.0.1:{plane._etcd_port}",
            f"--secure-port={self.port}",
            "--bind-address=127.0.0.1",
            f"--tls-cert-file={d}/apiserver.crt",
            f"--tls-private-key-file={d}/apiserver.key",
            f"--client-ca-file={d}/ca.crt",
            *options,
            name=self._name,
        )
        own, plane.port = plane.port, self.port
        try:
            plane._wait_ready()
        finally:
            plane.port = own

    def stop(self) -> None:
        self._plane.stop(self._name)


async def test_a_restarted_server_has_everything(http, plane):
    made = await make(http, "kept")
    plane.kill("apiserver")
    plane.start_apiserver()
    async with connect(plane) as client:
        assert (await client.get(f"{CONFIG_MAPS}/kept")).json() == made
    assert "Traceback" not in plane.log("apiserver")


async def test_nobody_and_the_wrong_token(plane):
    async with httpx2.AsyncClient(
        base_url=f"https://127.0.0.1:{plane.port}",
        verify=ssl.create_default_context(cafile=str(plane.directory / "ca.crt")),
        trust_env=False,
    ) as client:
        assert (await client.get("/readyz")).text == "ok"
        assert (await client.get(CONFIG_MAPS)).status_code == 403
        answer = await client.get(CONFIG_MAPS, headers={"authorization": "Bearer wrong"})
        assert (answer.status_code, answer.json()["reason"]) == (401, "Unauthorized")
