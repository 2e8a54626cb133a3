"""OpenAPI documents of what is served, made from Kubernetes' definitions: `kubectl explain`, `diff`, validation.

Interface: `group_document(registry, group, version)` in v3, `whole_document(registry)` in v2. Documents are made on
first use and kept as bytes, as long as the same kinds are served. Names of schemas and the extensions
x-kubernetes-group-version-kind and x-kubernetes-patch-* are what kubectl reads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from api.version import KUBERNETES_VERSION
from apiserver import codec
from apiserver.openapi import paths, v2_protobuf
from apiserver.openapi.paths import META, PREFIX
from apiserver.registry.kind import Kind
from apiserver.registry.model import Documents
from apiserver.registry.registry import Registry
from apiserver.schema import node

_INFO = {"title": "Kubernetes", "version": KUBERNETES_VERSION}
_SECURITY = {"type": "apiKey", "name": "authorization", "in": "header", "description": "Bearer Token authentication"}


@dataclass(frozen=True)
class Published:
    """A document and the name that its content gives it."""

    body: bytes
    digest: str
    media_type: str = codec.JSON

    @classmethod
    def of(cls, document: dict[str, Any], media_type: str = codec.JSON) -> Published:
        body = codec.encode(document) if media_type == codec.JSON else v2_protobuf.encode(document)
        return cls(body, hashlib.sha256(body).hexdigest().upper(), media_type)


def group_document(registry: Registry, group: str, version: str) -> Published:
    return _group_document(tuple(registry.kinds(group, version)))


def whole_document(registry: Registry, media_type: str = codec.JSON) -> Published:
    """In JSON, or in `v2_protobuf.MEDIA_TYPE`."""
    return _whole_document(tuple(kind for pair in registry.versions() for kind in registry.kinds(*pair)), media_type)


@lru_cache(maxsize=256)
def _group_document(kinds: tuple[Kind, ...]) -> Published:
    operations, schemas = _parts(kinds)
    components = {"schemas": schemas, "securitySchemes": {"BearerToken": _SECURITY}}
    return Published.of({"openapi": "3.0.0", "info": _INFO, "paths": operations, "components": components})


@lru_cache(maxsize=2)
def _whole_document(kinds: tuple[Kind, ...], media_type: str) -> Published:
    operations, schemas = _parts(kinds)
    document = {
        "swagger": "2.0", "info": _INFO, "paths": {path: _path_v2(each) for path, each in operations.items()},
        "definitions": _v2(schemas), "securityDefinitions": {"BearerToken": _SECURITY},
        "security": [{"BearerToken": []}],
    }  # fmt: skip
    return Published.of(document, media_type)


# --- v3 ---------------------------------------------------------------------------------------------------------


def _parts(kinds: Iterable[Kind]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Paths, and the definitions that they and each other refer to."""
    operations: dict[str, Any] = {}
    schemas: dict[str, Any] = {}
    for kind in kinds:
        operations |= paths.of_kind(kind)
        if isinstance(kind.objects, Documents):
            _add_custom(kind, kind.objects.definition, schemas)
    for name in sorted(_references(operations)):
        _add_definition(name, schemas)
    return operations, schemas


def _references(value: Any) -> set[str]:
    """The definitions that something refers to."""
    found: set[str] = set()
    left = [value]
    while left:
        each = left.pop()
        if isinstance(each, dict):
            if isinstance(each.get("$ref"), str):
                found.add(each["$ref"].removeprefix(PREFIX))
            left += each.values()
        elif isinstance(each, list):
            left += each
    return found


