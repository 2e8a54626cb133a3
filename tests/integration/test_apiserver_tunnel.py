"""exec, attach and port-forward through the API server, to something that answers as a kubelet does."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import httpx2
import pytest
from control_plane import ControlPlane
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import InvalidStatus

PODS = "/api/v1/namespaces/default/pods"
CHANNELS = "v5.channel.k8s.io"


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory, etcd_binary: str) -> Iterator[ControlPlane]:
    plane = ControlPlane(tmp_path_factory.mktemp("plane"))
    try:
        plane.start_etcd()
        plane.start_apiserver()
        yield plane
    finally:
        plane.stop()


def tls(plane: ControlPlane, user: str = "") -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(plane.directory / "ca.crt"))
    if user:
        context.load_cert_chain(plane.directory / f"{user}.crt", plane.directory / f"{user}.key")
    return context


@asynccontextmanager
async def kubelet(plane: ControlPlane, seen: list[str]) -> AsyncIterator[int]:
    """Gives back what it is told, and ends with the word `end`."""

    async def echo(connection: ServerConnection) -> None:
        seen.append(connection.request.path if connection.request else "")
        async for message in connection:
            if message == "end":
                return
            await connection.send(message)

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(plane.directory / "apiserver.crt", plane.directory / "apiserver.key")
    async with serve(echo, "127.0.0.1", 0, ssl=context, subprotocols=[CHANNELS], max_size=None) as server:  # type: ignore[list-item]
        yield next(iter(server.sockets)).getsockname()[1]


@pytest.fixture
async def seen(plane: ControlPlane) -> AsyncIterator[list[str]]:
    url, requests = f"https://127.0.0.1:{plane.port}", list[str]()
    async with (
        kubelet(plane, requests) as port,
        httpx2.AsyncClient(base_url=url, verify=tls(plane, "admin"), timeout=15, trust_env=False) as http,
    ):
        status = {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
        }
        await http.post("/api/v1/nodes", json={"metadata": {"name": "n1"}, "status": status})
        spec = {"nodeName": "n1", "containers": [{"name": "web", "image": "x"}]}
        assert (await http.post(PODS, json={"metadata": {"name": "p"}, "spec": spec})).status_code == 201
        yield requests
        for path in (f"{PODS}/p?gracePeriodSeconds=0", "/api/v1/nodes/n1"):
            await http.delete(path)


def opened(plane: ControlPlane, path: str, user: str = "admin") -> connect:
    url = f"wss://127.0.0.1:{plane.port}{PODS}/{path}"
    return connect(url, ssl=tls(plane, user), subprotocols=[CHANNELS], compression=None, max_size=None, proxy=None)  # type: ignore[list-item]


async def test_exec_carries_messages_both_ways(plane, seen):
    async with asyncio.timeout(20), opened(plane, "p/exec?command=ls&command=-l&stdin=true&stdout=true") as client:
        assert client.subprotocol == CHANNELS
        for message in (b"\x00hello", "text", b"\x00" * 300_000):
            await client.send(message)
            assert await client.recv() == message
        await client.send("end")
        assert [message async for message in client] == []
    assert seen == ["/exec/default/p/web?input=1&output=1&command=ls&command=-l"]


async def test_attach_and_port_forward_have_their_paths(plane, seen):
    for path in ("p/attach?stdout=1&tty=1", "p/portforward?ports=80"):
        async with asyncio.timeout(20), opened(plane, path):
            pass
    assert seen == ["/attach/default/p/web?output=1&tty=1", "/portForward/default/p?port=80"]


@pytest.mark.parametrize(
    ("path", "user", "code"),
    [
        ("p/exec", "admin", 400),
        ("p/exec?command=ls&container=nope", "admin", 400),
        ("nope/exec?command=ls", "admin", 404),
        ("p/exec?command=ls", "scheduler", 403),
        ("p/exec?command=ls", "", 403),
    ],
)
async def test_what_is_refused_is_a_status(plane, seen, path, user, code):
    with pytest.raises(InvalidStatus) as refused:
        async with asyncio.timeout(20), opened(plane, path, user):
            pass
    assert refused.value.response.status_code == code
    assert b'"kind":"Status"' in (refused.value.response.body or b"")
    assert seen == []
