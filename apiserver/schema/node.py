"""What a value may hold, as Kubernetes' own definitions say it: one immutable `Schema` for every kind. Pure.

Interface: `of(api_version, kind)`, `of_class(cls)`, `definition(name)`, `from_json_schema(document)` for custom
resources. Decoding, strategic merge patch, server-side apply and OpenAPI read these nodes and nothing else.

The definitions are data (definitions.json, made by scripts/schema-data); a node is made when it is first asked for.
Kubernetes: https://kubernetes.io/docs/reference/using-api/server-side-apply/#merge-strategy for the list and map types.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

FOLDER = Path(__file__).parent
_NOTHING: Mapping[str, Schema] = MappingProxyType({})


@dataclass(slots=True, eq=False)
class Schema:
    """A node. Nothing changes it once it has been handed out.

    `type` is object (with `properties`), map (of `items`), array (of `items`), string, bytes, integer, number, boolean,
    quantity, int-or-string, time, or any (free-form).
    """

    type: str
    name: str = ""
    """Of a definition: io.k8s.api.core.v1.PodSpec."""
    properties: Mapping[str, Schema] = field(default_factory=lambda: _NOTHING)
    items: Schema | None = None
    required: tuple[str, ...] = ()
    bits: int = 64
    """Of an integer."""
    atomic: bool = False
    """An array, map or object that has one owner and is replaced as a whole."""
    keys: tuple[str, ...] = ()
    """Of an array: the members that tell its elements apart; none for a set of values or an atomic array."""
    merge_key: str | None = None
    """In strategic merge patches: the key of an array's elements, "" for a set, None where it is replaced."""
    retain_keys: bool = False
    key_defaults: Mapping[str, Any] = field(default_factory=dict)


ANY = Schema("any", atomic=True)
QUANTITY = Schema("quantity", "io.k8s.apimachinery.pkg.api.resource.Quantity")
INT_OR_STRING = Schema("int-or-string", "io.k8s.apimachinery.pkg.util.intstr.IntOrString")
_SPECIAL = {each.name: each for each in (QUANTITY, INT_OR_STRING)}
_SCALARS = {"string": "string", "integer": "integer", "number": "number", "boolean": "boolean"}
_KEY_DEFAULTS = {"protocol": "TCP"}
"""A port's key has a member with a default, which the published definitions do not carry."""


@cache
def _definitions() -> dict[str, msgspec.Raw]:
    """Each definition as the bytes it is written in: most are never looked at."""
    return msgspec.json.decode((FOLDER / "definitions.json").read_bytes(), type=dict[str, msgspec.Raw])


@cache
def _descriptions() -> dict[str, msgspec.Raw]:
    return msgspec.json.decode((FOLDER / "descriptions.json").read_bytes(), type=dict[str, msgspec.Raw])


def descriptions(name: str) -> dict[str, str]:
    """What a definition says in words about its members; the text under "" is about the type itself."""
    return msgspec.json.decode(_descriptions().get(name, b"{}"), type=dict[str, str])


def raw(name: str) -> dict[str, Any]:
    """A definition as it is published, without words. Raises KeyError."""
    result: dict[str, Any] = msgspec.json.decode(_definitions()[name])
    return result


_known: dict[str, Schema] = {}


def definition(name: str) -> Schema:
    """The node of a definition; definitions that hold themselves refer back to themselves. Raises KeyError."""
    if name not in _known:
        if name in _SPECIAL:
            return _SPECIAL[name]
        document = raw(name)
        node = _known[name] = Schema("object", name)
        _fill(node, document, name)
    return _known[name]


def _fill(node: Schema, document: Mapping[str, Any], name: str) -> None:
    made = _node(document, name)
    for each in ("type", "properties", "items", "required", "bits", "atomic", "keys"):
        setattr(node, each, getattr(made, each))


