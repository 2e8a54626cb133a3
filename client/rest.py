"""Requests lightkube has no call for: deletes with preconditions, metadata patches, pages, watches with bookmarks.

Each is: build the request (pure), send it (I/O), read the answer (pure). A kind is named by its lightkube class; for
one without a class, `PartialObjectMetadata` and the kind's `ResourceInfo` (client/discovery.py) do.

Without an event loop: bootstrap has client.config.SyncClient, minikctl the lighter client/blocking.py.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, TypeVar

import httpx2
import msgspec
from lightkube import ApiError
from lightkube.models.meta_v1 import ObjectMeta, Status

from api import meta
from api.resource import ResourceInfo, decoder, resource_info
from client.config import REQUEST_TIMEOUT_SECONDS, Client

R = TypeVar("R")

WATCH_SILENCE_SECONDS = 90.0
"""A watch without even a bookmark for so long is taken for dead: the server sends one every minute at least."""

MERGE_PATCH = {"Content-Type": "application/merge-patch+json"}


class PartialObjectMetadata(msgspec.Struct):
    """An object of any kind by what all have in common (meta.k8s.io/v1 PartialObjectMetadata)."""

    metadata: ObjectMeta
    apiVersion: str | None = None
    kind: str | None = None


class _Event(msgspec.Struct):
    """A line of a watch stream; the object stays raw until its type is known."""

    type: str
    object: msgspec.Raw


_decode_event = msgspec.json.Decoder(_Event).decode


async def request(
    client: Client,
    method: str,
    path: str,
    *,
    params: dict[str, str] | None = None,
    body: Any = None,
    headers: dict[str, str] | None = None,
) -> bytes:
    """Send a request to an API path and return the answer's body. Raises lightkube.ApiError for a Status."""
    content = msgspec.json.encode(body) if body is not None else None
    sent = {"Content-Type": "application/json", **(headers or {})} if content else headers
    response = await client.http.request(method, path, params=params, content=content, headers=sent)
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
    client: Client,
    obj: Any,
    *,
    info: ResourceInfo | None = None,
    unchanged: bool = False,
    grace_seconds: int | None = None,
    propagation: str | None = None,
) -> None:
    """Delete exactly this object: one of the same name with another uid is left alone (409 Conflict).

    `unchanged` also wants its resourceVersion to be the one that was read. `propagation` is Background, Foreground or
    Orphan. Raises lightkube.ApiError; 404 means it is gone already.
    """
    preconditions = {"uid": meta.uid(obj)}
    if unchanged:
        preconditions["resourceVersion"] = meta.metadata(obj).resourceVersion or ""
    options = {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "gracePeriodSeconds": grace_seconds,
        "propagationPolicy": propagation,
        "preconditions": preconditions,
    }
    body = {key: value for key, value in options.items() if value is not None}
    await request(client, "DELETE", _path(obj, info), body=body)


async def patch_metadata(client: Client, obj: Any, changes: dict[str, Any], *, info: ResourceInfo) -> None:
    """Change fields of the metadata of exactly this object as it was read. Raises lightkube.ApiError: 409, 404."""
    metadata = {"uid": meta.uid(obj), "resourceVersion": meta.metadata(obj).resourceVersion, **changes}
    await request(client, "PATCH", _path(obj, info), body={"metadata": metadata}, headers=MERGE_PATCH)


def _path(obj: Any, info: ResourceInfo | None) -> str:
    return (info or resource_info(type(obj))).path(meta.namespace(obj), meta.name(obj))


async def get(
    client: Client, resource: type[R], name: str, *, namespace: str | None = None, info: ResourceInfo | None = None
) -> R | None:
    """The object as the API server has it now; None when there is none. Raises lightkube.ApiError."""
    try:
        data = await request(client, "GET", (info or resource_info(resource)).path(namespace, name))
    except ApiError as error:
        if error.status.code == 404:
            return None
        raise
    return decoder(resource).decode(data)


async def list_page(
    client: Client,
    resource: type[R],
    *,
    namespace: str | None = None,
    params: dict[str, str] | None = None,
    info: ResourceInfo | None = None,
) -> tuple[list[R], str, str]:
    """One page of a list: objects, the list's resourceVersion, and the continue token (empty on the last page)."""
    data = await request(client, "GET", (info or resource_info(resource)).path(namespace), params=params)
    page = msgspec.json.decode(data, type=_Page)
    objects = [decoder(resource).decode(raw) for raw in page.items or []]
    return objects, page.metadata.resourceVersion, page.metadata.continue_


class _PageMeta(msgspec.Struct):
    resourceVersion: str = ""
    continue_: str = msgspec.field(name="continue", default="")


class _Page(msgspec.Struct):
    metadata: _PageMeta
    items: list[msgspec.Raw] | None = None


async def watch(
    client: Client,
    resource: type[R],
    *,
    resource_version: str,
    namespace: str | None = None,
    params: dict[str, str] | None = None,
    info: ResourceInfo | None = None,
) -> AsyncIterator[tuple[str, R]]:
    """Events (ADDED, MODIFIED, DELETED, BOOKMARK) after a resourceVersion, until the server ends the stream.

    Raises lightkube.ApiError (410: list again) and httpx2.HTTPError (broken or silent connection: watch again).
    """
    path = (info or resource_info(resource)).path(namespace)
    query = {**(params or {}), "watch": "true", "allowWatchBookmarks": "true", "resourceVersion": resource_version}
    timeout = httpx2.Timeout(REQUEST_TIMEOUT_SECONDS, read=WATCH_SILENCE_SECONDS)
    decode = decoder(resource).decode
    async with client.http.stream("GET", path, params=query, timeout=timeout) as response:
        if not response.is_success:
            await response.aread()
            raise_for_status(response)
        async for line in response.aiter_lines():
            if not line:
                continue
            event = _decode_event(line)
            if event.type == "ERROR":
                raise ApiError(status=msgspec.json.decode(event.object, type=Status))
            yield event.type, decode(event.object)
