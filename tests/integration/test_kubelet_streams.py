"""exec, attach and port-forward on a kubelet's own server, as a WebSocket client sees them."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import urlencode

import pytest
import websockets
from kubelet_node import BUSYBOX, NODE_IP, Api, KubeletNode
from lightkube.resources.core_v1 import Pod
from websockets.asyncio.client import ClientConnection

from api import spdy
from bootstrap import pki
from linux import namespaces

pytest_plugins = ["engine_fixtures"]

HTTPD = "mkdir -p /www; hostname > /www/index.html; exec httpd -f -p 127.0.0.1:80 -h /www"
CONTAINERS = [
    {"name": "app", "image": BUSYBOX, "command": ["sh", "-c", "trap exit TERM; while read x; do echo got $x; done"]},
    {"name": "web", "image": BUSYBOX, "command": ["sh", "-c", HTTPD]},
]
CONTAINERS[0] |= {"stdin": True}


@pytest.fixture
async def pod(node: KubeletNode, api: Api) -> Pod:
    await api.create("streams", {"containers": CONTAINERS})
    return await api.ready("streams")


@contextlib.asynccontextmanager
async def open_(
    node: KubeletNode, path: str, *subprotocols: str, certificate: str = "kubelet-client", **query: Any
) -> AsyncIterator[ClientConnection]:
    d = node.directory
    context = ssl.create_default_context(cafile=str(d / "ca.crt"))
    context.load_cert_chain(d / f"{certificate}.crt", d / f"{certificate}.key")
    with namespaces.entered(f"/run/netns/{node.engine.namespace}"):
        connection = socket.socket()
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, (NODE_IP, 10250))
    url = f"wss://{NODE_IP}:10250{path}?{urlencode(query, doseq=True)}"
    async with websockets.connect(
        url,
        sock=connection,
        ssl=context,
        subprotocols=subprotocols or ("v5.channel.k8s.io",),
        max_size=None,
        ping_interval=None,
    ) as made:
        yield made


def exec_(node: KubeletNode, *command: str, protocol: str = "v5.channel.k8s.io", container: str = "app", **query: Any):
    query = {"output": 1, "error": 1, **query}
    return open_(node, f"/exec/default/streams/{container}", protocol, command=command, **query)


async def collect(connection: ClientConnection) -> dict[int, bytes]:
    """What came on each channel, until the server closed."""
    found: dict[int, bytearray] = {}
    async for message in connection:
        if isinstance(message, str):
            channel, data = int(message[0]), base64.b64decode(message[1:])
        else:
            channel, data = message[0], message[1:]
        found.setdefault(channel, bytearray()).extend(data)
    return {channel: bytes(data) for channel, data in found.items()}


async def eventually(holds: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 20
    while not await asyncio.to_thread(holds):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


def processes(node: KubeletNode, pod: Pod, text: str) -> int:
    """How many of the pod's processes have that in their command line."""
    client, found = node.engine.client(), 0
    for each in node.containers(pod, all_=False):
        if each["Labels"].get("io.kubernetes.container.name"):
            found += sum(text in " ".join(row) for row in client.top(each["Id"])["Processes"])
    return found


@pytest.mark.parametrize("protocol", ["v5.channel.k8s.io", "v4.channel.k8s.io", "v4.base64.channel.k8s.io"])
async def test_exec_tells_outputs_apart_and_the_exit_code(node, pod, protocol):
    async with exec_(node, "sh", "-c", "echo out; echo err >&2; exit 7", protocol=protocol) as connection:
        found = await collect(connection)
    assert (found[1], found[2]) == (b"out\n", b"err\n")
    status = json.loads(found[3])
    assert (status["status"], status["reason"]) == ("Failure", "NonZeroExitCode")
    assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "7"}]
    async with exec_(node, "true", protocol=protocol) as connection:
        assert json.loads((await collect(connection))[3])["status"] == "Success"


async def test_exec_with_input_that_ends(node, pod):
    async with exec_(node, "cat", input=1) as connection:
        await connection.send(b"\x00hello ")
        await connection.send(b"\x00world")
        await connection.send(b"\xff\x00")
        assert (await collect(connection))[1] == b"hello world"


async def test_exec_on_a_terminal_that_changes_its_size(node, pod):
    script = "read x; stty size; [ -t 0 ] && [ -t 1 ] && echo terminal"
    async with exec_(node, "sh", "-c", script, input=1, tty=1) as connection:
        await connection.send(b'\x04{"Width": 123, "Height": 45}')
        # The engine takes the new size by itself; the shell looks at it when it gets the line.
        async with exec_(node, "sh", "-c", "until stty size < /dev/pts/0 | grep -q 45; do :; done") as look:
            await collect(look)
        await connection.send(b"\x00\n")
        found = await collect(connection)
    assert b"45 123" in found[1] and b"terminal" in found[1]


async def test_100_mb_go_through_unchanged_in_little_memory(node, pod):
    block = os.urandom(1024 * 1024)
    sent, received = hashlib.sha256(), hashlib.sha256()
    kubelet = node._kubelet.pid

    def memory_kib() -> int:
        return int(next(x for x in open(f"/proc/{kubelet}/status") if x.startswith("VmRSS")).split()[1])

    before, most = memory_kib(), 0
    async with exec_(node, "cat", input=1) as connection:

        async def feed() -> None:
            for _ in range(100):
                sent.update(block)
                await connection.send(b"\x00" + block)
            await connection.send(b"\xff\x00")

        feeding = asyncio.create_task(feed())
        async for message in connection:
            if message[0] == 1:
                received.update(message[1:])
            most = max(most, memory_kib())
        await feeding
    assert received.digest() == sent.digest()
    assert most - before < 48 * 1024, f"{most - before} KiB more"


