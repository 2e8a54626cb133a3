"""uvicorn as minik runs it: TLS with optional client certificates, whose subject every request gets to see.

Interface: `make_server(gateway, ...)`, whose `serve()` runs until `should_exit` is set.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Generator
from typing import Any

import uvicorn

from api.tls import TlsProtocol, WebSocketProtocol
from apiserver.http.gateway import Gateway

GRACEFUL_SHUTDOWN_SECONDS = 3
KEEP_ALIVE_SECONDS = 300
HEAD_LIMIT_BYTES = 256 * 1024


class Protocol(TlsProtocol):
    """Sends what was written within one turn of the event loop as one piece.

    uvicorn writes the head and the body of a response separately, which with TLS means two records and two system
    calls; joining them takes a third off the cost of a small answer.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(CoalescingTransport(transport))  # type: ignore[arg-type]
        self._head_bytes: int | None = 0  # of a request whose head has begun; None: it is complete

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        self._head_bytes = None
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._head_bytes is not None:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_LIMIT_BYTES:  # one that never ends must not fill the memory
                self.transport.write(b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n\r\n")
                self.transport.close()


class CoalescingTransport:
    """A transport whose writes leave together at the end of the event loop's turn."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._pending: list[bytes] = []
        self._call_soon = asyncio.get_running_loop().call_soon

    def write(self, data: bytes) -> None:
        if not self._pending:
            self._call_soon(self._flush)
        self._pending.append(data)

    def _flush(self) -> None:
        if self._pending:
            data = self._pending[0] if len(self._pending) == 1 else b"".join(self._pending)
            self._pending = []
            self._transport.write(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class Server(uvicorn.Server):
    """Leaves signals to the process, and ends watches before it waits for connections to close."""

    def __init__(self, config: uvicorn.Config, gateway: Gateway) -> None:
        super().__init__(config)
        self._gateway = gateway

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def shutdown(self, sockets: Any = None) -> None:
        self._gateway.stopping.set()
        await super().shutdown(sockets)


def make_server(
    gateway: Gateway, *, host: str, port: int, cert: str | None, key: str | None, client_ca: str | None
) -> Server:
    """A server ready to serve; without `cert` it speaks plain HTTP (tests and development)."""
    config = uvicorn.Config(
        gateway,
        host=host,
        port=port,
        http=Protocol,
        ws=WebSocketProtocol,
        ws_ping_interval=None,
        ws_per_message_deflate=False,
        lifespan="off",
        access_log=False,
        log_config=None,
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        backlog=2048,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACEFUL_SHUTDOWN_SECONDS,
        ssl_certfile=cert,
        ssl_keyfile=key,
        ssl_ca_certs=client_ca if cert else None,
        ssl_cert_reqs=ssl.CERT_OPTIONAL if client_ca and cert else ssl.CERT_NONE,
    )
    return Server(config, gateway)
