"""PATCH: JSON patch, merge patch, strategic merge patch and server-side apply, by media type.

Interface: `await apply(store, request, namespace, part=...)`. A patch is applied to the present object and written
against its version, again if another writer was quicker; only a patch that names a resourceVersion can conflict.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lightkube.models.meta_v1 import StatusCause, StatusDetails

from api import meta
from api.errors import AlreadyExists, BadRequest, Conflict, Invalid, NotFound, UnsupportedMediaType, invalid, required
from apiserver import codec, server_side_apply
from apiserver.json_patch import PatchConflict, PatchError, json_patch, merge_patch
from apiserver.request import Request, truth
from apiserver.storage.base import Record
from apiserver.storage.cache import Entry
from apiserver.store import ObjectStore, Outcome, Part
from apiserver.strategic_patch import strategic_patch

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

Patcher = Callable[[dict[str, Any]], Any]
"""From the present document to the wanted one."""


async def apply(
    store: ObjectStore, request: Request, namespace: str, *, part: Part = Part.OBJECT
) -> tuple[Outcome, list[str]]:
    """The outcome, and warnings about unknown and duplicate fields."""
    if request.media_type == APPLY_PATCH:
        return await _server_side_apply(store, request, namespace, part=part)
    patch = codec.read_document(request.body, request.media_type)
    patcher = patcher_for(request.media_type, patch.value, store.kind.resource)
    warnings: list[str] = []

    def change(old: Any, current: Entry | Record) -> Any:
        document = _patched(patcher, current, store, request)
        _check_identity(document, current, store, request)
        decoded = codec.decode(
            codec.Document(document, patch.duplicates), store.kind.resource, validation=request.field_validation
        )
        warnings[:] = decoded.warnings
        return decoded.obj

    outcome = await store.update(namespace, request.info.name, change, part=part, dry_run=request.dry_run)
    return outcome, warnings


async def _server_side_apply(
    store: ObjectStore, request: Request, namespace: str, *, part: Part
) -> tuple[Outcome, list[str]]:
    """Create the object or merge the configuration into it; as often as another writer is quicker."""
    patch = codec.read_document(request.body, codec.YAML)
    config, manager = _configuration(store, request, namespace, patch.value)
    warnings: list[str] = []

    def wanted(live: dict[str, Any]) -> Any:
        document = _applied(live, config, store, request, manager)
        decoded = codec.decode(
            codec.Document(document, patch.duplicates), store.kind.resource, validation=request.field_validation
        )
        warnings[:] = decoded.warnings
        return decoded.obj

    def change(old: Any, current: Entry | Record) -> Any:
        version = config.get("metadata", {}).get("resourceVersion")
        if version and version != str(current.version):
            raise Conflict.of(qualified=store.kind.qualified, name=request.info.name)
        return wanted(codec.to_document(current.value))

    while True:
        try:
            outcome = await store.update(
                namespace, request.info.name, change, part=part, dry_run=request.dry_run, applying=True
            )
            return outcome, warnings
        except NotFound:
            if part is not Part.OBJECT:
                raise
        try:
            obj = wanted({})
            outcome = await store.create(obj, namespace=namespace, dry_run=request.dry_run, applying=True)
            return outcome, warnings
        except AlreadyExists:
            continue


def _configuration(store: ObjectStore, request: Request, namespace: str, config: Any) -> tuple[dict[str, Any], str]:
    """The checked configuration and its manager. Raises BadRequest."""
    manager = request.query.get("fieldManager")
    if not manager:
        raise Invalid.of(
            kind="PatchOptions",
            group="meta.k8s.io",
            name="",
            errors=[required("fieldManager", "is required for apply patch")],
        )
    if not isinstance(config, dict) or not isinstance(config.get("metadata", {}), dict):
        raise BadRequest("error decoding YAML: an apply configuration is an object")
    if (config.get("apiVersion"), config.get("kind")) != (store.kind.api_version, store.kind.kind):
        raise BadRequest("invalid object type: an apply configuration must name its apiVersion and kind")
    metadata = config.setdefault("metadata", {})
    if metadata.get("managedFields"):
        raise BadRequest("metadata.managedFields must be nil")
    if metadata.setdefault("name", request.info.name) != request.info.name:
        raise BadRequest(
            f"the name of the object ({metadata['name']}) does not match the name on the URL ({request.info.name})"
        )
    if store.kind.namespaced and metadata.setdefault("namespace", namespace) != namespace:
        raise BadRequest("the namespace of the provided object does not match the namespace sent on the request")
    return config, manager


def _applied(
    live: dict[str, Any], config: dict[str, Any], store: ObjectStore, request: Request, manager: str
) -> dict[str, Any]:
    cls: type = store.kind.resource
    try:
        return server_side_apply.apply(
            live,
            {**config, "metadata": {**config["metadata"], "resourceVersion": None}},
            codec.shape_of(cls),
            manager=manager,
            api_version=store.kind.api_version,
            now=meta.now().isoformat().replace("+00:00", "Z"),
            force=truth(request.query.get("force")),
        )
    except server_side_apply.ApplyConflict as conflict:
        causes = [
            StatusCause(reason="FieldManagerConflict", message=f'conflict with "{other}"', field=path)
            for other, path in conflict.fields
        ]
        raise Conflict(conflict.message, details=StatusDetails(causes=causes)) from None


def patcher_for(media_type: str, patch: Any, cls: type) -> Patcher:
    """Raises BadRequest for a patch of the wrong form, UnsupportedMediaType for one of another kind."""
    if media_type == JSON_PATCH:
        return lambda document: json_patch(document, patch)
    if media_type not in (MERGE_PATCH, STRATEGIC_PATCH):
        raise _unsupported(media_type)
    if not isinstance(patch, dict):
        raise BadRequest("error decoding patch: a merge patch is an object")
    if media_type == MERGE_PATCH:
        return lambda document: merge_patch(document, patch)
    shape = codec.shape_of(cls)
    return lambda document: strategic_patch(document, patch, shape)


def _unsupported(media_type: str) -> UnsupportedMediaType:
    return UnsupportedMediaType(
        "the body of the request was in an unknown format - accepted media types include: "
        f"{', '.join((JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, APPLY_PATCH))}, got {media_type or 'none'}"
    )


def _patched(patcher: Patcher, current: Entry | Record, store: ObjectStore, request: Request) -> Any:
    try:
        return patcher(codec.to_document(current.value))
    except PatchError as error:
        raise BadRequest(f"error decoding patch: {error}") from None
    except PatchConflict as error:
        message = f"the server rejected our request due to an error in our request: {error}"
        raise Invalid(message) from None


def _check_identity(document: Any, current: Entry | Record, store: ObjectStore, request: Request) -> None:
    """A patch may not rename, and may say which version it is meant for."""
    metadata = document.get("metadata") if isinstance(document, dict) else None
    if not isinstance(metadata, dict):
        return
    version = metadata.get("resourceVersion")
    if version and version != str(current.version):
        raise Conflict.of(qualified=store.kind.qualified, name=request.info.name)
    if metadata.get("name") != request.info.name:
        errors = [invalid("metadata.name", metadata.get("name"), "field is immutable")]
        raise Invalid.of(kind=store.kind.kind, group=store.kind.group, name=request.info.name, errors=errors)
