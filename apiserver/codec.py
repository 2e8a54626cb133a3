"""Bodies to objects and back: the edge where bytes become lightkube structs.

Interface: `decode` (dict -> struct, with everything unknown or duplicate named),
`encode_object` (struct -> the bytes that are stored).

Invariants
- One walk over the raw document drops nulls (Go reads them as absent), turns numbers into quantities where the
  field is one, and finds unknown fields. Structs never hold what their class does not declare.
- Whatever is wrong names its path. Wrong types are 400, missing required fields 422, as in Kubernetes.
"""

from __future__ import annotations

import functools
import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from typing import Any

import msgspec
from lightkube.models import resource as resource_model
from lightkube.models.meta_v1 import ObjectMeta

from api import quantity
from api.errors import BadRequest, Invalid, required
from apiserver.schema.document import JSON, MAX_COMPLAINTS, YAML, Document, read_document

__all__ = ["JSON", "YAML", "Document", "read_document"]  # what callers of the edge need, under one name


class FieldValidation(StrEnum):
    """What becomes of unknown and duplicate fields; Warn is the default of the API."""

    IGNORE = "Ignore"
    WARN = "Warn"
    STRICT = "Strict"


# --- the shape of a class ---------------------------------------------------------------------------------------


@dataclass(slots=True)
class Shape:
    """What a value may hold. `kind` is struct, list, map, strings, quantity, quantities or any."""

    kind: str
    members: dict[str, Shape] = field(default_factory=dict)
    inner: Shape | None = None
    name: str = ""
    """Of a struct: its Kubernetes type."""


_ANY = Shape("any")
_STRINGS = Shape("strings")
_QUANTITY = Shape("quantity")
_QUANTITIES = Shape("quantities")
# lightkube types these plain `dict`; Kubernetes maps resource names to quantities.
_QUANTITY_MAPS = frozenset({"limits", "requests", "capacity", "allocatable", "overhead", "allocatedResources"})
_FREE_MAPS = frozenset({"extra", "fieldsV1"})


@cache
def shape_of(cls: type) -> Shape:
    """The shape of a struct class. Recursive classes refer back to themselves."""
    return _struct_shape(cls, {})


def _struct_shape(cls: type, known: dict[type, Shape]) -> Shape:
    if cls in known:
        return known[cls]
    shape = known[cls] = Shape("struct", name=cls.__name__)
    written = {name: str(text) for base in cls.__mro__ for name, text in vars(base).get("__annotations__", {}).items()}
    for each in msgspec.structs.fields(cls):
        is_quantity = "Quantity" in written.get(each.name, "")
        shape.members[each.encode_name] = _QUANTITY if is_quantity else _type_shape(each.type, each.encode_name, known)
    return shape


def _type_shape(declared: Any, name: str, known: dict[type, Shape]) -> Shape:
    origin = typing.get_origin(declared)
    if origin in (typing.Union, types.UnionType):
        inner = [each for each in typing.get_args(declared) if each is not type(None)]
        return _type_shape(inner[0], name, known) if len(inner) == 1 else _ANY
    if origin is list:
        return Shape("list", inner=_type_shape(typing.get_args(declared)[0], name, known))
    if declared is dict or origin is dict:
        if name in _QUANTITY_MAPS:
            return _QUANTITIES
        return _ANY if name in _FREE_MAPS else _STRINGS
    if isinstance(declared, type) and issubclass(declared, msgspec.Struct):
        return _struct_shape(declared, known)
    return _ANY


def shape_of_schema(schema: Mapping[str, Any], name: str = "") -> Shape:
    """The shape that an OpenAPI schema of a custom resource describes; its metadata is every object's."""
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return _ANY
    match schema.get("type"):
        case "object" if "properties" in schema or name:
            shape = Shape("struct", name=name)
            shape.members = {key: shape_of_schema(inner) for key, inner in schema.get("properties", {}).items()}
            if name:
                shape.members |= {"apiVersion": _ANY, "kind": _ANY, "metadata": shape_of(ObjectMeta)}
            return shape
        case "array":
            return Shape("list", inner=shape_of_schema(schema.get("items", {})))
    return _ANY


assert resource_model.Quantity is str  # `Quantity` is only visible in the annotations' text


# --- documents to objects ---------------------------------------------------------------------------------------


