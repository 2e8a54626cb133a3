"""Writes several loops need, each compare-and-swap: the resourceVersion of the object read goes with it."""

from __future__ import annotations

from typing import Any, TypeVar

from lightkube import ApiError, AsyncClient
from lightkube.core.resource import Resource

from api import kinds, meta
from client import rest

R = TypeVar("R", bound=Resource)


async def put(client: AsyncClient, obj: R, subresource: str = "") -> R:
    """PUT the object, or one of its subresources (`status`, `approval`, `finalize`); returns what was stored.

    Raises lightkube.ApiError: 409 when the object changed since it was read, 404 when it has gone.
    """
    kind = kinds.by_resource(type(obj))
    obj.apiVersion, obj.kind = kind.api_version, kind.kind
    path = kind.path(meta.namespace(obj), meta.name(obj)) + (f"/{subresource}" if subresource else "")
    body: Any = obj
    answer: R = kind.decoder.decode(await rest.request(client, "PUT", path, body=body))  # type: ignore[assignment]
    return answer


async def get_live(client: AsyncClient, resource: type[R], *, namespace: str, name: str) -> R | None:
    """The object as the API server has it now, past every cache of ours; None when there is none."""
    kind = kinds.by_resource(resource)
    try:
        data = await rest.request(client, "GET", kind.path(namespace, name))
    except ApiError as error:
        if error.status.code == 404:
            return None
        raise
    found: R = kind.decoder.decode(data)  # type: ignore[assignment]
    return found


async def delete_quietly(
    client: AsyncClient, obj: Any, *, grace_seconds: int | None = None, propagation: str | None = None
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
