"""`serviceaccounts/token`: a signed token for a service account, if the server has a signing key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.errors import NotFound
from apiserver.request import Request
from apiserver.responses import Response
from apiserver.store import ObjectStore

if TYPE_CHECKING:
    from apiserver.resources import ResourceApi


async def get(api: ResourceApi, store: ObjectStore, request: Request) -> Response:
    await api.read(store, request)
    raise NotFound.path()
