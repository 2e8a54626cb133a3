"""`scale`: the number of replicas of a workload, in one shape for all kinds that have one (autoscaling/v1 Scale)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightkube.models.autoscaling_v1 import Scale, ScaleSpec, ScaleStatus
from lightkube.models.meta_v1 import ObjectMeta

from api.errors import BadRequest, Conflict, Invalid, invalid
from api.selectors import from_label_selector
from apiserver import codec
from apiserver.patch import patcher_for
from apiserver.request import Request, negotiate
from apiserver.responses import Response, as_yaml
from apiserver.storage.base import Record
from apiserver.storage.cache import Entry
from apiserver.store import ObjectStore

if TYPE_CHECKING:
    from apiserver.resources import ResourceApi


def scale_of(obj: Any) -> Scale:
    """The Scale of a Deployment or ReplicaSet."""
    metadata = obj.metadata
    selector = str(from_label_selector(obj.spec.selector)) if obj.spec.selector else None
    return Scale(
        metadata=ObjectMeta(
            name=metadata.name,
            namespace=metadata.namespace,
            uid=metadata.uid,
            resourceVersion=metadata.resourceVersion,
            creationTimestamp=metadata.creationTimestamp,
        ),
        spec=ScaleSpec(replicas=obj.spec.replicas or 0),
        status=ScaleStatus(replicas=(obj.status and obj.status.replicas) or 0, selector=selector),
    )


def _set_replicas(obj: Any, scale: Scale, current: Entry | Record, store: ObjectStore) -> Any:
    metadata, replicas = scale.metadata, (scale.spec and scale.spec.replicas) or 0
    if metadata and metadata.resourceVersion and metadata.resourceVersion != str(current.version):
        raise Conflict.of(qualified=store.kind.qualified, name=obj.metadata.name)
    if replicas < 0:
        errors = [invalid("spec.replicas", replicas, "must be greater than or equal to 0")]
        raise Invalid.of(kind="Scale", group="autoscaling", name=obj.metadata.name, errors=errors)
    obj.spec.replicas = replicas
    return obj


def _answer(store: ObjectStore, request: Request, value: bytes) -> Response:
    body = codec.encode(scale_of(store.decode(value)))
    form = negotiate(request.accept)
    return Response(body) if form.media_type == codec.JSON else Response(as_yaml(body), 200, codec.YAML)


async def get(api: ResourceApi, store: ObjectStore, request: Request) -> Response:
    return _answer(store, request, await api.read(store, request))


async def update(api: ResourceApi, store: ObjectStore, request: Request) -> Response:
    decoded = api.decode(request, Scale)
    scale: Scale = decoded.obj
    if scale.metadata and scale.metadata.name and scale.metadata.name != request.info.name:
        raise BadRequest(
            f"the name of the object ({scale.metadata.name}) does not match the name on the URL ({request.info.name})"
        )
    outcome = await store.update(
        api.namespace(store, request),
        request.info.name,
        lambda obj, current: _set_replicas(obj, scale, current, store),
        dry_run=request.dry_run,
    )
    return _answer(store, request, outcome.value).warn(decoded.warnings)


async def patch(api: ResourceApi, store: ObjectStore, request: Request) -> Response:
    body = codec.read_document(request.body, request.media_type)
    patcher = patcher_for(request.media_type, body.value, Scale)
    warnings: list[str] = []

    def change(obj: Any, current: Entry | Record) -> Any:
        document = patcher(codec.to_document(codec.encode(scale_of(obj))))
        decoded = codec.decode(codec.Document(document), Scale, validation=request.field_validation)
        warnings[:] = decoded.warnings
        return _set_replicas(obj, decoded.obj, current, store)

    outcome = await store.update(api.namespace(store, request), request.info.name, change, dry_run=request.dry_run)
    return _answer(store, request, outcome.value).warn(warnings)
