"""`pods/eviction`: a deletion that could be refused for the sake of a disruption budget; there are no budgets yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightkube.models.meta_v1 import DeleteOptions, Status
from lightkube.models.policy_v1 import Eviction

from api.errors import BadRequest
from apiserver import codec
from apiserver.request import Request
from apiserver.responses import Response
from apiserver.store import ObjectStore

if TYPE_CHECKING:
    from apiserver.resources import ResourceApi


async def create(api: ResourceApi, store: ObjectStore, request: Request) -> Response:
    decoded = api.decode(request, Eviction)
    eviction: Eviction = decoded.obj
    name = request.info.name
    given = eviction.metadata and eviction.metadata.name
    if given and given != name:
        raise BadRequest("name in URL does not match name in Eviction object")
    options = eviction.deleteOptions or DeleteOptions()
    dry_run = request.dry_run or bool(options.dryRun)
    await store.delete(api.namespace(store, request), name, options, dry_run=dry_run)
    success = Status(apiVersion="v1", kind="Status", status="Success", code=201)
    return Response(codec.encode(success), 201).warn(decoded.warnings)