@dataclass
class Problems:
    """What the walk found."""

    unknown: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def normalise(value: Any, shape: Shape, path: str, problems: Problems) -> Any:
    """Walk a raw value: drop nulls, write quantities as text, note what is unknown or of the wrong type."""
    match shape.kind:
        case "struct" if isinstance(value, dict):
            _normalise_struct(value, shape, path, problems)
        case "list" if isinstance(value, list):
            inner = typing.cast(Shape, shape.inner)
            if inner.kind != "any":
                for index, each in enumerate(value):
                    value[index] = normalise(each, inner, f"{path}[{index}]", problems)
        case "strings" if isinstance(value, dict):
            _check_strings(value, path, problems)
        case "quantities" if isinstance(value, dict):
            for key in value:
                value[key] = _quantity(value[key], f"{path}.{key}", problems)
        case "quantity":
            return _quantity(value, path, problems)
        case _:
            pass
    return value


def _normalise_struct(value: dict[str, Any], shape: Shape, path: str, problems: Problems) -> None:
    members = shape.members
    nulls = []
    for key, inner in value.items():
        member = members.get(key)
        if member is None:
            problems.unknown.append(f"{path}.{key}" if path else key)
        elif inner is None:
            nulls.append(key)
        elif member.kind != "any":
            value[key] = normalise(inner, member, f"{path}.{key}" if path else key, problems)
        elif inner.__class__ is not str:
            _check_numbers(inner, f"{path}.{key}" if path else key, problems)
    for key in nulls:
        del value[key]


def _check_numbers(value: Any, path: str, problems: Problems) -> None:
    """Whole numbers have 64 bits, in free-form values too."""
    left = [value]
    while left:
        each = left.pop()
        if isinstance(each, dict | list):
            left += each.values() if isinstance(each, dict) else each
        elif isinstance(each, int) and not -(2**63) <= each < 2**63:
            problems.wrong.append(f"{path}: cannot unmarshal number {str(each)[:40]} into Go value of type int64")


def _check_strings(value: dict[str, Any], path: str, problems: Problems) -> None:
    for key, text in value.items():
        if isinstance(text, str):
            continue
        if text is None:
            value[key] = ""
        else:
            problems.wrong.append(f"{path}.{key}: expected str, got {_type_name(text)}")


# Typed, because 1, 1.0 and True are the same key otherwise.
_canonical = functools.lru_cache(maxsize=4096, typed=True)(quantity.canonical)


def _quantity(value: Any, path: str, problems: Problems) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        problems.wrong.append(f"{path}: expected quantity, got {_type_name(value)}")
        return value
    try:
        return _canonical(value)
    except ValueError as error:
        problems.wrong.append(f"{path}: {error}")
        return value


def _type_name(value: Any) -> str:
    names: Mapping[type, str] = {dict: "object", list: "array", type(None): "null"}
    return names.get(type(value), type(value).__name__)


@dataclass
class Decoded:
    """An object and the warnings its document earned."""

    obj: Any
    warnings: list[str]


def decode(document: Document, cls: type, *, validation: FieldValidation = FieldValidation.WARN) -> Decoded:
    """Turn a document into `cls`. Raises BadRequest, or Invalid when a required field is missing."""
    info = identity(cls)
    value, complaints = checked(document, shape_of(cls), info, validation=validation)
    return Decoded(converted(value, functools.partial(msgspec.convert, type=cls), info), complaints)


def checked(
    document: Document, shape: Shape, info: Identity, *, validation: FieldValidation
) -> tuple[dict[str, Any], list[str]]:
    """The normalised value and warnings of a document that fits a shape. Raises BadRequest."""
    value = document.value
    if not isinstance(value, dict):
        raise BadRequest(f"couldn't get version/kind; json parse error: expected object, got {_type_name(value)}")
    _check_identity(value, info)
    problems = Problems()
    normalise(value, shape, "", problems)
    if problems.wrong:
        raise BadRequest(f"{_handled(info)}: {'; '.join(problems.wrong[:MAX_COMPLAINTS])}")
    complaints = _complaints(document, problems) if validation != FieldValidation.IGNORE else []
    if complaints and validation == FieldValidation.STRICT:
        raise BadRequest(f"{_handled(info)}: strict decoding error: {', '.join(complaints)}")
    return value, complaints


