"""Probes against a real server on the loopback."""

import asyncio
import contextlib

import grpc
import msgspec
import pytest
from lightkube.models.core_v1 import Container, GRPCAction, HTTPGetAction, TCPSocketAction

from kubelet.pods.handlers import Handler, Handlers, Target, port_number
from kubelet.pods.probes import Probes


class Server:
    """Answers every request with `status`; can be deaf."""

    def __init__(self):
        self.status = 200
        self.port = 0
        self.requests = []

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *error):
        self._server.close()

    async def _answer(self, reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError):  # a mere connection
            self.requests.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(f"HTTP/1.1 {self.status} X\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok".encode())
        await writer.drain()
        writer.close()


@pytest.fixture
async def server():
    async with Server() as made:
        yield made


@pytest.fixture
def handlers():
    return Handlers(runtime=None)


class Watch:
    """Probes of one container, and what they told."""

    def __init__(self, handlers, server, **probes):
        http = {"httpGet": {"path": "/", "port": server.port}, "periodSeconds": 1, "failureThreshold": 1}
        wanted = {f"{name}Probe": {**http, **fields} for name, fields in probes.items()}
        self.container = msgspec.convert({"name": "app", "image": "x", **wanted}, Container)
        self.changed = asyncio.Event()
        self.events = []
        self.probes = Probes(handlers, changed=self.changed.set, unhealthy=lambda *told: self.events.append(told[1:]))

    def begin(self):
        self.probes.sync({"id": self.container}, "127.0.0.1")

    async def until(self, holds):
        async with asyncio.timeout(10):
            while not holds():
                self.changed.clear()
                await self.changed.wait()


async def test_without_probes_a_container_is_ready_at_once(handlers, server):
    watch = Watch(handlers, server)
    watch.begin()
    assert watch.probes.ready == {"id"} and watch.probes.started == {"id"}
    watch.probes.sync({}, "")
    assert watch.probes.ready == set()


async def test_readiness_comes_and_goes(handlers, server):
    watch = Watch(handlers, server, readiness={})
    watch.begin()
    assert watch.probes.ready == set()
    await watch.until(lambda: watch.probes.ready)
    server.status = 503
    await watch.until(lambda: not watch.probes.ready)
    assert watch.events[-1] == ("Readiness", "HTTP probe failed with statuscode: 503")
    server.status = 399
    await watch.until(lambda: watch.probes.ready)
    watch.probes.stop()


async def test_liveness_condemns(handlers, server):
    server.status = 500
    watch = Watch(handlers, server, liveness={})
    watch.begin()
    assert watch.probes.ready == {"id"}
    await watch.until(lambda: watch.probes.condemned)
    assert watch.probes.condemned == {"id": "liveness"}
    watch.probes.stop()


async def test_startup_holds_the_others_back(handlers, server):
    server.status = 500
    watch = Watch(handlers, server, startup={"failureThreshold": 100}, liveness={}, readiness={})
    watch.begin()
    while len(server.requests) < 3:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert not watch.probes.started and not watch.probes.ready and not watch.probes.condemned
    server.status = 200
    await watch.until(lambda: watch.probes.ready)
    assert watch.probes.started == {"id"} and not watch.probes.condemned
    watch.probes.stop()


async def test_an_adopted_container_stays_ready_until_a_probe_fails(handlers, server):
    server.status = 500
    watch = Watch(handlers, server, readiness={"failureThreshold": 2})
    watch.probes.adopt("id")
    watch.begin()
    assert watch.probes.ready == {"id"}
    await watch.until(lambda: not watch.probes.ready)
    assert len(watch.events) == 2
    watch.probes.stop()


async def test_handlers(handlers, server):
    container = msgspec.convert({"name": "a", "image": "x", "ports": [{"name": "web", "containerPort": 80}]}, Container)
    target = Target(container, "id", "127.0.0.1")
    probe = HTTPGetAction(path="x?y=1", port=server.port)
    assert await handlers.run(Handler(http_get=probe), target, seconds=5) == (True, "")
    assert server.requests[-1].startswith("GET /x?y=1 HTTP/1.1") and "kube-probe" in server.requests[-1]
    assert port_number("web", container) == 80 and port_number("8080", container) == 8080
    with pytest.raises(ValueError, match="couldn't find port: nope"):
        port_number("nope", container)


async def test_a_closed_port_and_a_deaf_server_fail(handlers, server):
    target = Target(msgspec.convert({"name": "a", "image": "x"}, Container), "id", "127.0.0.1")
    assert await handlers.run(Handler(tcp_socket=TCPSocketAction(port=server.port)), target, seconds=5) == (True, "")
    success, output = await handlers.run(Handler(tcp_socket=TCPSocketAction(port=1)), target, seconds=5)
    assert not success and "111" in output
    deaf = await asyncio.start_server(lambda reader, writer: asyncio.sleep(60), "127.0.0.1", 0)
    port = deaf.sockets[0].getsockname()[1]
    result = await handlers.run(Handler(http_get=HTTPGetAction(port=port)), target, seconds=0.2)
    assert result == (False, "timed out after 0.2s")
    deaf.close()


class Health:
    """A gRPC server that answers grpc.health.v1.Health/Check for the services it knows."""

    def __init__(self, statuses):
        self.statuses = statuses

    def service(self, details):
        if details.method != "/grpc.health.v1.Health/Check" or not self.statuses:
            return None
        return grpc.unary_unary_rpc_method_handler(self._check)

    async def _check(self, request, context):
        service = request[2:].decode()  # the only field, with its number and its length
        if service not in self.statuses:
            await context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return bytes([8, self.statuses[service]])


@pytest.mark.parametrize(
    ("statuses", "service", "success", "output"),
    [
        ({"": 1}, None, True, ""),
        ({"": 2, "shop": 1}, "shop", True, ""),
        ({"": 2}, None, False, 'service unhealthy (responded with "NOT_SERVING")'),
        ({"": 1}, "no", False, "error: health rpc probe failed: unknown service"),
        ({}, None, False, "error: this server does not implement the grpc health protocol (grpc.health.v1.Health)"),
    ],
)
async def test_grpc(handlers, statuses, service, success, output):
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Health(statuses),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    target = Target(msgspec.convert({"name": "a", "image": "x"}, Container), "id", "127.0.0.1")
    try:
        result = await handlers.run(Handler(grpc=GRPCAction(port=port, service=service)), target, seconds=10)
    finally:
        await server.stop(None)
    assert result[0] is success and result[1].startswith(output), result
    if success:
        gone = await handlers.run(Handler(grpc=GRPCAction(port=port, service=service)), target, seconds=10)
        assert not gone[0] and gone[1].startswith("error: health rpc probe failed")


async def test_a_handler_that_names_nothing_fails(handlers):
    target = Target(msgspec.convert({"name": "a", "image": "x"}, Container), "id", "127.0.0.1")
    assert await handlers.run(Handler(), target, seconds=1) == (False, "invalid handler: it names nothing to do")
