"""PUT: an object replaced as a whole, at the version it names; for some kinds also created."""

from __future__ import annotations

from typing import Any

from api.errors import BadRequest, NotFound
from apiserver.http.responses import Response
from apiserver.registry.store import Stored
from apiserver.registry.write import Part
from apiserver.verbs.call import Call


async def handle(call: Call, part: Part = Part.OBJECT) -> Response:
    decoded = call.read()
    obj, store = decoded.obj, call.store
    check_name(call, obj)
    version = obj.metadata.resourceVersion
    body = store.kind.model.encode(obj)

    def replace(old: Any, current: Stored) -> Any:
        if version and version != str(current.version):
            raise store.conflict(call.name)
        return store.kind.model.decode(body)

    try:
        outcome = await store.update(call.write(part=part), replace)
    except NotFound:
        if not call.kind.create_on_update or part is not Part.OBJECT or version:
            raise
        outcome = await store.create(call.write(), obj)
    return call.written(outcome, decoded.warnings)


def check_name(call: Call, obj: Any) -> None:
    """The body must name what the path names."""
    metadata, name = obj.metadata, call.name
    given = metadata.name if metadata else None
    if not given:
        raise BadRequest(
            "name must be provided" if given is None else f"the name of the object is empty, expected {name}"
        )
    if given != name:
        raise BadRequest(f"the name of the object ({given}) does not match the name on the URL ({name})")
    if metadata.namespace and metadata.namespace != call.namespace and call.kind.namespaced:
        was = metadata.namespace
        raise BadRequest(
            f"the namespace of the object ({was}) does not match the namespace on the URL ({call.namespace})"
        )
