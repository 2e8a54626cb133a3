"""The calls lightkube lacks: deletes with preconditions and watches with bookmarks.

Each is: build the request (pure), send it (I/O), read the answer (pure).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, TypeVar

import httpx2
import msgspec
from lightkube import ApiError, AsyncClient
from lightkube.core.resource import Resource
from lightkube.models.meta_v1 import Status

from api import kinds, meta

R = TypeVar("R", bound=Resource)

WATCH_SILENCE_SECONDS = 90.0
"""A watch without even a bookmark for so long is taken for dead: the server sends one every minute at least."""


class Event(msgspec.Struct):
    """A line of a watch stream; the object stays raw until its type is known."""

    type: str
    object: msgspec.Raw


_decode_event = msgspec.json.Decoder(Event).decode


async def request(
    client: AsyncClient,
    method: str,
    path: str,
    *,
    params: dict[str, str] | None = None,
    body: Any = None,
    headers: dict[str, str] | None = None,
) -> bytes:
    """Send a request to an API path and return the answer's body. Raises lightkube.ApiError for a Status."""
    http: httpx2.AsyncClient = client._client._client
    content = msgspec.json.encode(body) if body is not None else None
    sent = {"Content-Type": "application/json", **(headers or {})} if content else headers
    response = await http.request(method, path.lstrip("/"), params=params, content=content, headers=sent)
    raise_for_status(response)
    return response.content


def raise_for_status(response: httpx2.Response) -> None:
    """Raise lightkube.ApiError when the (read) response is a Status of failure, else httpx2.HTTPStatusError."""
    if response.is_success:
        return
    if response.headers.get("content-type", "").startswith("application/json"):
        raise ApiError(request=response.request, response=response)
    response.raise_for_status()


async def delete(
    client: AsyncClient, obj: Any, *, grace_seconds: int | None = None, propagation: str | None = None
) -> None:
    """Delete exactly this object: one of the same name with another uid is left alone (409 Conflict).

    `propagation` is Background, Foreground or Orphan. Raises lightkube.ApiError; 404 means it is gone already.
    """
    kind = kinds.by_resource(type(obj))
    options = {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "gracePeriodSeconds": grace_seconds,
        "propagationPolicy": propagation,
        "preconditions": {"uid": meta.uid(obj)},
    }
    body = {key: value for key, value in options.items() if value is not None}
    await request(client, "DELETE", kind.path(meta.namespace(obj), meta.name(obj)), body=body)


async def list_page(
    client: AsyncClient, resource: type[R], *, namespace: str | None = None, params: dict[str, str] | None = None
) -> tuple[list[R], str, str]:
    """One page of a list: objects, the list's resourceVersion, and the continue token (empty on the last page)."""
    kind = kinds.by_resource(resource)
    data = await request(client, "GET", kind.path(namespace), params=params)
    page = msgspec.json.decode(data, type=_Page)
    objects = [kind.decoder.decode(raw) for raw in page.items or []]
    return objects, page.metadata.resourceVersion, page.metadata.continue_  # type: ignore[return-value]


class _PageMeta(msgspec.Struct):
    resourceVersion: str = ""
    continue_: str = msgspec.field(name="continue", default="")


class _Page(msgspec.Struct):
    metadata: _PageMeta
    items: list[msgspec.Raw] | None = None


async def watch(
    client: AsyncClient,
    resource: type[R],
    *,
    resource_version: str,
    namespace: str | None = None,
    params: dict[str, str] | None = None,
) -> AsyncIterator[tuple[str, R]]:
    """Events (ADDED, MODIFIED, DELETED, BOOKMARK) after a resourceVersion, until the server ends the stream.

    Raises lightkube.ApiError (410: list again) and httpx2.HTTPError (broken or silent connection: watch again).
    """
    kind = kinds.by_resource(resource)
    query = {**(params or {}), "watch": "true", "allowWatchBookmarks": "true", "resourceVersion": resource_version}
    http: httpx2.AsyncClient = client._client._client
    timeout = httpx2.Timeout(10.0, read=WATCH_SILENCE_SECONDS)
    async with http.stream("GET", kind.path(namespace).lstrip("/"), params=query, timeout=timeout) as response:
        if not response.is_success:
            await response.aread()
            raise_for_status(response)
        async for line in response.aiter_lines():
            if not line:
                continue
            event = _decode_event(line)
            if event.type == "ERROR":
                raise ApiError(status=msgspec.json.decode(event.object, type=Status))
            yield event.type, kind.decoder.decode(event.object)  # type: ignore[misc]
