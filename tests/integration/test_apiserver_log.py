"""Container logs through the API server, from something that answers as a kubelet does."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import httpx2
import pytest
from control_plane import ControlPlane
from ports import free_port

PODS = "/api/v1/namespaces/default/pods"


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory, etcd_binary: str) -> Iterator[ControlPlane]:
    plane = ControlPlane(tmp_path_factory.mktemp("plane"))
    try:
        plane.start_etcd()
        plane.start_apiserver()
        yield plane
    finally:
        plane.stop()


@pytest.fixture
async def http(plane: ControlPlane) -> AsyncIterator[httpx2.AsyncClient]:
    d = plane.directory
    context = ssl.create_default_context(cafile=str(d / "ca.crt"))
    context.load_cert_chain(d / "admin.crt", d / "admin.key")
    url = f"https://127.0.0.1:{plane.port}"
    async with httpx2.AsyncClient(base_url=url, verify=context, timeout=15, trust_env=False) as client:
        yield client
        for path in (f"{PODS}/p?gracePeriodSeconds=0", "/api/v1/nodes/n1"):
            await client.delete(path)


async def make_pod(http: httpx2.AsyncClient, port: int, *containers: str) -> None:
    """A pod bound to a node whose kubelet listens on `port`."""
    status = {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
    }
    await http.post("/api/v1/nodes", json={"metadata": {"name": "n1"}, "status": status})
    spec = {"nodeName": "n1", "containers": [{"name": name, "image": "x"} for name in containers or ("web",)]}
    assert (await http.post(PODS, json={"metadata": {"name": "p"}, "spec": spec})).status_code == 201


class Kubelet:
    """Says `status` and what is put into `lines`, as long as its caller listens."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.status = "200 OK"
        self.lines: asyncio.Queue[bytes] = asyncio.Queue()
        self.left = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.requests.append(head.split(b" ")[1].decode())
        writer.write(f"HTTP/1.1 {self.status}\r\nConnection: close\r\n\r\n".encode())
        gone = asyncio.ensure_future(reader.read())
        gone.add_done_callback(lambda task: self.left.set())
        while line := await self.lines.get():
            writer.write(line)
            await writer.drain()
        writer.close()
        await gone


@asynccontextmanager
async def listening(plane: ControlPlane, kubelet: Kubelet) -> AsyncIterator[int]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(plane.directory / "apiserver.crt", plane.directory / "apiserver.key")
    server = await asyncio.start_server(kubelet.serve, "127.0.0.1", 0, ssl=context)
    yield server.sockets[0].getsockname()[1]
    server.close()


async def test_a_log_is_passed_on_as_it_grows(http, plane):
    kubelet = Kubelet()
    async with listening(plane, kubelet) as port:
        await make_pod(http, port)
        async with http.stream("GET", f"{PODS}/p/log?follow=true&tailLines=5&timestamps=true") as response:
            assert (response.status_code, response.headers["content-type"]) == (200, "text/plain")
            chunks = response.aiter_bytes()
            for line in (b"one\n", b"two\n"):
                kubelet.lines.put_nowait(line)
                assert await anext(chunks) == line
            kubelet.lines.put_nowait(b"")
            assert [chunk async for chunk in chunks] == []
        await asyncio.wait_for(kubelet.left.wait(), 10)
    assert kubelet.requests == ["/containerLogs/default/p/web?follow=true&timestamps=true&tailLines=5"]


async def test_who_stops_listening_frees_the_kubelet(http, plane):
    kubelet = Kubelet()
    async with listening(plane, kubelet) as port:
        await make_pod(http, port)
        async with http.stream("GET", f"{PODS}/p/log?follow=true") as response:
            kubelet.lines.put_nowait(b"one\n")
            assert await anext(response.aiter_bytes()) == b"one\n"
        await asyncio.wait_for(kubelet.left.wait(), 10)
        kubelet.lines.put_nowait(b"")


async def test_the_kubelets_refusal_is_told(http, plane):
    kubelet = Kubelet()
    kubelet.status = "400 Bad Request"
    kubelet.lines.put_nowait(b'container "web" in pod "p" is waiting to start: ContainerCreating')
    kubelet.lines.put_nowait(b"")
    async with listening(plane, kubelet) as port:
        await make_pod(http, port)
        answer = await http.get(f"{PODS}/p/log")
    assert answer.status_code == 400
    assert answer.json()["message"] == 'container "web" in pod "p" is waiting to start: ContainerCreating'


async def test_a_kubelet_that_is_not_there(http):
    port = free_port()
    await make_pod(http, port)
    answer = await http.get(f"{PODS}/p/log")
    assert answer.status_code == 500
    url = f"https://127.0.0.1:{port}/containerLogs/default/p/web"
    assert answer.json()["message"].startswith(f'Get "{url}": dial tcp')


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ("", 400, "a container name must be specified for pod p, choose one of: [a b]"),
        ("container=c", 400, "container c is not valid for pod p"),
        ("container=a&tailLines=-1", 422, "tailLines: Invalid value: -1"),
        ("container=a&tailLines=x", 400, "tailLines: Invalid value"),
        ("container=a&sinceSeconds=1&sinceTime=2020-01-01T00:00:00Z", 422, "at most one of"),
    ],
)
async def test_questions_that_make_no_sense(http, query, status, words):
    await make_pod(http, free_port(), "a", "b")
    answer = await http.get(f"{PODS}/p/log?{query}")
    assert (answer.status_code, words in answer.json()["message"]) == (status, True), answer.text
