"""A real HAProxy on loopback, with pods that say their names: routes, turns, certificates, and changes under load."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
import websockets.asyncio.client
import websockets.asyncio.server

from bootstrap import pki
from ingress.config import Configuration, render
from ingress.haproxy import MAX_FINISHING, HAProxy, HAProxyError
from ingress.listeners import Listeners, default_certificate, wrong_certificate
from ingress.routes import Backend, Certificate, Plan

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed"),
]

REQUESTS, CHANGES, CLIENTS = 10_000, 50, 8
DEADLINE_SECONDS = 60.0


class Pods:
    """HTTP servers on loopback that answer with their number."""

    def __init__(self) -> None:
        self.addresses: list[str] = []
        self.seen: Counter[int] = Counter()
        self._servers: list[asyncio.Server] = []

    async def start(self, count: int) -> None:
        for number in range(count):
            server = await asyncio.start_server(lambda r, w, n=number: self._serve(r, w, n), "127.0.0.1", 0)
            self._servers.append(server)
            self.addresses.append(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                self.seen[number] += 1
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n%02d" % number)
        writer.close()

    def close(self) -> None:
        for server in self._servers:
            server.close()


class Client:
    """One connection that is kept alive; a server that ends it without having answered has failed a request."""

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        self._port, self._tls = port, tls
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, host: str = "shop.example", path: str = "/", *, sni: str = "") -> tuple[int, str]:
        async with asyncio.timeout(DEADLINE_SECONDS):
            if self._streams is None:
                names = {"server_hostname": sni or host} if self._tls else {}
                self._streams = await asyncio.open_connection("127.0.0.1", self._port, ssl=self._tls, **names)
            reader, writer = self._streams
            writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
            body = (await reader.readexactly(length)).decode()
            if "connection: close" in head:
                self.close()
            return int(head.split()[1]), body

    def certificate(self) -> dict:
        assert self._streams is not None
        return self._streams[1].get_extra_info("peercert")

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


class Node:
    """HAProxy with its sockets, on ports of its own."""

    def __init__(self, directory: Path) -> None:
        self.listeners = Listeners("127.0.0.1", {"http": 0, "https": 0})
        self.listeners.open()
        self.http, self.https = (self.listeners.sockets[each].getsockname()[1] for each in ("http", "https"))
        self.haproxy = HAProxy(directory)
        self._default = default_certificate()

    def configuration(self, plan: Plan) -> Configuration:
        http, https = (self.listeners.descriptor(each) for each in ("http", "https"))
        return render(plan, http=http, https=https, default=self._default, threads=2, connections=500, drain=30)

    async def serve(self, plan: Plan) -> None:
        await self.haproxy.apply(self.configuration(plan), [sock.fileno() for sock in self.listeners.sockets.values()])


@pytest.fixture
async def pods() -> AsyncIterator[Pods]:
    pods = Pods()
    await pods.start(6)
    yield pods
    pods.close()


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    node = Node(tmp_path / "h")
    yield node
    await node.haproxy.stop()
    node.listeners.close()


def shop(*servers: str, **more: str) -> Plan:
    """One host, and `more` of them with the same pods."""
    backends = {"default_web_80": Backend(tuple(servers))}
    prefix = {(f"{host}.example", ""): "default_web_80" for host in ("shop", *more)}
    return Plan(prefix=prefix, backends=backends)


async def test_pods_take_turns_and_one_that_leaves_gets_nothing_more(node: Node, pods: Pods) -> None:
    await node.serve(shop(*pods.addresses[:3]))
    client = Client(node.http)
    answers = [await client.get() for _ in range(9)]
    assert {status for status, _ in answers} == {200}
    turn = [body for _, body in answers[:3]]
    assert sorted(turn) == ["00", "01", "02"] and [body for _, body in answers] == turn * 3

    await node.serve(shop(*pods.addresses[1:4]))
    assert node.haproxy.generations == 1, "a change of pods alone starts no process"
    left, pods.seen = pods.seen[0], Counter()
    assert {(await client.get())[1] for _ in range(6)} == {"01", "02", "03"}
    assert (left, pods.seen) == (3, Counter({1: 2, 2: 2, 3: 2}))
    await node.serve(shop(*pods.addresses[:4]))
    pods.seen = Counter()
    assert Counter([(await client.get())[1] for _ in range(8)]) == Counter({f"0{each}": 2 for each in range(4)})
    await node.serve(shop())
    assert (await client.get())[0] == 503
    assert (await client.get("other.example"))[0] == 404
    client.close()


async def test_the_most_specific_rule_wins(node: Node, pods: Pods) -> None:
    names = ["exact", "long", "short", "wild", "any", "rest"]
    plan = Plan(
        exact={("shop.example", "/cart"): "exact"},
        prefix={
            ("shop.example", "/cart/old"): "long",
            ("shop.example", "/cart"): "short",
            ("*.example", "/wild"): "wild",
            ("", "/any"): "any",
        },
        otherwise={"": "rest"},
        backends={name: Backend((address,)) for name, address in zip(names, pods.addresses, strict=True)},
    )
    await node.serve(plan)
    client = Client(node.http)

    async def reached(host: str, path: str) -> str:
        status, body = await client.get(host, path)
        return names[int(body)] if status == 200 else str(status)

    assert [await reached("shop.example", path) for path in ("/cart", "/cart/", "/cart/x?q=/cart/old")] == [
        "exact",
        "short",
        "short",
    ]
    assert [await reached("shop.example", path) for path in ("/cart/old", "/cart/old/x", "/cart/older", "/carts")] == [
        "long",
        "long",
        "short",
        "rest",
    ]
    assert await reached("SHOP.example:8080", "/cart") == "exact"
    assert await reached("a.example", "/wild/x") == "wild"
    assert await reached("shop.example", "/wild") == "wild", "what no rule of the host takes goes on"
    assert await reached("a.b.example", "/wild") == "rest", "a wildcard is one label"
    assert [await reached(host, "/any/x") for host in ("shop.example", "10.0.0.1", "x")] == ["any"] * 3
    client.close()


async def test_each_host_shows_its_own_certificate(node: Node, pods: Pods, tmp_path: Path) -> None:
    authority = pki.Authority.ensure(tmp_path / "ca", "tests")
    plan = shop(*pods.addresses[:1], blog="")
    for host in ("shop.example", "blog.example"):
        request = pki.Request(common_name=host, names=(host,), usages=(pki.SERVER,))
        pem = b"".join(authority.issue(request)).decode()
        assert wrong_certificate(pem) == ""
        plan.certificates[f"default_{host}"] = Certificate(pem, (host,))
    await node.serve(plan)
    trusting = ssl.create_default_context(cadata=pki.pem(authority.certificate).decode())
    for host in ("shop.example", "blog.example"):
        client = Client(node.https, trusting)
        assert await client.get(host) == (200, "00")
        assert ("DNS", host) in client.certificate()["subjectAltName"]
        client.close()
    with pytest.raises(ssl.SSLCertVerificationError):
        await Client(node.https, trusting).get("other.example")


async def test_no_request_fails_while_everything_changes(node: Node, pods: Pods) -> None:
    """Ten thousand requests over kept-alive connections; half of the changes are of pods, half start a generation."""
    await node.serve(shop(*pods.addresses[:3]))
    failed: list[str] = []
    left = iter(range(REQUESTS))
    turns: asyncio.Queue[int] = asyncio.Queue()

    async def ask() -> None:
        client = Client(node.http)
        for number in left:
            if number % (REQUESTS // (CHANGES + 1)) == 0:
                turns.put_nowait(number)
            try:
                status, _ = await client.get()
            except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
                failed.append(repr(error))
                client.close()
            else:
                failed.extend([str(status)] if status != 200 else [])
        client.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(CLIENTS):
            group.create_task(ask())
        for change in range(CHANGES):
            await turns.get()
            present = [pods.addresses[(change + each) % 6] for each in range(3)]
            await node.serve(shop(*present, **({f"more{change}": ""} if change % 4 > 1 else {})))
    assert failed == []
    assert sum(pods.seen.values()) == REQUESTS
    assert 1 + CHANGES // 2 <= node.haproxy.generations <= 1 + CHANGES


async def test_what_haproxy_refuses_changes_nothing(node: Node, pods: Pods) -> None:
    await node.serve(shop(*pods.addresses[:2]))
    broken = shop(*pods.addresses[2:4], broken="")
    broken.certificates["default_bad"] = Certificate("no certificate")
    assert wrong_certificate("no certificate")
    with pytest.raises(HAProxyError, match="does not start"):
        await node.serve(broken)
    client = Client(node.http)
    assert (await client.get("broken.example"))[0] == 404
    assert {(await client.get())[1] for _ in range(4)} == {"02", "03"}, "it knows which pods there are"
    client.close()


async def test_a_haproxy_that_dies_is_replaced(node: Node, pods: Pods) -> None:
    died = asyncio.Event()
    node.haproxy._died = died.set
    await node.serve(shop(*pods.addresses[:1]))
    os.kill(node.haproxy._current.process.pid, signal.SIGKILL)
    async with asyncio.timeout(DEADLINE_SECONDS):
        await died.wait()
    waiting = asyncio.create_task(Client(node.http).get())
    await node.serve(shop(*pods.addresses[:1]))
    assert await waiting == (200, "00"), "a connection made meanwhile waits in the socket"


def test_a_port_that_is_taken_is_told_and_got_later() -> None:
    first = Listeners("127.0.0.1", {"http": 0})
    first.open()
    port = first.sockets["http"].getsockname()[1]
    second = Listeners("127.0.0.1", {"http": port, "https": 0})
    second.open()
    assert second.problems == {"http": f"port {port} (http) cannot be served here: Address already in use"}
    assert list(second.sockets) == ["https"]
    first.close()
    second.open()
    assert not second.problems and second.descriptor("http") is not None
    second.close()


async def test_a_websocket_goes_on_through_changes(node: Node) -> None:
    async def echo(connection: websockets.asyncio.server.ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async with websockets.asyncio.server.serve(echo, "127.0.0.1", 0) as server:
        pod = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        await node.serve(shop(pod))
        async with websockets.asyncio.client.connect(
            "ws://shop.example/", host="127.0.0.1", port=node.http, proxy=None
        ) as client:
            for round_ in range(3):
                await client.send(f"{round_}")
                assert await client.recv() == f"{round_}"
                await node.serve(shop(pod, **{f"more{round_}": ""}))
        assert node.haproxy.generations == 4


async def test_old_generations_are_bounded(node: Node, pods: Pods) -> None:
    """Each is held by a connection that is kept alive; the oldest gives way."""
    clients = []
    for number in range(MAX_FINISHING + 4):
        await node.serve(shop(*pods.addresses[:1], **{f"more{number}": ""}))
        clients.append(Client(node.http))
        assert (await clients[-1].get())[0] == 200
    assert len(node.haproxy._finishing) <= MAX_FINISHING
    assert (await clients[-2].get()) == (200, "00"), "what was kept alive gets its answer"
    for client in clients:
        client.close()


async def test_grpc_passes(node: Node) -> None:
    server = grpc.aio.server()
    handlers = {"Say": grpc.unary_unary_rpc_method_handler(lambda request, context: request + b"!")}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("echo.Echo", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        plan = shop(f"127.0.0.1:{port}")
        plan.backends["default_web_80"] = Backend((f"127.0.0.1:{port}",), "h2")
        await node.serve(plan)
        options = [("grpc.default_authority", "shop.example")]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{node.http}", options=options) as channel:
            assert await channel.unary_unary("/echo.Echo/Say")(b"hello", timeout=DEADLINE_SECONDS) == b"hello!"
            plan.backends["default_web_80"] = Backend((), "h2")
            await node.serve(plan)
            with pytest.raises(grpc.aio.AioRpcError):
                await channel.unary_unary("/echo.Echo/Say")(b"hello", timeout=DEADLINE_SECONDS)
    finally:
        await server.stop(None)
