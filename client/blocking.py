"""HTTP without an event loop, for programs that ask a few things and end: `minikctl` and what the lab does on its own.

A kept-alive connection for requests, a connection of its own for each stream. On the standard library's http.client
and not on httpx2, which the components use: importing httpx2 and lightkube takes 0.19 s, the whole of
`minikctl get pods` less. Raises errors.Unreachable in kubectl's words when no answer comes; what the answer says is the
caller's business.
"""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import SplitResult, urlencode, urlsplit

from client.errors import ConfigError, Unreachable
from client.kubeconfig import Access
from client.servers import CONNECT_SECONDS as IMPATIENT_SECONDS
from client.servers import SOCKET_OPTIONS

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 60.0
"""For one whole answer; streams wait for as long as the server holds them."""

IDLE_SECONDS = 2.0
"""A connection unused for longer may be closed by the server at any moment, so a write does not go out on it."""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes


class Stream:
    """An answer in the making: iterate over its lines. One that breaks just ends."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self._response = response
        self.status = response.status

    def read(self) -> bytes:
        return self._response.read()

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from iter(self._response.readline, b"")
        except (OSError, http.client.HTTPException):
            return


class _Closed(Unreachable):
    """The server hung up before it answered."""


class Transport:
    """Requests to the servers of one Access: to the first of them that answers, from then on always to that one."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._urls = [urlsplit(server) for server in (access.server, *access.others)]
        for url in self._urls:
            if url.scheme not in ("http", "https") or not url.hostname:
                raise ConfigError(f"the kubeconfig's server {url.geturl()!r} is not a URL")
        self._tls = _tls_context(access) if self._url.scheme == "https" else None
        self._connection: http.client.HTTPConnection | None = None
        self._used = 0.0

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request and its whole answer. A read is tried again when a kept-alive connection turns out dead."""
        reused = self._connection is not None and (method == "GET" or time.monotonic() - self._used < IDLE_SECONDS)
        connection = self._connection if reused and self._connection else self._connect()
        try:
            return self._exchange(connection, method, path, params, body, headers)
        except _Closed:
            self._connection = None
            if not (reused and method == "GET"):
                raise
        return self._exchange(self._connect(), method, path, params, body, headers)

    @property
    def _url(self) -> SplitResult:
        """The server that is asked now."""
        return self._urls[0]

    @contextmanager
    def stream(
        self, path: str, *, params: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> Iterator[Stream]:
        """A GET whose answer is read line by line, for as long as it lasts."""
        connection = self._open()
        try:
            response = self._send(connection, "GET", path, params, None, headers)
            if connection.sock:
                connection.sock.settimeout(None)
            yield Stream(response)
        finally:
            connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        if self._connection:
            self._connection.close()
        self._connection = self._open()
        return self._connection

    def _open(self) -> http.client.HTTPConnection:
        """A connection to a server that takes one; those that do not are asked last from now on."""
        for _ in self._urls[1:]:
            try:
                return self._dial(IMPATIENT_SECONDS)
            except OSError:
                self._urls.append(self._urls.pop(0))
        try:
            return self._dial(CONNECT_SECONDS)
        except OSError as error:
            raise self._unreachable(error) from None

    def _dial(self, patience: float) -> http.client.HTTPConnection:
        host, port = self._url.hostname or "", self._url.port
        if self._tls is None:
            connection = http.client.HTTPConnection(host, port, timeout=patience)
        else:
            connection = _TlsConnection(host, port, self._tls, self._access.server_name, patience)
        connection.connect()
        if connection.sock:
            for option in SOCKET_OPTIONS:
                connection.sock.setsockopt(*option)
            connection.sock.settimeout(ANSWER_SECONDS)
        return connection

    def _exchange(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        body: bytes | None,
        headers: Mapping[str, str] | None,
    ) -> Answer:
        response = self._send(connection, method, path, params, body, headers)
        try:
            answer = Answer(response.status, response.headers, response.read())
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from None
        self._used = time.monotonic()
        if response.will_close:
            self._connection = None
        return answer

    def _send(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        body: bytes | None,
        headers: Mapping[str, str] | None,
    ) -> http.client.HTTPResponse:
        target = self._url.path.rstrip("/") + path + ("?" + urlencode(params) if params else "")
        try:
            connection.request(method, target, body=body, headers={**self._credentials(), **(headers or {})})
            return connection.getresponse()
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            raise _Closed(f"Unable to connect to the server: {self._url.netloc} closed the connection") from None
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from None

    def _credentials(self) -> dict[str, str]:
        headers = {"User-Agent": "minikctl"}
        if self._access.token:
            headers["Authorization"] = f"Bearer {self._access.token}"
        return headers

    def _unreachable(self, error: Exception) -> Unreachable:
        host = self._url.netloc
        if isinstance(error, ConnectionRefusedError):
            return Unreachable(
                f"The connection to the server {host} was refused - did you specify the right host or port?"
            )
        return Unreachable(f"Unable to connect to the server: {_why(error, host)}")


def _why(error: Exception, host: str) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"tls: failed to verify certificate: x509: {error.verify_message or error}"
    if isinstance(error, ssl.SSLError):
        return f"tls: {error.reason or error}"
    if isinstance(error, socket.gaierror):
        return f"dial tcp: lookup {host.rpartition(':')[0]}: {error.strerror}"
    if isinstance(error, TimeoutError):
        return f"dial tcp {host}: i/o timeout"
    if isinstance(error, OSError) and error.strerror:
        return f"dial tcp {host}: {error.strerror}"
    return str(error) or type(error).__name__


class _TlsConnection(http.client.HTTPConnection):
    """HTTPS that may check the certificate for another name than the address (`tls-server-name`)."""

    default_port = 443

    def __init__(
        self, host: str, port: int | None, context: ssl.SSLContext, server_name: str | None, patience: float
    ) -> None:
        super().__init__(host, port, timeout=patience)
        self._context = context
        self._server_name = server_name or host

    def connect(self) -> None:
        super().connect()
        self.sock = self._context.wrap_socket(self.sock, server_hostname=self._server_name)


def _tls_context(access: Access) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cadata=access.ca.decode() if access.ca else None)
    except (ssl.SSLError, UnicodeDecodeError, ValueError):
        raise ConfigError("certificate-authority in the kubeconfig is not a PEM certificate") from None
    if not access.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if access.certificate and access.key:
        _load_client_certificate(context, access.certificate + b"\n" + access.key)
    return context


def _load_client_certificate(context: ssl.SSLContext, pem: bytes) -> None:
    """The ssl module reads certificates from files only: one that exists for this moment, readable by its owner."""
    handle, name = tempfile.mkstemp(prefix="minikctl-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(pem)
        context.load_cert_chain(name)
    except ssl.SSLError:
        raise ConfigError("client-certificate and client-key in the kubeconfig are not a PEM pair") from None
    finally:
        os.unlink(name)
