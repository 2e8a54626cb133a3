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
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from typing import Any

import msgspec

from api import quantity
from api.errors import BadRequest, Invalid, required
from apiserver.schema.document import JSON, MAX_COMPLAINTS, YAML, Document, read_document
from apiserver.schema.node import ANY, Schema, of_class

__all__ = ["JSON", "YAML", "Document", "read_document"]  # what callers of the edge need, under one name


class FieldValidation(StrEnum):
    """What becomes of unknown and duplicate fields; Warn is the default of the API."""

    IGNORE = "Ignore"
    WARN = "Warn"
    STRICT = "Strict"


# --- documents to objects ---------------------------------------------------------------------------------------


@dataclass
class Problems:
    """What the walk found."""

    unknown: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def normalise(value: Any, schema: Schema, path: str, problems: Problems) -> Any:
    """Walk a raw value: drop nulls, write quantities as text, note what is unknown or of the wrong type."""
    match schema.type:
        case "object" if isinstance(value, dict):
            _normalise_object(value, schema, path, problems)
        case "array" if isinstance(value, list):
            items = schema.items or ANY
            if items.type != "string":
                for index, each in enumerate(value):
                    value[index] = normalise(each, items, f"{path}[{index}]", problems)
        case "map" if isinstance(value, dict):
            items = schema.items or ANY
            for key, each in value.items():
                if each.__class__ is not str or items.type not in _TEXTS:
                    value[key] = _entry(each, items, f"{path}.{key[:100]}", problems)
        case "quantity":
            return _quantity(value, path, problems)
        case "integer" | "int-or-string" if value.__class__ is int:
            bits = 32 if schema.type == "int-or-string" else schema.bits
            if not -(1 << bits - 1) <= value < 1 << bits - 1:
                _out_of_range(value, f"int{bits}", path, problems)
        case "any":
            _check_numbers(value, path, problems)
    return value


def _normalise_object(value: dict[str, Any], schema: Schema, path: str, problems: Problems) -> None:
    members = schema.properties
    nulls = []
    for key, inner in value.items():
        member = members.get(key) or schema.items
        if member is None:
            problems.unknown.append(f"{path}.{key}" if path else key)
        elif inner is None:
            nulls.append(key)
        elif member.type not in _BY_CLASS:
            value[key] = normalise(inner, member, f"{path}.{key}" if path else key, problems)
    for key in nulls:
        if key in schema.required and members[key].type == "array":
            value[key] = []  # how Go writes a list that it has not made; whether it may be empty, rules say
        else:
            del value[key]


_BY_CLASS = frozenset({"string", "bytes", "boolean", "number", "time"})
"""What the conversion to the class checks well enough."""


def _out_of_range(value: int, kind: str, path: str, problems: Problems) -> None:
    problems.wrong.append(f"{path}: cannot unmarshal number {str(value)[:40]} into Go value of type {kind}")


def _check_numbers(value: Any, path: str, problems: Problems) -> None:
    """Whole numbers have 64 bits, in free-form values too."""
    left = [value]
    while left:
        each = left.pop()
        if isinstance(each, dict | list):
            left += each.values() if isinstance(each, dict) else each
        elif isinstance(each, int) and not -(2**63) <= each < 2**63:
            _out_of_range(each, "int64", path, problems)


_TEXTS = frozenset({"string", "bytes"})
_CLASSES: Mapping[str, type] = {"string": str, "bytes": str, "array": list, "object": dict, "boolean": bool}


def _entry(value: Any, schema: Schema, path: str, problems: Problems) -> Any:
    """A value in a map: its class is checked here, because to the classes of kinds a map holds anything."""
    if value is None and schema.type in _TEXTS:
        return ""
    wanted = _CLASSES.get(schema.type)
    if wanted is not None and not isinstance(value, wanted):
        problems.wrong.append(f"{path}: expected {_type_name(wanted())}, got {_type_name(value)}")
        return value
    if schema.type == "array":
        return [_entry(each, schema.items or ANY, f"{path}[{index}]", problems) for index, each in enumerate(value)]
    return normalise(value, schema, path, problems)


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
    value, complaints = checked(document, of_class(cls), info, validation=validation)
    return Decoded(converted(value, functools.partial(msgspec.convert, type=cls), info), complaints)


def checked(
    document: Document, schema: Schema, info: Identity, *, validation: FieldValidation
) -> tuple[dict[str, Any], list[str]]:
    """The normalised value and warnings of a document that fits a schema. Raises BadRequest."""
    value = document.value
    if not isinstance(value, dict):
        raise BadRequest(f"couldn't get version/kind; json parse error: expected object, got {_type_name(value)}")
    _check_identity(value, info)
    problems = Problems()
    normalise(value, schema, "", problems)
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
    obj.apiVersion = obj.kind = None
    obj.metadata = msgspec.UNSET  # None would be written where metadata is required, as in an Event
    try:
        rest = _encoder.encode(obj)
    finally:
        obj.apiVersion, obj.kind, obj.metadata = api_version, kind, metadata
    return joined(api_version, kind, metadata, rest)


def joined(api_version: str | None, kind: str | None, metadata: Any, rest: bytes) -> bytes:
    """An object of its head and the bytes of everything else."""
    entries = getattr(metadata, "managedFields", None)
    if entries:
        metadata.managedFields = None
    head = b'{"apiVersion":%b,"kind":%b,"metadata":%b' % tuple(map(_encoder.encode, (api_version, kind, metadata)))
    value = head + (b"," + rest[1:] if len(rest) > 2 else b"}")
    if entries:
        metadata.managedFields = entries
        value = with_managed_fields(value, entries)
    return value


def with_managed_fields(value: bytes, entries: Any) -> bytes:
    """An object without managedFields with these, as the first member of its metadata."""
    head, begin, tail = value.partition(b'"metadata":{')
    return b'%b%b"managedFields":%b%b%b' % (head, begin, _encoder.encode(entries), b"," * (tail[:1] != b"}"), tail)


def to_document(value: bytes) -> dict[str, Any]:
    """A stored object as plain data, for patches and printers."""
    result: dict[str, Any] = msgspec.json.decode(value)
    return result