def _node(document: Mapping[str, Any], name: str = "") -> Schema:
    if "$ref" in document:
        target = definition(document["$ref"])
        if "retainKeys" not in document.get("x-kubernetes-patch-strategy", ""):
            return target
        return Schema("object", target.name, target.properties, required=target.required, retain_keys=True)
    if document.get("x-kubernetes-int-or-string") or document.get("format") == "int-or-string":
        return INT_OR_STRING
    kind = document.get("type")
    if kind == "array":
        return _array(document)
    if "properties" in document:
        return _object(document, name)
    if isinstance(document.get("additionalProperties"), Mapping):
        return Schema(
            "map",
            name,
            items=_node(document["additionalProperties"]),
            atomic=document.get("x-kubernetes-map-type") == "atomic",
        )
    if kind in _SCALARS:
        form = document.get("format")
        bits = 32 if form == "int32" else 64
        special = {"date-time": "time", "byte": "bytes"}.get(form or "") if kind == "string" else None
        return Schema(special or _SCALARS[kind], name, bits=bits)
    return Schema("any", name, atomic=True)


def _object(document: Mapping[str, Any], name: str) -> Schema:
    properties = {key: _node(inner) for key, inner in document["properties"].items()}
    return Schema(
        "object",
        name,
        MappingProxyType(properties),
        items=ANY if document.get("x-kubernetes-preserve-unknown-fields") else None,
        required=tuple(document.get("required", ())),
        atomic=document.get("x-kubernetes-map-type") == "atomic",
    )


def _array(document: Mapping[str, Any]) -> Schema:
    strategy = document.get("x-kubernetes-patch-strategy", "")
    list_type = document.get("x-kubernetes-list-type", "atomic")
    keys = tuple(document.get("x-kubernetes-list-map-keys", ())) if list_type == "map" else ()
    items = _node(document.get("items") or {})
    return Schema(
        "array",
        items=items,
        atomic=list_type == "atomic",
        keys=keys,
        merge_key=document.get("x-kubernetes-patch-merge-key", "") if "merge" in strategy else None,
        retain_keys="retainKeys" in strategy,
        key_defaults={key: _default(document, key) for key in keys if _default(document, key) is not None},
    )


def _default(document: Mapping[str, Any], key: str) -> Any:
    declared = (document.get("items") or {}).get("properties", {}).get(key, {})
    return declared.get("default", _KEY_DEFAULTS.get(key) if "$ref" in (document.get("items") or {}) else None)


# --- by kind ----------------------------------------------------------------------------------------------------


@cache
def _names() -> dict[tuple[str, str], str]:
    names = {}
    for name, content in _definitions().items():
        if b"x-kubernetes-group-version-kind" in bytes(content):
            for each in raw(name)["x-kubernetes-group-version-kind"]:
                group, version = each["group"], each["version"]
                names[f"{group}/{version}" if group else version, each["kind"]] = name
    return names


def of(api_version: str, kind: str) -> Schema:
    """The schema of a built-in kind. Raises KeyError for others."""
    if kind.endswith("Options"):  # in every group
        return definition(f"{_ROOTS['meta']}.v1.{kind}")
    return definition(_names()[api_version, kind])


_ROOTS = {
    "meta": "io.k8s.apimachinery.pkg.apis.meta",
    "apiextensions": "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions",
    "apiregistration": "io.k8s.kube-aggregator.pkg.apis.apiregistration",
}


def name_of_class(cls: type) -> str:
    """The definition of a lightkube class: io.k8s.api.core.v1.PodSpec."""
    model = next(each for each in cls.__mro__ if each.__module__.startswith("lightkube.models."))
    group, _, version = model.__module__.rpartition(".")[2].partition("_")
    return f"{_ROOTS.get(group, f'io.k8s.api.{group}')}.{version}.{model.__name__}"


@cache
def of_class(cls: type) -> Schema:
    """The schema of what a lightkube class holds. Raises KeyError."""
    return definition(name_of_class(cls))


def from_json_schema(document: Mapping[str, Any]) -> Schema:
    """The schema of a custom resource from its structural schema; its metadata is that of every object."""
    node = _node(document)
    free = ANY if document.get("x-kubernetes-preserve-unknown-fields") else None
    meta = {
        "apiVersion": Schema("string"),
        "kind": Schema("string"),
        "metadata": definition(f"{_ROOTS['meta']}.v1.ObjectMeta"),
    }
    return Schema(
        "object", properties=MappingProxyType({**node.properties, **meta}), items=free, required=node.required
    )
