"""uvicorn as minik runs it: TLS with optional client certificates, whose subject every request gets to see."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Generator
from typing import Any

import uvicorn

from apiserver.app import Gateway
from apiserver.auth import TlsProtocol

GRACEFUL_SHUTDOWN_SECONDS = 3


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
        http=TlsProtocol,
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        backlog=2048,
        timeout_keep_alive=300,
        timeout_graceful_shutdown=GRACEFUL_SHUTDOWN_SECONDS,
        ssl_certfile=cert,
        ssl_keyfile=key,
        ssl_ca_certs=client_ca if cert else None,
        ssl_cert_reqs=ssl.CERT_OPTIONAL if client_ca and cert else ssl.CERT_NONE,
    )
    return Server(config, gateway)
