"""`namespaces/finalize`: the namespace controller says that a namespace is empty by removing its spec.finalizers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightkube.models.core_v1 import NamespaceSpec

from api.errors import Conflict
from apiserver.request import Request
from apiserver.responses import Response
from apiserver.storage.base import Record
from apiserver.storage.cache import Entry
from apiserver.store import ObjectStore, Part

if TYPE_CHECKING:
    from apiserver.resources import ResourceApi


async def update(api: ResourceApi, store: ObjectStore, request: Request) -> Response:
    decoded = api.decode(request, store.kind.resource)
    sent = decoded.obj
    version = sent.metadata.resourceVersion if sent.metadata else None

    def change(old: Any, current: Entry | Record) -> Any:
        if version and version != str(current.version):
            raise Conflict.of(qualified=store.kind.qualified, name=request.info.name)
        old.spec = NamespaceSpec(finalizers=(sent.spec and sent.spec.finalizers) or None)
        return old

    outcome = await store.update("", request.info.name, change, part=Part.INTERNAL, dry_run=request.dry_run)
    return api.written(store, request, outcome, decoded.warnings)
