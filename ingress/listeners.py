"""The sockets of ports 80 and 443, which outlive every HAProxy, and the certificate for hosts that have none.

A port somebody else has is told, and asked for again later; the other one works meanwhile.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import socket
import ssl
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

BACKLOG = 4096
CERTIFICATE_DAYS = 3650


@dataclass
class Listeners:
    """Addresses and ports by purpose (http, https); `open` gets what can be got."""

    address: str
    ports: dict[str, int]
    sockets: dict[str, socket.socket] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    """What is wrong, by purpose."""

    def open(self) -> None:
        for name, port in self.ports.items():
            if name not in self.sockets:
                self._open(name, port)

    def _open(self, name: str, port: int) -> None:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((self.address, port))
            sock.listen(BACKLOG)
        except OSError as error:
            sock.close()
            self.problems[name] = f"port {port} ({name}) cannot be served here: {os.strerror(error.errno or 0)}"
            return
        sock.setblocking(False)
        self.sockets[name] = sock
        self.problems.pop(name, None)

    def close(self) -> None:
        for sock in self.sockets.values():
            sock.close()
        self.sockets.clear()

    def descriptor(self, name: str) -> int | None:
        return self.sockets[name].fileno() if name in self.sockets else None


def default_certificate() -> str:
    """A certificate of nobody with its key (PEM), shown to clients that ask for a host without one."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "minik ingress default certificate")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=CERTIFICATE_DAYS))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return (certificate.public_bytes(pem) + private).decode()


def wrong_certificate(pem: str) -> str:
    """Why OpenSSL, and so HAProxy, cannot serve a certificate with its key; empty if it can."""
    memory = os.memfd_create("certificate")
    with contextlib.closing(os.fdopen(memory, "w")) as file:
        file.write(pem)
        file.flush()
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(f"/proc/self/fd/{memory}", password="")
        except (ssl.SSLError, ValueError, OSError) as error:
            return f"certificate and key cannot be served: {error}"
    return ""
