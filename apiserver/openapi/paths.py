"""The operations of a kind in OpenAPI v3: what each path takes and every answer it gives. Pure.

Interface: `of_kind(kind)`, from path to its operations; `schema_name(kind)` and `list_name(kind)`, the definitions they
refer to. What is said follows from the kind's verbs and subresources, as requests do.
Kubernetes: https://kubernetes.io/docs/reference/using-api/api-concepts/; names of operations are its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from apiserver import codec
from apiserver.registry.kind import Kind, Subresource
from apiserver.registry.model import Documents
from apiserver.schema import node
from apiserver.verbs.patch import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH

PREFIX = "#/components/schemas/"
META = "io.k8s.apimachinery.pkg.apis.meta.v1"
WATCH = "application/json;stream=watch"

Operation = dict[str, Any]

_TEXT = {"type": "string"}
_PATH = {"namespace": "object name and auth scope, such as for teams and projects", "name": "name of the {kind}"}
_SELECTORS = {
    "labelSelector": (_TEXT, "Only objects whose labels match."),
    "fieldSelector": (_TEXT, "Only objects whose fields match; each kind says which fields can be asked for."),
}
_QUERIES: Mapping[str, Mapping[str, tuple[dict[str, Any], str]]] = {
    "list": _SELECTORS | {
        "allowWatchBookmarks": ({"type": "boolean"}, "Whether a watch sends bookmarks too."),
        "continue": (_TEXT, "The token of the page before."),
        "limit": ({"type": "integer", "minimum": 0}, "The most objects in one answer."),
        "resourceVersion": (_TEXT, "The version that the answer is at least of, or that a watch begins after."),
        "resourceVersionMatch": ({"type": "string", "enum": ["Exact", "NotOlderThan"]}, "How to take that version."),
        "sendInitialEvents": ({"type": "boolean"}, "Whether a watch begins with what there is."),
        "timeoutSeconds": ({"type": "integer", "minimum": 0}, "When a watch ends."),
        "watch": ({"type": "boolean"}, "Whether to send changes as they happen, and not a list."),
    },
    "get": {"resourceVersion": (_TEXT, "The version that the answer is at least of.")},
    "write": {
        "dryRun": ({"type": "string", "enum": ["All"]}, "Do everything but store the object."),
        "fieldManager": ({"type": "string", "maxLength": 128}, "Who owns the fields that are written."),
        "fieldValidation": (
            {"type": "string", "enum": ["Ignore", "Warn", "Strict"]}, "What becomes of unknown and duplicate fields."
        ),
    },
    "force": {"force": ({"type": "boolean"}, "Whether an apply takes the fields that others own.")},
    "delete": {
        "dryRun": ({"type": "string", "enum": ["All"]}, "Delete nothing."),
        "gracePeriodSeconds": ({"type": "integer", "minimum": 0}, "How long the object has to end; 0: none."),
        "orphanDependents": ({"type": "boolean"}, "Deprecated: see propagationPolicy."),
        "propagationPolicy": (
            {"type": "string", "enum": ["Orphan", "Background", "Foreground"]}, "What becomes of what it owns."
        ),
    },
    "selected": _SELECTORS,
}  # fmt: skip


def schema_name(kind: Kind) -> str:
    """The name of a kind's definition; of custom ones the group reversed, as in Kubernetes: dev.minik.v1.Widget."""
    if isinstance(kind.objects, Documents):
        return ".".join([*reversed(kind.group.split(".")), kind.version, kind.kind])
    return node.name_of_class(kind.objects)


def list_name(kind: Kind) -> str:
    return f"{schema_name(kind)}List"


def of_kind(kind: Kind) -> dict[str, dict[str, Any]]:
    """Every path of a kind with its operations and their common parameters."""
    namespace = "{namespace}" if kind.namespaced else None
    collection, item = kind.path(namespace), kind.path(namespace, "{name}")
    paths: dict[str, dict[str, Any]] = {collection: {}, item: {}}
    if kind.namespaced:
        paths[kind.path()] = {}
    for verb in kind.verbs:
        if verb == "list":
            paths[collection]["get"] = _list(kind)
            if kind.namespaced:
                paths[kind.path()]["get"] = _list(kind, everywhere=True)
        elif verb != "watch":
            path = collection if verb in ("create", "deletecollection") else item
            method, operation = _operation(kind, verb)
            paths[path][method] = operation
    for below in kind.subresources:
        paths[f"{item}/{below.name}"] = _subresource(kind, below)
    for path, operations in paths.items():
        names = [name for name in _PATH if "{" + name + "}" in path]
        if operations:
            operations["parameters"] = [_path_parameter(name, kind) for name in names]
    return {path: operations for path, operations in paths.items() if operations}


# --- operations -------------------------------------------------------------------------------------------------


def _list(kind: Kind, *, everywhere: bool = False) -> Operation:
    name = _id("list", kind) + ("ForAllNamespaces" if everywhere else "")
    answer = _answer(list_name(kind)) | {}
    answer["content"][WATCH] = {"schema": _ref(f"{META}.WatchEvent")}
    return _described(kind, name, "list", ("list",), {"200": answer}) | {
        "description": f"list or watch objects of kind {kind.kind}"
    }


