"""Client certificates on a real uvicorn with real TLS connections."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import json
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from apiserver.auth import Authenticator, TlsProtocol

DEADLINE = 10.0


@dataclass
class Identity:
    cert: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def write(self, directory: Path, name: str) -> tuple[str, str]:
        cert, key = directory / f"{name}.crt", directory / f"{name}.key"
        cert.write_bytes(self.cert.public_bytes(serialization.Encoding.PEM))
        encoding, no_encryption = serialization.Encoding.PEM, serialization.NoEncryption()
        key.write_bytes(self.key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, no_encryption))
        return str(cert), str(key)


def identity(name: str, *groups: str, issuer: Identity | None = None, address: str = "") -> Identity:
    """A certificate signed by `issuer`, or by itself: then it is a CA."""
    key = ec.generate_private_key(ec.SECP256R1())
    names = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    subject = x509.Name([*names, x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(subject_name=subject, public_key=key.public_key())
    builder = builder.issuer_name(issuer.cert.subject if issuer else subject).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(
        now + datetime.timedelta(hours=1)
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    if address:
        names_in = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
        builder = builder.add_extension(names_in, critical=False)
    return Identity(builder.sign(issuer.key if issuer else key, hashes.SHA256()), key)


@dataclass
class Server:
    port: int
    ca: Identity
    directory: Path

    def context(self, client: Identity | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=self.ca.cert.public_bytes(serialization.Encoding.PEM).decode())
        if client is not None:
            context.load_cert_chain(*client.write(self.directory, "client"))
        return context

    async def ask(self, client: Identity | None = None, *, times: int = 1) -> list[dict[str, Any]]:
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
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    ca = identity("minik-ca")
    cert, key = identity("apiserver", issuer=ca, address="127.0.0.1").write(tmp_path, "server")
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


async def test_a_certificate_is_a_user_with_groups_on_every_request(server: Server) -> None:
    client = identity("system:node:n1", "system:nodes", "extra", issuer=server.ca)
    answers = await server.ask(client, times=3)
    assert answers == [{"name": "system:node:n1", "groups": ["system:nodes", "extra", "system:authenticated"]}] * 3


async def test_connections_do_not_share_their_certificates(server: Server) -> None:
    await server.ask(identity("admin", "system:masters", issuer=server.ca))
    (answer,) = await server.ask()
    assert answer["name"] == "system:anonymous"
    (answer,) = await server.ask(identity("other", issuer=server.ca))
    assert answer["name"] == "other"


async def test_a_certificate_of_another_ca_gets_no_connection(server: Server) -> None:
    stranger = identity("admin", "system:masters", issuer=identity("minik-ca"))
    with pytest.raises((ssl.SSLError, OSError, asyncio.IncompleteReadError)):
        await server.ask(stranger)
