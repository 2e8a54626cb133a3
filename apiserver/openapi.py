"""OpenAPI v3 of what is served, made from the struct classes: for `kubectl explain`, `apply`, `diff` and validation.

Interface: `add_routes(app)`, `group_document(group, version)`. Documents are made on first use and kept as bytes.
Kubernetes: https://kubernetes.io/docs/concepts/overview/kubernetes-api/#openapi-v3. Names of schemas, the extensions
x-kubernetes-group-version-kind and x-kubernetes-patch-*, and the query parameters on writes are what kubectl reads.
"""

from __future__ import annotations

import hashlib
import inspect
import re
import types
import typing
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec
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
from apiserver.strategic_patch import merge_key

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
            schemas[name] = {**kind.objects.schema}
        else:
            _add_struct(kind.objects, schemas)
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
    model = next(each for each in cls.__mro__ if each.__module__.startswith("lightkube.models."))
    group, _, version = model.__module__.rpartition(".")[2].partition("_")
    root = "io.k8s.apimachinery.pkg.apis.meta" if group == "meta" else f"io.k8s.api.{group}"
    return f"{root}.{version}.{model.__name__}"


def _add_struct(cls: type, schemas: dict[str, Any]) -> None:
    name = schema_name(cls)
    if name in schemas:
        return
    schema: dict[str, Any] = {"type": "object"}
    schemas[name] = schema
    summary, descriptions = documentation(cls)
    if summary:
        schema["description"] = summary
    shape = codec.shape_of(cls)
    schema["properties"] = {
        each.encode_name: _property(each, shape, descriptions, schemas) for each in msgspec.structs.fields(cls)
    }
    if needed := [each.encode_name for each in msgspec.structs.fields(cls) if each.required]:
        schema["required"] = needed


def _property(field: Any, shape: codec.Shape, descriptions: dict[str, str], schemas: dict[str, Any]) -> dict[str, Any]:
    inner = shape.members[field.encode_name]
    schema = _type(field.type, inner, schemas)
    if description := descriptions.get(field.name):
        # Beside a $ref nothing else is read, so a described reference is wrapped, as Kubernetes does.
        schema = {"allOf": [schema], "default": {}} if "$ref" in schema else schema
        schema["description"] = description
    key = merge_key(shape, field.encode_name)
    if key is not None:
        schema["x-kubernetes-patch-strategy"] = "merge"
        schema |= {"x-kubernetes-patch-merge-key": key} if key else {}
    if (shape.name, field.encode_name) in (("PodSpec", "volumes"), ("PodSpec", "resourceClaims")):
        schema["x-kubernetes-patch-strategy"] = "merge,retainKeys"
    if (shape.name, field.encode_name) == ("DeploymentSpec", "strategy"):
        schema["x-kubernetes-patch-strategy"] = "retainKeys"
    return schema


_SCALARS: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer", "format": "int32"},
    float: {"type": "number", "format": "double"},
    datetime: {"type": "string", "format": "date-time"},
}


def _type(declared: Any, shape: codec.Shape, schemas: dict[str, Any]) -> dict[str, Any]:
    origin = typing.get_origin(declared)
    if origin in (typing.Union, types.UnionType):
        options = [each for each in typing.get_args(declared) if each is not type(None)]
        if len(options) > 1:
            return {"oneOf": [_type(each, shape, schemas) for each in options], "format": "int-or-string"}
        return _type(options[0], shape, schemas)
    if origin is list:
        inner = shape.inner or shape
        return {"type": "array", "items": _type(typing.get_args(declared)[0], inner, schemas)}
    if declared is dict:
        values = {"strings": {"type": "string"}, "quantities": {"type": "string"}}.get(shape.kind)
        return {"type": "object"} | ({"additionalProperties": values} if values else {})
    if isinstance(declared, type) and issubclass(declared, msgspec.Struct):
        _add_struct(declared, schemas)
        return {"$ref": _PREFIX + schema_name(declared)}
    return dict(_SCALARS.get(declared, {"type": "object"}))


_ENTRY = re.compile(r"^\* \*\*(\w+)\*\* ``[^`]*``(?: - )?", re.MULTILINE)


def documentation(cls: type) -> tuple[str, dict[str, str]]:
    """What the class's docstring says about it and about its fields, in running text."""
    model = next((each for each in cls.__mro__ if each.__module__.startswith("lightkube.models.")), cls)
    text = inspect.cleandoc(model.__doc__ or "")
    summary, _, parameters = text.partition("**parameters**")
    parts = _ENTRY.split(inspect.cleandoc(parameters))
    fields = {name: " ".join(text.split()) for name, text in zip(parts[1::2], parts[2::2], strict=True)}
    return " ".join(summary.split()), fields
