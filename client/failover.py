"""One client of several API servers: which of them to ask, and which did not answer.

`Failover` is the transport of our clients, `Servers` what it knows; client/endpoints.py keeps that true.

Invariants
- A request goes to the server that answered last, whoever asks: all requests of a client move together.
- What may have reached a server is sent to another only if it is a GET; a write that broke is its sender's business.
- A server that is gone without a word is noticed in seconds (servers.SOCKET_OPTIONS), on silent streams, too.
- A server that is not among the endpoints any more is asked last, and forgotten when there are many.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import httpx2

from client.servers import CONNECT_SECONDS

REMEMBERED = 9  # servers kept in a list

log = logging.getLogger("servers")


class Servers:
    """The servers of one client, the one that is asked first in front."""

    def __init__(self, urls: Iterable[str]) -> None:
        self._urls = [httpx2.URL(url) for url in urls]

    @property
    def urls(self) -> list[str]:
        return [str(url).rstrip("/") for url in self._urls]

    def __len__(self) -> int:
        return len(self._urls)

    def aim(self, request: httpx2.Request) -> httpx2.URL:
        """Direct a request at the server whose turn it is."""
        url = self._urls[0]
        request.url = request.url.copy_with(scheme=url.scheme, host=url.host, port=url.port)
        request.headers["Host"] = request.url.netloc.decode()
        if len(self) > 1:
            timeout = dict(request.extensions.get("timeout") or {})
            request.extensions = {**request.extensions, "timeout": timeout | {"connect": CONNECT_SECONDS}}
        return url

    def failed(self, url: httpx2.URL) -> None:
        """That one did not answer: it is the last to be asked again. Others may have said so before."""
        if len(self) > 1 and self._urls[0] == url:
            self._urls.append(self._urls.pop(0))
            log.warning("the API server %s does not answer; going on with %s", url, self._urls[0])

    def learn(self, urls: Iterable[str]) -> bool:
        """Take over a list of those alive; whether it told anything new. One that knows none of ours is not believed:
        then the servers are reached by other names."""
        told = [httpx2.URL(url) for url in urls]
        if not set(told) & set(self._urls):
            return False
        known = [url for url in self._urls if url in told]
        before, self._urls = self._urls, list(dict.fromkeys([*known, *told, *self._urls]))[:REMEMBERED]
        return set(before) != set(self._urls)


class Failover(httpx2.AsyncBaseTransport, httpx2.BaseTransport):
    """Sends each request to a server that answers."""

    def __init__(self, transport: Any, servers: Servers) -> None:
        self._transport = transport
        self.servers = servers

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        for left in range(len(self.servers) - 1, -1, -1):
            url = self.servers.aim(request)
            try:
                response: httpx2.Response = await self._transport.handle_async_request(request)
            except httpx2.TransportError as error:
                if not (self._elsewhere(url, request, error) and left):
                    raise
            else:
                if not (self._unwell(url, request, response) and left):
                    return response
                await response.aclose()
        raise AssertionError("a client without servers")

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        for left in range(len(self.servers) - 1, -1, -1):
            url = self.servers.aim(request)
            try:
                response: httpx2.Response = self._transport.handle_request(request)
            except httpx2.TransportError as error:
                if not (self._elsewhere(url, request, error) and left):
                    raise
            else:
                if not (self._unwell(url, request, response) and left):
                    return response
                response.close()
        raise AssertionError("a client without servers")

    def _elsewhere(self, url: httpx2.URL, request: httpx2.Request, error: httpx2.TransportError) -> bool:
        """Note a failure; whether the same request may be sent to another server."""
        if isinstance(error, httpx2.PoolTimeout):
            return False
        self.servers.failed(url)
        return request.method == "GET" or isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout)

    def _unwell(self, url: httpx2.URL, request: httpx2.Request, response: httpx2.Response) -> bool:
        """A server that cannot reach its store says 503: others may."""
        if response.status_code != 503:
            return False
        self.servers.failed(url)
        return request.method == "GET"

    async def aclose(self) -> None:
        await self._transport.aclose()

    def close(self) -> None:
        self._transport.close()