def converted(value: dict[str, Any], make: Callable[[dict[str, Any]], Any], info: Identity) -> Any:
    """An object made of a value. Raises BadRequest and Invalid."""
    try:
        return make(value)
    except (msgspec.ValidationError, RecursionError) as error:
        raise _conversion_error(error, value, _handled(info), info) from None


def _handled(info: Identity) -> str:
    return f'{info.kind} in version "{info.version}" cannot be handled as a {info.kind}'


@dataclass(frozen=True)
class Identity:
    """What a document must call itself to be read as a class."""

    api_version: str
    group: str
    version: str
    kind: str


@cache
def identity(cls: type) -> Identity:
    """From the resource table of lightkube, or from what the model writes into itself (Scale, Binding, ...)."""
    info = getattr(cls, "_api_info", None)
    if info is not None:
        return Identity(info.resource.api_version, info.resource.group, info.resource.version, info.resource.kind)
    blank = [None for each in msgspec.structs.fields(cls) if each.required]
    model: Any = cls(*blank)
    # DeleteOptions and its like leave both fields empty.
    api_version = model.apiVersion or "v1"
    group, _, version = api_version.rpartition("/")
    return Identity(api_version, group, version, model.kind or cls.__name__)


def _check_identity(value: dict[str, Any], info: Identity) -> None:
    api_version, kind = value.get("apiVersion"), value.get("kind")
    if api_version and api_version != info.api_version:
        raise BadRequest(
            f"the API version in the data ({api_version}) does not match the expected API version ({info.api_version})"
        )
    if kind and kind != info.kind:
        raise BadRequest(f'{kind} in version "{info.version}" cannot be handled as a {info.kind}')


def _complaints(document: Document, problems: Problems) -> list[str]:
    unknown = [f'unknown field "{path}"' for path in problems.unknown[:MAX_COMPLAINTS]]
    return unknown + [f'duplicate field "{path}"' for path in document.duplicates]


_AT = re.compile(r"(?P<what>.*?)(?: - at `(?:key in )?\$(?P<path>.*)`)?\Z", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<name>[^`]+)`")


def _conversion_error(error: Exception, value: Any, handled: str, info: Identity) -> Exception:
    """msgspec's complaint in Kubernetes' terms."""
    if isinstance(error, RecursionError):
        return BadRequest(f"{handled}: the document is nested too deeply")
    match = _AT.match(str(error))
    what, path = (match["what"], match["path"] or "") if match else (str(error), "")
    path = path.lstrip(".")
    if missing := _MISSING.match(what):
        full = f"{path}.{missing['name']}" if path else missing["name"]
        metadata = value.get("metadata")
        name = metadata.get("name") if isinstance(metadata, dict) else ""
        return Invalid.of(kind=info.kind, group=info.group, name=str(name or ""), errors=[required(full)])
    plain = what.replace("`", "").replace("Expected", "expected").replace(" | null", "")
    return BadRequest(f"{handled}: {path}: {plain}" if path else f"{handled}: {plain}")


# --- objects to bytes -------------------------------------------------------------------------------------------

_encoder = msgspec.json.Encoder()


def encode(obj: Any) -> bytes:
    """JSON of a struct or of plain data; absent fields are left out."""
    return _encoder.encode(obj)


def encode_object(obj: Any) -> bytes:
    """An API object with apiVersion, kind and metadata first, where the store and readers of JSON look for them.

    Structs encode required fields first, so a Deployment's template would come before its own metadata.
    """
    api_version, kind, metadata = obj.apiVersion, obj.kind, obj.metadata
    head = b'{"apiVersion":%b,"kind":%b,"metadata":%b' % tuple(map(_encoder.encode, (api_version, kind, metadata)))
    obj.apiVersion = obj.kind = None
    obj.metadata = msgspec.UNSET  # None would be written where metadata is required, as in an Event
    try:
        rest = _encoder.encode(obj)
    finally:
        obj.apiVersion, obj.kind, obj.metadata = api_version, kind, metadata
    return head + (b"," + rest[1:] if len(rest) > 2 else b"}")


def to_document(value: bytes) -> dict[str, Any]:
    """A stored object as plain data, for patches and printers."""
    result: dict[str, Any] = msgspec.json.decode(value)
    return result
