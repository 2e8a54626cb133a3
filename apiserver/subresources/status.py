"""`status`, and `approval` of certificate signing requests: writes that leave the spec alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apiserver.request import Request
from apiserver.responses import Response
from apiserver.store import ObjectStore, Part

if TYPE_CHECKING:
    from apiserver.resources import ResourceApi


async def get(api: ResourceApi, store: ObjectStore, request: Request) -> Response:
    return await api.get(store, request)


async def update(api: ResourceApi, store: ObjectStore, request: Request) -> Response:
    return await api.update(store, request, part=Part.STATUS)


async def patch(api: ResourceApi, store: ObjectStore, request: Request) -> Response:
    return await api.patch(store, request, part=Part.STATUS)


# Kubernetes lets approval write only the conditions Approved and Denied, and status everything else. Who may do
# either is decided by authorization, which sees the subresource's name; the write itself is the same.
update_approval = update
patch_approval = patch
