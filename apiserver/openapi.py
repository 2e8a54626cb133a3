"""OpenAPI v3 of what is served, made from Kubernetes' definitions: for `kubectl explain`, `diff` and validation.

Interface: `add_routes(app)`, `group_document(group, version)`. Documents are made on first use and kept as bytes.
Kubernetes: https://kubernetes.io/docs/concepts/overview/kubernetes-api/#openapi-v3. Names of schemas, the extensions
x-kubernetes-group-version-kind and x-kubernetes-patch-*, and the query parameters on writes are what kubectl reads.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any

from fastapi import FastAPI
from fastapi import Request as HttpRequest
from fastapi import Response as HttpResponse

from api.errors import NotFound
from api.version import KUBERNETES_VERSION
from apiserver import codec
from apiserver.http.responses import error_response
from apiserver.registry.kind import Kind
from apiserver.registry.model import Documents
from apiserver.registry.registry import Registry
from apiserver.schema import node

_PREFIX = "#/components/schemas/"
_QUERY = {"dryRun": "string", "fieldManager": "string", "fieldValidation": "string"}


def add_routes(app: FastAPI, registry: Registry) -> None:
    """The index and the documents. There is no v2: every kubectl that validates on the server reads v3."""

    @app.get("/openapi/v3")
    async def index() -> HttpResponse:
        paths = {
            _root(group, version): {
                "serverRelativeURL": f"/openapi/v3/{_root(group, version)}?hash={_hash(registry, group, version)}"
            }
            for group, version in registry.versions()
        }
        return HttpResponse(codec.encode({"paths": paths}), media_type=codec.JSON)

    @app.get("/openapi/v3/{root:path}")
    async def document(request: HttpRequest, root: str) -> HttpResponse:
        for group, version in registry.versions():
            if root == _root(group, version):
                return HttpResponse(group_document(registry, group, version), media_type=codec.JSON)
        answer = error_response(NotFound.path())
        return HttpResponse(answer.body, answer.status, media_type=answer.media_type)


def _root(group: str, version: str) -> str:
    return f"apis/{group}/{version}" if group else f"api/{version}"


def _hash(registry: Registry, group: str, version: str) -> str:
    return hashlib.sha256(group_document(registry, group, version)).hexdigest().upper()


def group_document(registry: Registry, group: str, version: str) -> bytes:
    """The OpenAPI v3 document of one group version, as JSON."""
    return _document(group, version, tuple(registry.kinds(group, version)))


@lru_cache(maxsize=256)
def _document(group: str, version: str, kinds: tuple[Kind, ...]) -> bytes:
    schemas: dict[str, Any] = {}
    paths: dict[str, Any] = {}
    for kind in kinds:
        name = kind_schema(kind)
        if isinstance(kind.objects, Documents):
            schemas[name] = {**kind.objects.definition}
        else:
            _add_definition(name, schemas)
        schemas[name]["x-kubernetes-group-version-kind"] = [_gvk(kind)]
        paths |= _paths(kind)
    info = {"title": "Kubernetes", "version": KUBERNETES_VERSION}
    return codec.encode({"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": schemas}})


def _gvk(kind: Kind) -> dict[str, str]:
    return {"group": kind.group, "version": kind.version, "kind": kind.kind}


# --- paths ------------------------------------------------------------------------------------------------------


def _paths(kind: Kind) -> dict[str, Any]:
    namespace = "{namespace}" if kind.namespaced else None
    collection, item = kind.path(namespace), kind.path(namespace, "{name}")
    paths: dict[str, dict[str, Any]] = {
        collection: {
            "get": _operation(kind, "list"),
            "post": _operation(kind, "post", body=True, written=True),
            "delete": _operation(kind, "deletecollection", written=True),
        },
        item: {
            "get": _operation(kind, "get"),
            "put": _operation(kind, "put", body=True, written=True),
            "patch": _operation(kind, "patch", written=True),
            "delete": _operation(kind, "delete", written=True),
        },
    }
    if kind.namespaced:
        paths[kind.path()] = {"get": _operation(kind, "list")}
    for path, operations in paths.items():
        names = [name for name in ("namespace", "name") if "{" + name + "}" in path]
        operations["parameters"] = [_parameter(name, "path", required=True) for name in names]
    return paths


def _operation(kind: Kind, action: str, *, body: bool = False, written: bool = False) -> dict[str, Any]:
    schema = {"$ref": _PREFIX + kind_schema(kind)}
    content = {codec.JSON: {"schema": schema}}
    operation: dict[str, Any] = {
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": _gvk(kind),
        "responses": {"200": {"description": "OK", "content": content}},
    }
    if body:
        operation["requestBody"] = {"content": content, "required": True}
    if written:
        operation["parameters"] = [_parameter(name, "query") for name in _QUERY]
    return operation


def _parameter(name: str, where: str, *, required: bool = False) -> dict[str, Any]:
    parameter: dict[str, Any] = {"name": name, "in": where, "schema": {"type": "string", "uniqueItems": True}}
    return parameter | ({"required": True} if required else {})


# --- schemas ----------------------------------------------------------------------------------------------------


def kind_schema(kind: Kind) -> str:
    """The name of a kind's schema; of custom ones the group reversed, as in Kubernetes: dev.minik.v1.Widget."""
    if isinstance(kind.objects, Documents):
        return ".".join([*reversed(kind.group.split(".")), kind.version, kind.kind])
    return schema_name(kind.objects)


def schema_name(cls: type) -> str:
    """Kubernetes' name of a type: io.k8s.api.core.v1.PodSpec."""
    return node.name_of_class(cls)


def _add_definition(name: str, schemas: dict[str, Any]) -> None:
    """A definition as it is published, with its words and with all that it refers to."""
    if name in schemas:
        return
    words = node.descriptions().get(name, {})
    schemas[name] = schema = node.raw(name)
    if words.get(""):
        schema["description"] = words[""]
    for key, inner in schema.get("properties", {}).items():
        schema["properties"][key] = _linked(inner, schemas)
        if description := words.get(key):
            # Beside a $ref nothing else is read, so a described reference is wrapped, as Kubernetes does.
            if "$ref" in inner:
                schema["properties"][key] = {"allOf": [{"$ref": inner.pop("$ref")}], "default": {}, **inner}
            schema["properties"][key]["description"] = description


def _linked(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        _add_definition(schema["$ref"], schemas)
        schema["$ref"] = _PREFIX + schema["$ref"]
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            schema[key] = _linked(schema[key], schemas)
    return schema
