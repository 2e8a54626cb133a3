"""Subresources: what hangs below an object's path. Each module is one of them.

Interface: `Subresources(api).handle(store, request)`. A kind has the subresources its row in the table says.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from api.errors import MethodNotAllowed, NotFound
from apiserver.request import Request
from apiserver.responses import Response, Stream
from apiserver.store import ObjectStore
from apiserver.subresources import binding, eviction, finalize, scale, status, token
from apiserver.subresources import log as pod_log

if TYPE_CHECKING:
    from apiserver.resources import ResourceApi

Handler = Callable[["ResourceApi", ObjectStore, Request], Awaitable[Response | Stream]]

_HANDLERS: dict[str, dict[str, Handler]] = {
    "status": {"get": status.get, "update": status.update, "patch": status.patch},
    "approval": {"get": status.get, "update": status.update_approval, "patch": status.patch_approval},
    "scale": {"get": scale.get, "update": scale.update, "patch": scale.patch},
    "binding": {"create": binding.create},
    "eviction": {"create": eviction.create},
    "finalize": {"update": finalize.update},
    "token": {"create": token.create},
    "log": {"get": pod_log.get},
}


class Subresources:
    """Finds the handler of a subresource and verb."""

    def __init__(self, api: ResourceApi) -> None:
        self._api = api

    async def handle(self, store: ObjectStore, request: Request) -> Response | Stream:
        info = request.info
        if info.subresource not in store.kind.subresources or info.tail:
            raise NotFound.path()
        handler = _HANDLERS[info.subresource].get(info.verb)
        if handler is None:
            raise MethodNotAllowed()
        return await handler(self._api, store, request)
