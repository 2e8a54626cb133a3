"""The ASGI application: FastAPI for health, version and OpenAPI; one generic endpoint for everything below /api, /apis.

Interface: `create_app(backend, auth=...)`.

Invariants
- Every answer that is not success is a Kubernetes `Status` in JSON; a client's mistake never logs a traceback.
- A request body is read in full, at most BODY_LIMIT_BYTES, before anything is decided about it.
- The resource endpoint is plain ASGI: FastAPI's routing would cost more than everything else a read does.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from functools import partial
from typing import Any

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from api.errors import BadRequest, HeadersTooLarge, RequestEntityTooLarge, ServiceUnavailable, UriTooLong
from apiserver.backend import Backend
from apiserver.http import discovery, health
from apiserver.http.guard import Guard
from apiserver.http.request import Request, RequestInfo, parse_query
from apiserver.http.responses import Response, Stream, Tunnel, error_response, send_response, to_api_error
from apiserver.http.tunnel import pump
from apiserver.openapi import routes as openapi
from apiserver.verbs import dispatch

log = logging.getLogger(__name__)

BODY_LIMIT_BYTES = 3 * 1024 * 1024
"""Kubernetes' own limit of a request body."""
URL_LIMIT_BYTES = 64 * 1024
HEADERS_LIMIT_BYTES = 64 * 1024


def create_app(backend: Backend, guard: Guard) -> Gateway:
    """The whole server as one ASGI application."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    openapi.add_routes(app, backend.registry)
    health.add_routes(app, backend)
    return Gateway(backend, app, guard)


class Gateway:
    """In front of everything: who asks, for what, and errors as Status."""

    def __init__(self, backend: Backend, rest: ASGIApp, guard: Guard) -> None:
        self._backend = backend
        self._rest = rest
        self._guard = guard
        self._discovery = discovery.Discovery(backend.registry)
        self.stopping = asyncio.Event()
        """Set when the server shuts down: watches end, so that their clients reconnect elsewhere."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
            return
        try:
            check_head(scope)
            query = parse_query(scope["query_string"])
            info = RequestInfo.parse(scope["method"], scope["path"], query)
            user = self._guard.admit(scope, info)
            if not info.is_resource and not discovery.serves(scope["path"]):
                await self._rest(scope, receive, send)
                return
            headers = dict(scope["headers"])
            authorize = partial(self._guard.recheck, user, info)
            raw_query = scope["query_string"]
            request = Request(info, query, headers, raw_query=raw_query, user=user, authorize=authorize)
            if scope["method"] not in ("GET", "HEAD"):
                request.body = await _read_body(headers, receive)
            answer = await self._answer(request)
        except Exception as error:
            answer = error_response(to_api_error(error))
        if isinstance(answer, Response):
            await send_response(send, answer, head_only=scope["method"] == "HEAD")
        else:
            await self._send_stream(answer, receive, send)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The same guard and the same handlers; what is refused before the upgrade is an ordinary answer."""
        try:
            check_head(scope)
            query = parse_query(scope["query_string"])
            info = RequestInfo.parse("GET", scope["path"], query)
            user = self._guard.admit(scope, info)
            authorize = partial(self._guard.recheck, user, info)
            request = Request(info, query, dict(scope["headers"]), user=user, authorize=authorize)
            request.raw_query, request.subprotocols = scope["query_string"], scope["subprotocols"]
            answer = await self._answer(request)
            if not isinstance(answer, Tunnel):
                raise BadRequest("this path is not served over WebSockets")
            await pump(answer, receive, send, self.stopping)
        except Exception as error:
            await send_response(send, error_response(to_api_error(error)), prefix="websocket.")

    async def _answer(self, request: Request) -> Any:
        if not request.info.is_resource:
            return self._discovery.answer(request)
        if not self._backend.cache.is_ready:
            raise ServiceUnavailable("the server has not read the store yet, please try again later")
        if not request.info.resource:
            return self._discovery.answer(request)
        return await dispatch.handle(self._backend, request)

    async def _send_stream(self, stream: Stream, receive: Receive, send: Send) -> None:
        """Pump until the stream ends, the client goes away or the server stops."""
        pump = asyncio.ensure_future(_pump(stream, send))
        others = [asyncio.ensure_future(_disconnected(receive)), asyncio.ensure_future(self.stopping.wait())]
        try:
            await asyncio.wait([pump, *others], return_when=asyncio.FIRST_COMPLETED)
            finished = pump.done()
            for task in (pump, *others):
                task.cancel()
            await asyncio.gather(pump, *others, return_exceptions=True)
            if finished and not pump.cancelled() and (error := pump.exception()) is not None:
                log.warning("a stream broke off: %s", error)
        finally:
            for task in (pump, *others):
                task.cancel()
        with contextlib.suppress(Exception):
            await send({"type": "http.response.body", "body": b""})


def check_head(scope: Scope) -> None:
    """Raises UriTooLong and HeadersTooLarge, before anything is made of either."""
    if len(scope["path"]) + len(scope["query_string"]) > URL_LIMIT_BYTES:
        raise UriTooLong(f"the URL is longer than {URL_LIMIT_BYTES} bytes")
    if sum([len(name) + len(value) for name, value in scope["headers"]]) > HEADERS_LIMIT_BYTES:
        raise HeadersTooLarge(f"the headers are larger than {HEADERS_LIMIT_BYTES} bytes")


async def _pump(stream: Stream, send: Send) -> None:
    headers = [(b"content-type", stream.media_type.encode()), (b"cache-control", b"no-cache, private"), *stream.headers]
    await send({"type": "http.response.start", "status": stream.status, "headers": headers})
    # An empty chunk lets the headers go out now: clients wait for them before they wait for events.
    await send({"type": "http.response.body", "body": b"", "more_body": True})
    async with contextlib.aclosing(stream.chunks) as chunks:  # type: ignore[type-var]
        async for chunk in chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _read_body(headers: dict[bytes, bytes], receive: Receive) -> bytes:
    declared = headers.get(b"content-length", b"")
    if declared.isdigit() and int(declared) > BODY_LIMIT_BYTES:
        raise RequestEntityTooLarge.over(BODY_LIMIT_BYTES)
    chunks = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise BadRequest("the client went away")
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > BODY_LIMIT_BYTES:
            raise RequestEntityTooLarge.over(BODY_LIMIT_BYTES)
        chunks.append(chunk)
        if not message.get("more_body"):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


__all__ = ["Gateway", "create_app"]
