"""Client certificates on a real uvicorn with real TLS connections."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from apiserver.auth import Authenticator, TlsProtocol

DEADLINE = 10.0
Issue = Callable[..., Any]


@dataclass
class Server:
    port: int
    ca: Any
    directory: Path

    def context(self, client: Any = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.directory / "ca.crt"))
        if client is not None:
            context.load_cert_chain(*client.write(self.directory, "client"))
        return context

    async def ask(self, client: Any = None, *, times: int = 1) -> list[dict[str, Any]]:
        """Who the server says we are, `times` times over one connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=self.context(client))
        answers = []
        for _ in range(times):
            writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            answers.append(json.loads(await reader.readexactly(length)))
        writer.close()
        return answers


async def whoami(scope: Any, receive: Any, send: Any) -> None:
    user = Authenticator().authenticate(scope)
    body = json.dumps({"name": user.name, "groups": user.groups}).encode()
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
async def server(tmp_path: Path, issue: Issue) -> AsyncIterator[Server]:
    ca = issue("minik-ca")
    cert, key = issue("apiserver", issuer=ca, address="127.0.0.1").write(tmp_path, "server")
    ca_file, _ = ca.write(tmp_path, "ca")
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        whoami,
        http=TlsProtocol,
        lifespan="off",
        log_level="critical",
        ssl_certfile=cert,
        ssl_keyfile=key,
        ssl_ca_certs=ca_file,
        ssl_cert_reqs=ssl.CERT_OPTIONAL,
    )
    running = uvicorn.Server(config)
    task = asyncio.create_task(running.serve(sockets=[listener]))
    yield Server(listener.getsockname()[1], ca, tmp_path)
    running.should_exit = True
    await asyncio.wait_for(task, DEADLINE)


async def test_a_certificate_is_a_user_with_groups_on_every_request(server: Server, issue: Issue) -> None:
    client = issue("system:node:n1", "system:nodes", "extra", issuer=server.ca)
    answers = await server.ask(client, times=3)
    assert answers == [{"name": "system:node:n1", "groups": ["system:nodes", "extra", "system:authenticated"]}] * 3


async def test_connections_do_not_share_their_certificates(server: Server, issue: Issue) -> None:
    await server.ask(issue("admin", "system:masters", issuer=server.ca))
    (answer,) = await server.ask()
    assert answer["name"] == "system:anonymous"
    (answer,) = await server.ask(issue("other", issuer=server.ca))
    assert answer["name"] == "other"


async def test_a_certificate_of_another_ca_gets_no_connection(server: Server, issue: Issue) -> None:
    stranger = issue("admin", "system:masters", issuer=issue("minik-ca"))
    with pytest.raises((ssl.SSLError, OSError, asyncio.IncompleteReadError)):
        await server.ask(stranger)
