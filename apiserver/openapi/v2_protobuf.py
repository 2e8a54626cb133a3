"""The v2 document in protobuf, the one form in which Go clients ask for it: tables of field numbers, and one writer.

Interface: `encode(document)`. What the document does not use has no number here.
Messages: openapi.v2 of https://github.com/google/gnostic-models/blob/main/openapiv2/OpenAPIv2.proto. The wire
format is https://protobuf.dev/programming-guides/encoding/. Maps are repeated pairs of name (1) and value (2).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

from apiserver import codec

MEDIA_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
ASKED_FOR = MEDIA_TYPE.replace(".v1.0", "@v1.0")
"""How clients ask for it; as the type of an answer Go cannot read the `@`."""

Writer = Callable[[int, Any], bytes]
"""Writes a value under a field's number."""
Table = Mapping[str, tuple[int, Writer]]
"""A message: the number and writer of each member; the number under "x-" is that of extensions."""


def encode(document: dict[str, Any]) -> bytes:
    return _content(document, _DOCUMENT)


# --- the wire ---------------------------------------------------------------------------------------------------


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def _bytes(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _text(number: int, value: str) -> bytes:
    return _bytes(number, value.encode())


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _double(number: int, value: float) -> bytes:
    return _varint(number << 3 | 1) + struct.pack("<d", value)


def _any(number: int, value: Any) -> bytes:
    """An Any holds YAML, of which JSON is a part."""
    return _bytes(number, _bytes(2, codec.encode(value)))


def _content(value: Mapping[str, Any], table: Table) -> bytes:
    parts = []
    for key, inner in value.items():
        if key in table:
            number, write = table[key]
            parts.append(write(number, inner))
        elif key.startswith("x-"):
            parts.append(_bytes(table["x-"][0], _text(1, key) + _any(2, inner)))
    return b"".join(parts)


# --- combinations -----------------------------------------------------------------------------------------------


def _each(write: Writer) -> Writer:
    return lambda number, values: b"".join(write(number, each) for each in values)


def _message(table: Table) -> Writer:
    return lambda number, value: _bytes(number, _content(value, table))


def _in(inner: int, write: Writer) -> Writer:
    """A value that is a message's only field."""
    return lambda number, value: _bytes(number, write(inner, value))


def _map(inner: int, write: Writer) -> Writer:
    """A message with nothing but pairs of name and value."""

    def pairs(number: int, value: Mapping[str, Any]) -> bytes:
        return _bytes(number, b"".join(_bytes(inner, _text(1, key) + write(2, each)) for key, each in value.items()))

    return pairs


def _schema(number: int, value: Mapping[str, Any]) -> bytes:
    return _bytes(number, _content(value, _SCHEMA))


def _additional(number: int, value: Any) -> bytes:
    return _bytes(number, _number(2, value) if isinstance(value, bool) else _schema(1, value))


def _parameter(number: int, value: Mapping[str, Any]) -> bytes:
    return _bytes(number, _bytes(1, _PLACES[value["in"]](value)))


def _variable(offset: int) -> Table:
    """A parameter outside of the body; the types of the two places differ by one number from `type` on."""
    return {
        "required": (1, _number), "in": (2, _text), "description": (3, _text), "name": (4, _text),
        "type": (5 + offset, _text), "format": (6 + offset, _text), "minimum": (12 + offset, _double),
        "maxLength": (14 + offset, _number), "uniqueItems": (19 + offset, _number), "enum": (20 + offset, _each(_any)),
    }  # fmt: skip


# --- messages ---------------------------------------------------------------------------------------------------

_SCHEMA: Table = {
    "$ref": (1, _text), "format": (2, _text), "description": (4, _text), "default": (5, _any),
    "maximum": (7, _double), "minimum": (9, _double), "maxLength": (11, _number), "minLength": (12, _number),
    "pattern": (13, _text), "maxItems": (14, _number), "minItems": (15, _number), "uniqueItems": (16, _number),
    "required": (19, _each(_text)), "enum": (20, _each(_any)), "additionalProperties": (21, _additional),
    "type": (22, _in(1, _text)), "items": (23, _in(1, _schema)), "properties": (25, _map(1, _schema)),
    "x-": (31, _any),
}  # fmt: skip
_BODY: Table = {
    "description": (1, _text), "name": (2, _text), "in": (3, _text), "required": (4, _number), "schema": (5, _schema),
}  # fmt: skip
_QUERY, _PATH = _variable(1), _variable(0)
_PLACES: Mapping[str, Callable[[Mapping[str, Any]], bytes]] = {
    "body": lambda value: _bytes(1, _content(value, _BODY)),
    "query": lambda value: _bytes(2, _bytes(3, _content(value, _QUERY))),
    "path": lambda value: _bytes(2, _bytes(4, _content(value, _PATH))),
}
_RESPONSE: Table = {"description": (1, _text), "schema": (2, _in(1, _schema))}
_OPERATION: Table = {
    "tags": (1, _each(_text)), "description": (3, _text), "operationId": (5, _text), "produces": (6, _each(_text)),
    "consumes": (7, _each(_text)), "parameters": (8, _each(_parameter)),
    "responses": (9, _map(1, _in(1, _message(_RESPONSE)))), "x-": (13, _any),
}  # fmt: skip
_METHODS = {"get": 2, "put": 3, "post": 4, "delete": 5, "patch": 8}
_PATH_ITEM: Table = {
    **{method: (number, _message(_OPERATION)) for method, number in _METHODS.items()},
    "parameters": (9, _each(_parameter)),
}
_API_KEY: Table = {"type": (1, _text), "name": (2, _text), "in": (3, _text), "description": (4, _text)}
_DOCUMENT: Table = {
    "swagger": (1, _text),
    "info": (2, _message({"title": (1, _text), "version": (2, _text)})),
    "paths": (8, _map(2, _message(_PATH_ITEM))),
    "definitions": (9, _map(1, _schema)),
    "security": (12, _each(_map(1, _in(1, _each(_text))))),
    "securityDefinitions": (13, _map(1, _in(2, _message(_API_KEY)))),
}
