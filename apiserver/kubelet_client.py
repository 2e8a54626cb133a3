"""The API server's own calls: to a node's kubelet, for what only the node has (container logs).

Interface: `KubeletClient.stream(node, path, query)` yields the kubelet's answer as it comes. What goes wrong is told in
Kubernetes' words: a kubelet that cannot be reached is an InternalError that names its URL.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import httpx2
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.typing import Subprotocol

from api import keepalive
from api.errors import ApiStatusError, BadRequest, Forbidden, InternalError, NotFound, Unauthorized
from apiserver.config import Config

KUBELET_PORT = 10250
CONNECT_SECONDS = 5.0
ADDRESS_TYPES = ("InternalIP", "ExternalIP", "Hostname")
"""Which of a node's addresses is used, best first."""

_ERRORS: dict[int, type[ApiStatusError]] = {400: BadRequest, 401: Unauthorized, 403: Forbidden, 404: NotFound}


class KubeletClient:
    """HTTPS to kubelets, with the API server's client certificate. Makes its connections when first used."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._client: httpx2.AsyncClient | None = None

    async def close(self) -> None:
        """Let go of connections."""
        if self._client is not None:
            await self._client.aclose()

    @cached_property
    def _context(self) -> ssl.SSLContext:
        config = self._config
        return _tls(config.kubelet_certificate_authority, config.kubelet_client_certificate, config.kubelet_client_key)

    def _connected(self) -> httpx2.AsyncClient:
        if self._client is None:
            timeout = httpx2.Timeout(30.0, connect=CONNECT_SECONDS, read=None)
            limits = httpx2.Limits(max_connections=None, max_keepalive_connections=20)
            transport = httpx2.AsyncHTTPTransport(
                verify=self._context, limits=limits, trust_env=False, socket_options=keepalive.options()
            )
            self._client = httpx2.AsyncClient(transport=transport, timeout=timeout, trust_env=False)
        return self._client

    async def stream(self, node: Any, path: tuple[str, ...], query: Mapping[str, str]) -> AsyncIterator[bytes]:
        """Begin a GET; returns when the kubelet has answered. Raises ApiStatusError."""
        url = kubelet_url(node, path, query)
        client = self._connected()
        try:
            response = await client.send(client.build_request("GET", url), stream=True)
        except httpx2.TransportError as error:
            raise InternalError(f'Get "{url}": {_reason(error)}') from None
        if response.status_code != 200:
            text = (await response.aread()).decode("utf-8", "replace").strip()
            await response.aclose()
            raise _ERRORS.get(response.status_code, InternalError)(
                text or f"the kubelet answered {response.status_code}"
            )
        return _chunks(response)

    @asynccontextmanager
    async def tunnel(
        self, node: Any, path: tuple[str, ...], query: Mapping[str, Any], subprotocols: Sequence[str]
    ) -> AsyncIterator[ClientConnection]:
        """A WebSocket to the kubelet, closed at the end. Raises ApiStatusError."""
        url = "wss" + kubelet_url(node, path, query).removeprefix("https")
        offered = [Subprotocol(each) for each in subprotocols]
        opening = connect(
            url,
            ssl=self._context,
            server_hostname=None,
            subprotocols=offered or None,
            compression=None,
            open_timeout=CONNECT_SECONDS,
            ping_interval=None,
            max_size=None,
            proxy=None,
        )
        try:
            connection = await opening
        except InvalidStatus as error:
            text = (error.response.body or b"").decode("utf-8", "replace").strip()
            text = text or f"the kubelet answered {error.response.status_code}"
            raise InternalError.of(f"unable to upgrade connection: {text}") from None
        except (OSError, TimeoutError, WebSocketException) as error:
            raise InternalError.of(f'error dialing backend: Get "{url}": {error}') from None
        keepalive.keep_alive(connection.transport)
        try:
            yield connection
        finally:
            await connection.close()

    async def read(self, node: Any, path: tuple[str, ...], *, seconds: float) -> bytes:
        """A whole answer, within a time. Raises ApiStatusError."""
        try:
            async with asyncio.timeout(seconds):
                return b"".join([chunk async for chunk in await self.stream(node, path, {})])
        except TimeoutError:
            raise InternalError(f"{'/'.join(path)}: no answer within {seconds:g} s") from None


async def _chunks(response: httpx2.Response) -> AsyncIterator[bytes]:
    try:
        async for chunk in response.aiter_raw():
            yield chunk
    finally:
        await response.aclose()


def _reason(error: Exception) -> str:
    if isinstance(error, httpx2.ConnectTimeout):
        return "dial tcp: i/o timeout"
    if not isinstance(error, httpx2.ConnectError):
        return str(error) or type(error).__name__
    cause: BaseException | None = error
    while cause is not None and not (isinstance(cause, OSError) and cause.strerror):
        cause = cause.__cause__ or cause.__context__
    return f"dial tcp: connect: {str(cause.strerror).lower()}" if isinstance(cause, OSError) else f"dial tcp: {error}"


def kubelet_url(node: Any, path: tuple[str, ...], query: Mapping[str, Any]) -> str:
    """Where a node's kubelet listens, from its status. Raises InternalError for a node without an address."""
    status = node.status
    addresses = {each.type: each.address for each in (status and status.addresses) or ()}
    host = next((addresses[type_] for type_ in ADDRESS_TYPES if type_ in addresses), None)
    if host is None:
        raise InternalError(f"no preferred addresses found; known addresses: {sorted(addresses)}")
    endpoints = status.daemonEndpoints
    port = (endpoints and endpoints.kubeletEndpoint and endpoints.kubeletEndpoint.Port) or KUBELET_PORT
    where = "/".join(quote(part, safe="") for part in path)
    return f"https://{host}:{port}/{where}" + (f"?{urlencode(query, doseq=True)}" if query else "")


def _tls(ca: Path | None, certificate: Path | None, key: Path | None) -> ssl.SSLContext:
    """Without a CA the kubelet's certificate is not checked, as with kube-apiserver."""
    context = ssl.create_default_context(cafile=str(ca) if ca else None)
    if ca is None:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    return context
