"""exec, attach and port-forward through the API server, to something that answers as a kubelet does."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import httpx2
import pytest
from control_plane import ControlPlane
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import InvalidStatus
from websockets.http11 import Request as HttpRequest
from websockets.http11 import Response as HttpResponse

from api.tls import DASHED
from bootstrap import pki

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


FLOOD_MEGABYTES = 1000
"""Far more than what two connections and two queues on the way can hold, which is a hundred or so."""


async def flood(connection: ServerConnection) -> int:
    """How many megabytes were taken before there was no progress for a while."""
    for sent in range(FLOOD_MEGABYTES):
        try:
            await asyncio.wait_for(connection.send(bytes(1024 * 1024)), 2)
        except TimeoutError:
            return sent
    return FLOOD_MEGABYTES


@asynccontextmanager
async def kubelet(plane: ControlPlane, seen: list[str]) -> AsyncIterator[int]:
    """Gives back what it is told, and ends with the word `end`. Knows no container called `gone`."""

    async def echo(connection: ServerConnection) -> None:
        seen.append(connection.request.path if connection.request else "")
        async for message in connection:
            if message == "end":
                return
            if message == "flood":
                seen.append(str(await flood(connection)))
                return
            await connection.send(message)

    def refuse(connection: ServerConnection, request: HttpRequest) -> HttpResponse | None:
        return connection.respond(500, 'container not found ("gone")\n') if "/gone?" in request.path else None

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(plane.directory / "apiserver.crt", plane.directory / "apiserver.key")
    options = {"ssl": context, "subprotocols": [CHANNELS, DASHED.decode()], "max_size": None}
    async with serve(echo, "127.0.0.1", 0, process_request=refuse, **options) as server:
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
        metadata = {"name": "p", "annotations": {"kubectl.kubernetes.io/default-container": "web"}}
        spec = {"nodeName": "n1", "containers": [{"name": "web", "image": "x"}, {"name": "gone", "image": "x"}]}
        assert (await http.post(PODS, json={"metadata": metadata, "spec": spec})).status_code == 201
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


async def test_a_client_that_does_not_read_holds_the_kubelet_back(plane, seen):
    async with asyncio.timeout(40), opened(plane, "p/exec?command=yes") as client:
        await client.send("flood")
        while len(seen) < 2:  # noqa: ASYNC110  (the kubelet says so when there is no more room)
            await asyncio.sleep(0.05)
        assert 0 < int(seen[1]) < FLOOD_MEGABYTES / 2
        assert int(seen[1]) <= len([each async for each in client])


async def test_attach_and_port_forward_have_their_paths(plane, seen):
    for path in ("p/attach?stdout=1&tty=1", "p/portforward?ports=80"):
        async with asyncio.timeout(20), opened(plane, path):
            pass
    assert seen == ["/attach/default/p/web?output=1&tty=1", "/portForward/default/p?port=80"]


async def test_kubectls_name_of_port_forward_has_a_slash(plane, seen):
    reader, writer = await asyncio.open_connection("127.0.0.1", plane.port, ssl=tls(plane, "admin"))
    writer.write(
        f"GET {PODS}/p/portforward HTTP/1.1\r\nHost: here\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        "Sec-WebSocket-Protocol: SPDY/3.1+portforward.k8s.io\r\n\r\n".encode()
    )
    answer = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)).decode()
    writer.close()
    assert answer.startswith("HTTP/1.1 101") and "SPDY/3.1+portforward.k8s.io" in answer
    assert seen == ["/portForward/default/p"]


async def test_what_the_kubelet_refuses_is_a_status_on_the_error_channel(plane, seen):
    async with asyncio.timeout(20), opened(plane, "p/exec?command=ls&container=gone") as client:
        (message,) = [each async for each in client]
    status = json.loads(message[1:])
    assert message[0] == 3 and status["code"] == 500
    assert status["message"] == 'Internal error occurred: unable to upgrade connection: container not found ("gone")'


async def test_a_post_that_is_no_websocket_is_told_what_a_websocket_would_be(plane, seen):
    url = f"https://127.0.0.1:{plane.port}{PODS}/p/exec"
    async with httpx2.AsyncClient(verify=tls(plane, "admin"), trust_env=False) as http:
        answers = [await http.post(url, params={"command": "ls", "container": name}) for name in ("nope", "web")]
    assert [each.status_code for each in answers] == [400, 400]
    assert answers[0].json()["message"] == "container nope is not valid for pod p"
    assert answers[1].json()["message"].startswith("Upgrade request required")


@pytest.mark.parametrize(("verbs", "may"), [(["get"], False), (["create"], False), (["get", "create"], True)])
async def test_exec_asks_for_get_and_create(plane, seen, verbs, may):
    url, rbac = f"https://127.0.0.1:{plane.port}", "/apis/rbac.authorization.k8s.io/v1/namespaces/default"
    user = pki.Request(common_name="reader-" + "-".join(verbs), organizations=())
    plane.user(user.common_name, user)
    named, about = {"name": user.common_name}, "rbac.authorization.k8s.io"
    rules = [{"apiGroups": [""], "resources": ["pods/exec"], "verbs": verbs}]
    binding = {
        "metadata": named,
        "roleRef": {"apiGroup": about, "kind": "Role", **named},
        "subjects": [{"apiGroup": about, "kind": "User", **named}],
    }
    async with httpx2.AsyncClient(base_url=url, verify=tls(plane, "admin"), trust_env=False) as http:
        assert (await http.post(f"{rbac}/roles", json={"metadata": named, "rules": rules})).status_code == 201
        assert (await http.post(f"{rbac}/rolebindings", json=binding)).status_code == 201
    if may:
        async with asyncio.timeout(20), opened(plane, "p/exec?command=ls", user.common_name) as client:
            await client.send("end")
        return
    with pytest.raises(InvalidStatus) as refused:
        async with asyncio.timeout(20), opened(plane, "p/exec?command=ls", user.common_name):
            pass
    verb = "create" if "get" in verbs else "get"
    assert f'cannot {verb} resource \\"pods/exec\\"'.encode() in (refused.value.response.body or b"")


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
