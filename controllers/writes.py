"""Writes several loops need, each compare-and-swap: the resourceVersion of the object read goes with it."""

from __future__ import annotations

from typing import Any, TypeVar

from lightkube import ApiError

from api import meta
from api.resource import decoder, resource_info
from client import rest
from client.config import Client

R = TypeVar("R")


async def put(client: Client, obj: R, subresource: str = "") -> R:
    """PUT the object, or one of its subresources (`status`, `approval`, `finalize`); returns what was stored.

    Raises lightkube.ApiError: 409 when the object changed since it was read, 404 when it has gone.
    """
    kind = resource_info(type(obj))
    body: Any = obj
    body.apiVersion, body.kind = kind.api_version, kind.kind
    path = kind.path(meta.namespace(obj), meta.name(obj), subresource)
    return decoder(type(obj)).decode(await rest.request(client, "PUT", path, body=body))


async def put_status(client: Client, obj: Any) -> None:
    """PUT the status; an object that has gone needs none. Raises lightkube.ApiError: 409 when it changed."""
    try:
        await put(client, obj, "status")
    except ApiError as error:
        if error.status.code != 404:
            raise


async def delete_quietly(
    client: Client, obj: Any, *, grace_seconds: int | None = None, propagation: str | None = None
) -> bool:
    """Delete exactly this object (by uid). False when it had gone or been replaced already."""
    try:
        await rest.delete(client, obj, grace_seconds=grace_seconds, propagation=propagation)
    except ApiError as error:
        if error.status.code in (404, 409):
            return False
        raise
    return True


def is_status(error: Exception, *codes: int) -> bool:
    """Whether the error is an API answer with one of these codes."""
    return isinstance(error, ApiError) and error.status.code in codes


def namespace_is_going(error: Exception) -> bool:
    """Whether a creation was refused because its namespace is being deleted: whoever wanted it goes too."""
    return is_status(error, 403) and "because it is being terminated" in str(error)
