"""The client certificate of a TLS connection, brought to the application.

uvicorn does not hand the peer certificate to applications, so its HTTP protocol gets this one addition: when a
connection is made, the subject is read once and put into the state that uvicorn copies into every request's scope
(and into a WebSocket's, after an upgrade).

Interface: `TlsProtocol` for `uvicorn.Config(http=...)`; `subject_of(scope)` for whoever has the scope;
`WebSocketProtocol` for `uvicorn.Config(ws=...)` lets kubectl's subprotocol in whose name has a slash, as none may have.
Invariant: a subject is there only if the certificate was verified against the client CA during the handshake; Python
reports no fields of an unverified one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from api.keepalive import keep_alive

STATE_KEY = "client_certificate"
SLASHED, DASHED = b"SPDY/3.1+portforward.k8s.io", b"SPDY-3.1+portforward.k8s.io"


@dataclass(frozen=True, slots=True)
class Subject:
    """What Kubernetes reads from a client certificate: CN is the user, O the groups."""

    common_name: str
    organizations: tuple[str, ...]


class TlsProtocol(HttpToolsProtocol):
    """HTTP/1.1 whose requests know their connection's client certificate, and whose connections are kept alive."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        keep_alive(transport)
        subject = parse_subject(transport.get_extra_info("peercert"))
        if subject is not None:
            self.app_state = {**self.app_state, STATE_KEY: subject}
        super().connection_made(transport)


def parse_subject(certificate: Mapping[str, Any] | None) -> Subject | None:
    """The subject of a certificate in the form of `ssl.SSLSocket.getpeercert()`."""
    if not certificate:
        return None
    names = [pair for rdn in certificate.get("subject", ()) for pair in rdn]
    common_names = [value for name, value in names if name == "commonName"]
    if not common_names:
        return None
    return Subject(common_names[-1], tuple(value for name, value in names if name == "organizationName"))


def subject_of(scope: Mapping[str, Any]) -> Subject | None:
    """The verified client certificate's subject of the request's connection, if it showed one."""
    subject = scope.get("state", {}).get(STATE_KEY)
    return subject if isinstance(subject, Subject) else None


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """Applications see `SPDY/3.1+portforward.k8s.io` as `SPDY-3.1+...`, which they may pass on; clients do not."""

    _renamed = False

    def data_received(self, data: bytes) -> None:
        if not self.handshake_initiated and SLASHED in data:
            data, self._renamed = data.replace(SLASHED, DASHED), True
        super().data_received(data)

    async def send(self, message: Any) -> None:
        if message["type"] == "websocket.accept" and self._renamed:
            name = (message.get("subprotocol") or "").replace(DASHED.decode(), SLASHED.decode())
            message = {**message, "subprotocol": name}
        await super().send(message)
