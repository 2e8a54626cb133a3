import asyncio
import json
import time

import pytest

from client.keeper import Health
from proxy import healthz

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("health", "status"),
    [
        (Health(), 503),
        (Health(last_sync=NOW - 9999, syncs=1), 200),
        (Health(last_sync=NOW - 5, pending_since=NOW - 1), 200),
        (Health(last_sync=NOW - 5, pending_since=NOW - 31, last_error="nft: no"), 503),
    ],
)
def test_healthy_while_nothing_waits_long(health: Health, status: int) -> None:
    code, body = healthz.report(health, now=NOW)
    assert code == status
    assert body.get("lastError", "") == health.last_error


async def test_over_http() -> None:
    health = Health(last_sync=time.time())
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    task = asyncio.ensure_future(healthz.serve(health, "127.0.0.1", port))
    try:
        for request, status in [
            (b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 200),
            (b"GET /livez?verbose HTTP/1.1\r\n\r\n", 200),
            (b"GET / HTTP/1.0\r\n\r\n", 404),
            (b"\r\n\r\n", 404),
        ]:
            answer = await exchange(port, request)
            assert int(answer.split()[1]) == status, request
            json.loads(answer.partition(b"\r\n\r\n")[2])
        await exchange(port, b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n")
        assert (await exchange(port, b"GET /healthz HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 200")
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def exchange(port: int, request: bytes) -> bytes:
    async with asyncio.timeout(10):
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                await asyncio.sleep(0)
                continue
            break
        try:
            writer.write(request)
            return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()