def _add_custom(kind: Kind, definition: dict[str, Any], schemas: dict[str, Any]) -> None:
    """A kind whose schema is data: with the members of every object, and its list."""
    _add_definition(f"{META}.ObjectMeta", schemas)
    _add_definition(f"{META}.ListMeta", schemas)
    name, text = paths.schema_name(kind), {"type": "string"}
    head = {"apiVersion": text, "kind": text, "metadata": {"$ref": f"{PREFIX}{META}.ObjectMeta"}}
    gvk = {"group": kind.group, "version": kind.version, "kind": kind.kind}
    schemas[name] = {
        **definition,
        "properties": definition.get("properties", {}) | head,
        "x-kubernetes-group-version-kind": [gvk],
    }
    items = {"type": "array", "items": {"$ref": PREFIX + name}}
    schemas[paths.list_name(kind)] = {
        "type": "object",
        "required": ["items"],
        "properties": head | {"items": items, "metadata": {"$ref": f"{PREFIX}{META}.ListMeta"}},
        "x-kubernetes-group-version-kind": [gvk | {"kind": f"{kind.kind}List"}],
    }


def _add_definition(name: str, schemas: dict[str, Any]) -> None:
    """A definition as it is published, with its words and with all that it refers to."""
    if name in schemas:
        return
    words = node.descriptions(name)
    schemas[name] = schema = node.raw(name)
    if words.get(""):
        schema["description"] = words[""]
    for key, inner in schema.get("properties", {}).items():
        schema["properties"][key] = _linked(inner, schemas)
        if description := words.get(key):
            # Beside a $ref nothing else is read, so a described reference is wrapped, as Kubernetes does.
            if "$ref" in inner:
                schema["properties"][key] = {"allOf": [{"$ref": inner.pop("$ref")}], **inner}
            schema["properties"][key]["description"] = description


def _linked(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        _add_definition(schema["$ref"], schemas)
        schema["$ref"] = PREFIX + schema["$ref"]
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            schema[key] = _linked(schema[key], schemas)
    return schema


# --- v2, from v3 ------------------------------------------------------------------------------------------------


def _v2(value: Any) -> Any:
    """Schemas with the references of v2, beside which descriptions may stand."""
    if isinstance(value, list):
        return [_v2(each) for each in value]
    if not isinstance(value, dict):
        return value
    if isinstance(value.get("$ref"), str):
        return {**value, "$ref": value["$ref"].replace(PREFIX, "#/definitions/")}
    if "allOf" in value and isinstance(value["allOf"], list):
        rest = {key: inner for key, inner in value.items() if key != "allOf"}
        return {**rest, **_v2(value["allOf"][0])}
    if isinstance(value.get("oneOf"), list):  # text or a number: v2 has one type
        rest = {key: inner for key, inner in value.items() if key != "oneOf"}
        return {**rest, "type": "string"}
    return {key: _v2(inner) for key, inner in value.items()}


def _path_v2(operations: dict[str, Any]) -> dict[str, Any]:
    result = {method: _operation_v2(each) for method, each in operations.items() if method != "parameters"}
    return result | {"parameters": [_parameter_v2(each) for each in operations["parameters"]]}


def _operation_v2(operation: dict[str, Any]) -> dict[str, Any]:
    operation = dict(operation)
    parameters = [_parameter_v2(each) for each in operation.pop("parameters", ())]
    body = operation.pop("requestBody", None)
    if body is not None:
        media = body["content"]
        schema = {} if len(media) > 2 else next(iter(media.values()))["schema"]  # a patch has a form for each type
        parameters.append({"name": "body", "in": "body", "required": body["required"], "schema": _v2(schema)})
        operation["consumes"] = list(media)
    responses = {}
    for status, answer in operation["responses"].items():
        forms = answer["content"]
        responses[status] = {
            "description": answer["description"],
            "schema": _v2(next(iter(forms.values()))["schema"]),
        }
        if status == "200":
            operation["produces"] = list(forms)
    return operation | {"parameters": parameters, "responses": responses}


def _parameter_v2(parameter: dict[str, Any]) -> dict[str, Any]:
    return {**{key: value for key, value in parameter.items() if key != "schema"}, **parameter["schema"]}
