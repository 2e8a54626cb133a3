"""Kubernetes' protobuf bodies to plain data: what `kubectl create` and other typed Go clients send. Pure.

Interface: `read(body)` returns the object as its JSON document. Answers are always JSON, which such clients accept.
Kubernetes: https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding: four magic bytes, then an
envelope (apiVersion, kind, the object's bytes). The wire format is https://protobuf.dev/programming-guides/encoding/.

Go writes fields that are not pointers even when they are empty. As JSON leaves those out, so does this, but for fields
where being empty means something. Which those are, and the number of each, says schema/protobuf.json, made by
scripts/protobuf-data; of what type a field is, says the schema.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

import msgspec

from apiserver.schema.node import ANY, FOLDER, INT_OR_STRING, Schema, of

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
MAGIC = b"k8s\x00"
MAX_DEPTH = 64


class ProtobufError(ValueError):
    """The bytes are no such message."""


class Field(NamedTuple):
    """One field of a message. Without a name it is an embedded message, whose fields stand in the outer object."""

    name: str
    schema: Schema
    numbers: str
    """The message whose numbers its fields have."""
    keeps_empty: bool


@cache
def _messages() -> dict[str, dict[str, str]]:
    content: dict[str, dict[str, str]] = msgspec.json.decode((FOLDER / "protobuf.json").read_bytes())
    return content


@cache
def _fields(message: str, schema: Schema) -> dict[int, Field]:
    return {int(number): _field(text, schema) for number, text in _messages().get(message, {}).items()}


def _field(text: str, outer: Schema) -> Field:
    if text.startswith("+"):
        return Field("", outer, text[1:], True)
    name = text.removesuffix("!")
    schema = outer.properties[name]
    return Field(name, schema, schema.name, name != text)


def read(body: bytes) -> dict[str, Any]:
    """The object in an envelope. Raises ProtobufError."""
    if not body.startswith(MAGIC):
        raise ProtobufError("the body does not begin with the magic bytes of Kubernetes' protobuf encoding")
    envelope = dict(_wire(body[len(MAGIC) :]))
    type_meta = {number: _text(value) for number, value in _wire(_bytes(envelope.get(1, b"")))}
    api_version, kind = type_meta.get(1, ""), type_meta.get(2, "")
    try:
        schema = of(api_version, kind)
    except KeyError:
        raise ProtobufError(f'no kind "{kind}" is registered for version "{api_version}"') from None
    return {"apiVersion": api_version, "kind": kind} | _message(_bytes(envelope.get(2, b"")), schema.name, schema, 0)


# --- messages ---------------------------------------------------------------------------------------------------


def _message(data: bytes, numbers: str, schema: Schema, depth: int) -> dict[str, Any]:
    if depth > MAX_DEPTH:
        raise ProtobufError("the message is nested too deeply")
    fields = _fields(numbers, schema)
    result: dict[str, Any] = {}
    for number, raw in _wire(data):
        field = fields.get(number)
        if field is None:
            continue
        items = field.schema.items or ANY
        if not field.name:
            result |= _message(_bytes(raw), field.numbers, schema, depth)
        elif field.schema.type == "map":
            key, value = _entry(raw, items, depth)
            result.setdefault(field.name, {})[key] = value
        elif field.schema.type == "array":
            result.setdefault(field.name, []).append(_value(raw, items, depth))
        else:
            value = _value(raw, field.schema, depth)
            if value is not None and (field.keeps_empty or value not in ("", 0) or field.schema is INT_OR_STRING):
                result[field.name] = value
    for name in schema.required:
        if name not in result and schema.properties[name].type == "array":
            result[name] = []
    return result


def _entry(raw: Any, schema: Schema, depth: int) -> tuple[str, Any]:
    parts = dict(_wire(_bytes(raw)))
    value = _value(parts.get(2, b""), schema, depth)
    return _text(parts.get(1, b"")), "" if value is None else value


def _value(raw: Any, schema: Schema, depth: int) -> Any:
    match schema.type:
        case "string":
            return _text(raw)
        case "bytes":
            return base64.b64encode(_bytes(raw)).decode()
        case "integer":
            return _signed(_integer(raw))
        case "boolean":
            return _integer(raw) != 0
        case "number":
            return _double(_bytes(raw))
        case "quantity":
            return _text(dict(_wire(_bytes(raw))).get(1, b"0"))
        case "time":
            return _time(dict(_wire(_bytes(raw))))
        case "int-or-string":
            return _int_or_string(dict(_wire(_bytes(raw))))
        case "any":
            return _json(_bytes(dict(_wire(_bytes(raw))).get(1, b"")))
        case "array":  # a list that is a map's value is a message of its own
            return [_value(each, schema.items or ANY, depth) for _, each in _wire(_bytes(raw))]
    return _message(_bytes(raw), schema.name, schema, depth + 1)


def _double(raw: bytes) -> float:
    if len(raw) != 8:
        raise ProtobufError("expected eight bytes")
    return float(struct.unpack("<d", raw)[0])


def _json(raw: bytes) -> Any:
    """What has no schema is JSON inside."""
    try:
        return msgspec.json.decode(raw) if raw else {}
    except (msgspec.DecodeError, RecursionError) as error:
        raise ProtobufError(f"a free-form value is no JSON: {error}") from None


def _time(parts: dict[int, Any]) -> str | None:
    """RFC 3339; a zero time is none."""
    seconds, nanos = _signed(_integer(parts.get(1, 0))), _integer(parts.get(2, 0))
    if 1 not in parts or seconds <= -62135596800:
        return None
    try:
        moment = datetime.fromtimestamp(0, UTC) + timedelta(seconds=seconds, microseconds=nanos // 1000)
    except OverflowError:
        raise ProtobufError("a time is out of range") from None
    return moment.isoformat().replace("+00:00", "Z")


def _int_or_string(parts: dict[int, Any]) -> int | str:
    if _integer(parts.get(1, 0)) == 0:
        return _signed(_integer(parts.get(2, 0)))
    return _text(parts.get(3, b""))


# --- the wire ---------------------------------------------------------------------------------------------------


def _wire(data: bytes) -> Iterator[tuple[int, Any]]:
    """(field number, raw value): whole numbers, or bytes for everything else."""
    place = 0
    while place < len(data):
        tag, place = _varint(data, place)
        match tag & 7:
            case 0:
                value, place = _varint(data, place)
                yield tag >> 3, value
                continue
            case 1:
                size = 8
            case 2:
                size, place = _varint(data, place)
            case 5:
                size = 4
            case _:
                raise ProtobufError("unknown wire type")
        if place + size > len(data):
            raise ProtobufError("the message is cut off")
        yield tag >> 3, data[place : place + size]
        place += size


def _varint(data: bytes, place: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        if place >= len(data) or shift > 63:
            raise ProtobufError("a number is cut off")
        byte = data[place]
        place += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, place
        shift += 7


def _signed(number: int) -> int:
    number &= (1 << 64) - 1
    return number - (1 << 64) if number >> 63 else number


def _integer(raw: Any) -> int:
    if not isinstance(raw, int):
        raise ProtobufError("expected a number")
    return raw


def _bytes(raw: Any) -> bytes:
    if not isinstance(raw, bytes):
        raise ProtobufError("expected bytes")
    return raw


def _text(raw: Any) -> str:
    try:
        return _bytes(raw).decode()
    except UnicodeDecodeError:
        raise ProtobufError("a text is not UTF-8") from None