def _operation(kind: Kind, verb: str, below: Subresource | None = None) -> tuple[str, Operation]:
    """The HTTP method of a verb, and what it takes and answers."""
    takes = schema_name(kind) if below is None or below.takes is None else node.name_of_class(below.takes)
    status = f"{META}.Status"
    tail = "".join(part.capitalize() for part in below.name.split("-")) if below else ""
    match verb:
        case "get":
            return "get", _described(kind, _id("read", kind) + tail, "get", ("get",), _answers(takes, 200))
        case "create":
            found = _described(kind, _id("create", kind) + tail, "post", ("write",), _answers(takes, 200, 201, 202))
            return "post", found | {"requestBody": _body(takes)}
        case "update":
            found = _described(kind, _id("replace", kind) + tail, "put", ("write",), _answers(takes, 200, 201))
            return "put", found | {"requestBody": _body(takes)}
        case "patch":
            queries = ("write", "force")
            found = _described(kind, _id("patch", kind) + tail, "patch", queries, _answers(takes, 200, 201))
            return "patch", found | {"requestBody": _patch_body(kind, takes)}
        case "deletecollection":
            name = _id("delete", kind, "Collection")
            found = _described(kind, name, verb, ("delete", "selected"), _answers(status, 200))
        case _:
            answer = takes if kind.returns_deleted else status
            found = _described(kind, _id("delete", kind), "delete", ("delete",), _answers(answer, 200, 202))
    return "delete", found | {"requestBody": {**_body(f"{META}.DeleteOptions"), "required": False}}


def _subresource(kind: Kind, below: Subresource) -> dict[str, Any]:
    if below.query is None:
        return dict(_operation(kind, verb, below) for verb in below.handlers)
    queries = [_parameter(name, "query", {"type": each}) for name, each in below.query.items()]
    result = {}
    for verb in below.handlers:
        method = "post" if verb == "create" else verb
        name = _id("read" if below.name == "log" else f"connect{method.capitalize()}", kind) + below.name.capitalize()
        answer = {"description": "OK", "content": {"text/plain": {"schema": _TEXT}}}
        action = "get" if below.name == "log" else "connect"
        result[method] = _described(kind, name, action, (), {"200": answer}) | {"parameters": queries}
    return result


def _id(verb: str, kind: Kind, infix: str = "") -> str:
    """listAppsV1NamespacedDeployment."""
    group = "".join(part.capitalize() for part in kind.group.removesuffix(".k8s.io").split(".")) or "Core"
    scope = "Namespaced" if kind.namespaced else ""
    return f"{verb}{group}{kind.version.capitalize()}{infix}{scope}{kind.kind}"


def _described(kind: Kind, name: str, action: str, queries: Iterable[str], answers: dict[str, Any]) -> Operation:
    group = kind.group.removesuffix(".k8s.io").replace(".", "_") or "core"
    parameters = [
        _parameter(each, "query", schema, text) for query in queries for each, (schema, text) in _QUERIES[query].items()
    ]
    operation: Operation = {
        "operationId": name,
        "tags": [f"{group}_{kind.version}"],
        "description": f"{action} of kind {kind.kind}",
        "responses": answers | {
            "401": {"description": "Unauthorized", **_content(f"{META}.Status")},
            "default": {"description": "Refused or failed", **_content(f"{META}.Status")},
        },
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
    }  # fmt: skip
    return operation | ({"parameters": parameters} if parameters else {})


# --- parts of them ----------------------------------------------------------------------------------------------

_WORDS = {200: "OK", 201: "Created", 202: "Accepted"}


def _answers(schema: str, *statuses: int) -> dict[str, Any]:
    return {str(status): _answer(schema, _WORDS[status]) for status in statuses}


def _answer(schema: str, text: str = "OK") -> dict[str, Any]:
    return {"description": text, **_content(schema)}


def _content(schema: str) -> dict[str, Any]:
    return {"content": {media: {"schema": _ref(schema)} for media in (codec.JSON, codec.YAML)}}


def _body(schema: str) -> dict[str, Any]:
    return {**_content(schema), "required": True}


def _patch_body(kind: Kind, schema: str) -> dict[str, Any]:
    """Custom kinds have no strategic merge patch."""
    operations = {
        "type": "array",
        "items": {
            "type": "object",
            "required": ["op", "path"],
            "properties": {
                "op": {"type": "string", "enum": ["add", "remove", "replace", "move", "copy", "test"]},
                "path": _TEXT,
                "from": _TEXT,
                "value": {},
            },
        },
    }
    merging = (MERGE_PATCH,) if isinstance(kind.objects, Documents) else (MERGE_PATCH, STRATEGIC_PATCH)
    content: dict[str, Any] = {JSON_PATCH: {"schema": operations}, APPLY_PATCH: {"schema": _ref(schema)}}
    return {"content": content | {each: {"schema": _ref(f"{META}.Patch")} for each in merging}, "required": True}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": PREFIX + name}


def _path_parameter(name: str, kind: Kind) -> dict[str, Any]:
    return _parameter(name, "path", _TEXT, _PATH[name].format(kind=kind.kind)) | {"required": True}


def _parameter(name: str, where: str, schema: Mapping[str, Any], text: str = "") -> dict[str, Any]:
    parameter = {"name": name, "in": where, "schema": {**schema, "uniqueItems": True}}
    return parameter | ({"description": text} if text else {})
