"""From a request to the verb that answers it: by what the registry serves at this moment."""

from __future__ import annotations

from typing import Any

from api.errors import MethodNotAllowed, NotFound
from apiserver.backend import Backend
from apiserver.http.request import Request, RequestInfo, truth
from apiserver.registry.kind import Handler, Kind
from apiserver.verbs import computed, create, delete, deletecollection, get, patch, update, watch
from apiserver.verbs import list as lists
from apiserver.verbs.call import Call

_OF_COLLECTIONS: dict[str, Handler] = {
    "list": lists.handle,
    "watch": watch.handle,
    "create": create.handle,
    "deletecollection": deletecollection.handle,
}
_OF_OBJECTS: dict[str, Handler] = {
    "get": get.handle,
    "update": update.handle,
    "patch": patch.handle,
    "delete": delete.handle,
}

_OF_COMPUTED: dict[str, Handler] = {"get": computed.get, "list": computed.list_all}

_NAMES = {"create": False, "update": True, "patch": True}
"""Whether the path of a verb names an object."""


async def handle(backend: Backend, request: Request) -> Any:
    """A Response, Stream or Tunnel. Raises ApiStatusError and storage errors; the gateway turns them into Status."""
    info = request.info
    kind = backend.registry.find(info.group, info.version, info.resource)
    if kind is None:
        raise NotFound.path()
    return await handler_of(kind, request)(Call(backend, kind, request))


def handler_of(kind: Kind, request: Request) -> Handler:
    """Raises NotFound for paths that the kind does not have, MethodNotAllowed for verbs."""
    info = request.info
    collection = info.verb in _OF_COLLECTIONS and not info.subresource
    if info.scoped if not kind.namespaced else not (info.namespace or collection):
        raise NotFound.path()
    if info.subresource:
        found = kind.below.get(info.subresource)
        if found is None or (info.tail and not found.tail):
            raise NotFound.path()
        handler = found.handlers.get(info.verb)
    elif info.verb not in kind.verbs:
        handler = None
    elif kind.compute:
        handler = _OF_COMPUTED[info.verb]
    elif collection:
        anywhere = info.verb in ("list", "watch") or not kind.namespaced
        handler = _OF_COLLECTIONS[info.verb] if anywhere or info.namespace else None
    else:
        watching = info.verb == "get" and truth(request.query.get("watch"))
        handler = watch.handle if watching else _OF_OBJECTS.get(info.verb)
    if handler is None or _misplaced(info):
        raise MethodNotAllowed()
    return handler


def _misplaced(info: RequestInfo) -> bool:
    """A create below a name, an update of a collection."""
    return not info.subresource and info.verb in _NAMES and _NAMES[info.verb] is not bool(info.name)