async def test_a_client_that_does_not_read_holds_the_process_back(node, pod):
    async with exec_(node, "sh", "-c", "dd if=/dev/zero bs=1M count=40 2>/dev/null; touch /tmp/done") as connection:
        await connection.recv()
        async with exec_(node, "sh", "-c", "sleep 2; ls /tmp") as look:
            assert b"done" not in (await collect(look)).get(1, b"")
        assert len((await collect(connection))[1]) > 39 * 1024 * 1024


async def test_a_client_that_vanishes_leaves_no_process(node, pod):
    async with exec_(node, "sleep", "4321") as connection:
        await eventually(lambda: processes(node, pod, "sleep 4321") == 1)
        connection.transport.abort()
    await eventually(lambda: processes(node, pod, "sleep 4321") == 0)


async def test_attach_speaks_to_the_containers_own_process(node, pod):
    async with open_(node, "/attach/default/streams/app", input=1, output=1) as connection:
        await connection.recv()
        await connection.send(b"\x00you\n")
        assert await asyncio.wait_for(connection.recv(), 20) == b"\x01got you\n"
    await eventually(lambda: processes(node, pod, "while read") == 1)


@pytest.mark.parametrize(
    ("path", "query", "code", "text"),
    [
        ("/exec/default/nobody/app", {"command": "true", "output": 1}, 404, 'pod "nobody" not found'),
        ("/exec/default/streams/none", {"command": "true", "output": 1}, 500, 'container not found ("none")'),
        ("/exec/default/streams/app", {"output": 1}, 400, "you must specify a command"),
        ("/exec/default/streams/app", {"command": "true"}, 400, "at least 1 of stdin, stdout, stderr"),
        ("/portForward/default/streams", {"port": "99999"}, 400, "numbers from 1 to 65535"),
    ],
)
async def test_what_is_refused_is_told_before_the_upgrade(node, pod, path, query, code, text):
    with pytest.raises(websockets.InvalidStatus) as caught:
        async with open_(node, path, "v5.channel.k8s.io", "v4.channel.k8s.io", **query):
            pass
    assert caught.value.response.status_code == code
    assert text in caught.value.response.body.decode()


async def test_a_node_and_a_user_may_not_exec(node, pod):
    student = pki.Request(common_name="student", organizations=("system:authenticated",))
    pki.ensure_leaf(node.control.authority, node.directory / "student", student)
    with pytest.raises(websockets.InvalidStatus) as caught:
        async with open_(
            node, "/exec/default/streams/app", "v5.channel.k8s.io", certificate="student", command="true", output=1
        ):
            pass
    assert caught.value.response.status_code == 403


async def test_port_forward_reaches_the_pods_loopback(node, pod):
    async with open_(node, "/portForward/default/streams", "v4.channel.k8s.io", port=[80, 81]) as connection:
        await connection.send(b"\x00GET / HTTP/1.0\r\n\r\n")
        found = await collect(connection)
    assert found[0][:2] == found[1][:2] == (80).to_bytes(2, "little")
    assert found[0].endswith(b"streams\n") and found[1][2:] == b""
    assert b"error forwarding port 81 to pod streams" in found[3]


async def test_port_forward_of_kubectl_is_spdy_inside_a_websocket(node, pod):
    framer, found, ended = spdy.Framer(), {}, set()
    async with open_(node, "/portForward/default/streams", "SPDY-3.1+portforward.k8s.io") as connection:
        for stream, port in ((1, "80"), (5, "81")):
            for number, kind in ((stream, "error"), (stream + 2, "data")):
                headers = {"streamType": kind, "port": port, "requestID": port}
                await connection.send(framer.syn_stream(number, headers, fin=kind == "error"))
        await connection.send(spdy.ping(9))
        await connection.send(spdy.data(3, b"GET / HTTP/1.0\r\n\r\n"))
        while ended != {1, 3, 5, 7}:
            for event in framer.feed(await asyncio.wait_for(connection.recv(), 20)):
                found.setdefault((event.kind, event.stream), bytearray()).extend(event.data)
                ended |= {event.stream} if event.fin else set()
    assert found[0, 3].endswith(b"streams\n") and found[0, 1] == b""
    assert b"error forwarding port 81 to pod streams" in found[0, 5]
    assert (spdy.PING, 9) in found and {(spdy.SYN_REPLY, each) for each in (1, 3, 5, 7)} <= found.keys()


async def test_kubectls_name_of_it_has_a_slash(node, pod):
    d = node.directory
    context = ssl.create_default_context(cafile=str(d / "ca.crt"))
    context.load_cert_chain(d / "kubelet-client.crt", d / "kubelet-client.key")
    with namespaces.entered(f"/run/netns/{node.engine.namespace}"):
        connection = socket.socket()
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, (NODE_IP, 10250))
    reader, writer = await asyncio.open_connection(sock=connection, ssl=context, server_hostname=NODE_IP)
    writer.write(
        b"GET /portForward/default/streams HTTP/1.1\r\nHost: node\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        b"Sec-WebSocket-Protocol: SPDY/3.1+portforward.k8s.io\r\n\r\n"
    )
    answer = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)).decode()
    writer.close()
    assert answer.startswith("HTTP/1.1 101") and "SPDY/3.1+portforward.k8s.io" in answer
