"""Connections are kept and used again: each new one would cost a handshake of mutual TLS."""

from __future__ import annotations

import asyncio
from pathlib import Path

import yaml

from client import rest
from client.config import LIMITS, connect

CONFIG = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "c",
    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    "users": [{"name": "u", "user": {}}],
}


class Server:
    """Answers when as many requests wait as it was told to gather, and counts the connections they came on."""

    def __init__(self, together: int) -> None:
        self.connections = 0
        self._together = together
        self._waiting = 0
        self._all = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                self._waiting += 1
                if self._waiting == self._together:
                    self._all.set()
                    self._waiting = 0
                    self._all = asyncio.Event()
                else:
                    await self._all.wait()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


async def test_a_second_burst_needs_no_new_connection(tmp_path: Path) -> None:
    burst = 60
    server = Server(burst)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(CONFIG | {"clusters": [{"name": "c", "cluster": {"server": url}}]}))
    client = connect(path)
    async with listening, asyncio.timeout(20):
        for _ in range(3):
            await asyncio.gather(*(rest.request(client, "GET", "/version") for _ in range(burst)))
        await client.close()
    assert server.connections == burst


def test_an_idle_connection_outlives_a_pause_between_requests() -> None:
    # Node leases are renewed every 10 s, and nothing else may happen between two of them.
    assert LIMITS.keepalive_expiry is not None
    assert LIMITS.keepalive_expiry > 10
