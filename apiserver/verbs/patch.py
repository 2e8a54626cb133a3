"""PATCH: JSON patch, merge patch, strategic merge patch and server-side apply, by media type.

Interface: `handle(call)`. A patch is applied to the present object and written
against its version, again if another writer was quicker; only a patch that names a resourceVersion can conflict.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from lightkube.models.meta_v1 import StatusCause, StatusDetails

from api.errors import AlreadyExists, BadRequest, Conflict, Invalid, NotFound, UnsupportedMediaType, invalid, required
from apiserver import codec
from apiserver.http.request import truth
from apiserver.http.responses import Response
from apiserver.patch import managed_fields, typed
from apiserver.patch.json_patch import PatchConflict, PatchError, json_patch, merge_patch
from apiserver.patch.strategic import strategic_patch
from apiserver.registry.model import Documents
from apiserver.registry.store import Outcome, Stored
from apiserver.registry.write import Part
from apiserver.schema.node import Schema
from apiserver.verbs.call import Call

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

Patcher = Callable[[dict[str, Any]], Any]
"""From the present document to the wanted one."""


async def handle(call: Call, part: Part = Part.OBJECT) -> Response:
    """The patched object, with warnings about unknown and duplicate fields."""
    warnings: list[str] = []
    if call.request.media_type == APPLY_PATCH:
        outcome = await _server_side_apply(call, part, warnings)
    else:
        patch = codec.read_document(call.request.body, call.request.media_type)
        patcher = patcher_for(call.request.media_type, patch.value, _schema(call))

        def change(old: Any, current: Stored) -> Any:
            document = patcher(codec.to_document(call.kind.shown(current.value)))
            _check_identity(document, current, call)
            return _wanted(call, codec.Document(document, patch.duplicates), warnings)

        outcome = await call.store.update(call.write(part=part), change)
    return call.written(outcome, warnings)


def _schema(call: Call) -> Schema | None:
    """What strategic merge patches go by; kinds whose schema is data do not have them."""
    return None if isinstance(call.kind.model, Documents) else call.kind.model.schema


def _wanted(call: Call, document: codec.Document, warnings: list[str]) -> Any:
    decoded = call.kind.read(document, call.request.field_validation)
    warnings[:] = decoded.warnings
    return decoded.obj


async def _server_side_apply(call: Call, part: Part, warnings: list[str]) -> Outcome:
    """Create the object or merge the configuration into it; as often as another writer is quicker."""
    patch = codec.read_document(call.request.body, codec.YAML)
    config = _configuration(call, patch.value)

    def wanted(live: dict[str, Any]) -> Any:
        return _wanted(call, codec.Document(_applied(live, config, call, part), patch.duplicates), warnings)

    def change(old: Any, current: Stored) -> Any:
        version = config.get("metadata", {}).get("resourceVersion")
        if version and version != str(current.version):
            raise call.store.conflict(call.name)
        return wanted(codec.to_document(call.kind.shown(current.value)))

    while True:
        try:
            return await call.store.update(call.write(part=part, applying=True), change)
        except NotFound:
            if part is not Part.OBJECT:
                raise
        try:
            return await call.store.create(call.write(applying=True), wanted({}))
        except AlreadyExists:
            continue


def _configuration(call: Call, config: Any) -> dict[str, Any]:
    """The checked configuration, in the form in which it is stored. Raises BadRequest."""
    if not call.request.query.get("fieldManager"):
        raise Invalid.of(
            kind="PatchOptions",
            group="meta.k8s.io",
            name="",
            errors=[required("fieldManager", "is required for apply patch")],
        )
    if not isinstance(config, dict) or not isinstance(config.get("metadata", {}), dict):
        raise BadRequest("error decoding YAML: an apply configuration is an object")
    if (config.get("apiVersion"), config.get("kind")) != (call.kind.api_version, call.kind.kind):
        raise BadRequest("invalid object type: an apply configuration must name its apiVersion and kind")
    metadata = config.setdefault("metadata", {})
    if metadata.get("managedFields"):
        raise BadRequest("metadata.managedFields must be nil")
    if metadata.setdefault("name", call.name) != call.name:
        raise BadRequest(
            f"the name of the object ({metadata['name']}) does not match the name on the URL ({call.name})"
        )
    if call.kind.namespaced and metadata.setdefault("namespace", call.namespace) != call.namespace:
        raise BadRequest("the namespace of the provided object does not match the namespace sent on the request")
    schema = call.kind.model.schema
    codec.normalise(config, schema, "", codec.Problems())  # what is wrong is found in the whole object
    try:
        typed.check(config, schema)
    except typed.Untypable as error:
        place = f"{metadata.get('namespace', '')}/{call.name}; {call.kind.api_version}, Kind={call.kind.kind}"
        raise BadRequest(f"failed to create typed patch object ({place}): {error}") from None
    return config


def _applied(live: dict[str, Any], config: dict[str, Any], call: Call, part: Part) -> dict[str, Any]:
    # What the configuration says of its own version was checked; the object's is the live one's.
    config = copy.deepcopy(config)  # parts of it become parts of the object, at each attempt
    config["metadata"].pop("resourceVersion", None)
    writer, force = call.write(part=part).writer(), truth(call.request.query.get("force"))
    try:
        return managed_fields.applied(live, config, call.kind.model.schema, writer, force=force)
    except managed_fields.ApplyConflict as conflict:
        causes = [
            StatusCause(reason="FieldManagerConflict", message=f"conflict with {other}", field=path)
            for other, path in conflict.fields
        ]
        raise Conflict(conflict.message, details=StatusDetails(causes=causes)) from None


def patcher_for(media_type: str, patch: Any, schema: Schema | None) -> Patcher:
    """Raises BadRequest for a patch of the wrong form, UnsupportedMediaType for one of another kind.

    The patcher raises BadRequest for a patch that means nothing, Invalid for one that does not fit its document.
    """
    change = _change(media_type, patch, schema)

    def patcher(document: dict[str, Any]) -> Any:
        try:
            return change(document)
        except PatchError as error:
            raise BadRequest(f"error decoding patch: {error}") from None
        except PatchConflict as error:
            raise Invalid(f"the server rejected our request due to an error in our request: {error}") from None

    return patcher


def _change(media_type: str, patch: Any, schema: Schema | None) -> Patcher:
    if media_type == JSON_PATCH:
        return lambda document: json_patch(document, patch)
    if media_type != MERGE_PATCH and (media_type != STRATEGIC_PATCH or schema is None):
        raise _unsupported(media_type)
    if not isinstance(patch, dict):
        raise BadRequest("error decoding patch: a merge patch is an object")
    if schema is None or media_type == MERGE_PATCH:
        return lambda document: merge_patch(document, patch)
    return lambda document: strategic_patch(document, patch, schema)


def _unsupported(media_type: str) -> UnsupportedMediaType:
    return UnsupportedMediaType(
        "the body of the request was in an unknown format - accepted media types include: "
        f"{', '.join((JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, APPLY_PATCH))}, got {media_type or 'none'}"
    )


def _check_identity(document: Any, current: Stored, call: Call) -> None:
    """A patch may not rename, and may say which version it is meant for."""
    metadata = document.get("metadata") if isinstance(document, dict) else None
    if not isinstance(metadata, dict):
        return
    version = metadata.get("resourceVersion")
    if version and version != str(current.version):
        raise call.store.conflict(call.name)
    if metadata.get("name") != call.name:
        errors = [invalid("metadata.name", metadata.get("name"), "field is immutable")]
        raise Invalid.of(kind=call.kind.kind, group=call.kind.group, name=call.name, errors=errors)
