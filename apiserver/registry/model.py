"""How the objects of a kind are held: as lightkube structs, or as plain data where the schema is data.

Interface: a `Model` reads documents and stored bytes and writes them. Either way an object has `metadata` (an
ObjectMeta struct), and `spec` and `status` where there are any; `fields.py` reads the rest of both by path.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Protocol

import msgspec
from lightkube.models.meta_v1 import ObjectMeta

from api.resource import ResourceInfo, resource_info
from apiserver import codec
from apiserver.schema.node import Schema, from_json_schema, of_class


class Model(Protocol):
    """What a kind needs of its objects."""

    @property
    def info(self) -> ResourceInfo: ...
    @property
    def schema(self) -> Schema: ...

    def decode(self, value: bytes) -> Any:
        """A copy of a stored object."""

    def encode(self, obj: Any) -> bytes:
        """The bytes to store: apiVersion, kind and metadata first."""

    def plain(self, obj: Any) -> dict[str, Any]:
        """What `encode` writes as plain data, for comparing; parts of it may be the object's own."""

    def read(self, document: codec.Document, validation: codec.FieldValidation) -> codec.Decoded:
        """What a client sent. Raises BadRequest and Invalid."""

    def blank(self) -> dict[str, Any]:
        """The fields no object of the kind is without, empty."""


class Structs:
    """Objects of a lightkube class."""

    def __init__(self, resource: type) -> None:
        self.resource = resource
        self.info = resource_info(resource)
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(resource)

    @property
    def schema(self) -> Schema:
        return of_class(self.resource)

    def decode(self, value: bytes) -> Any:
        return self._decoder.decode(value)

    def encode(self, obj: Any) -> bytes:
        return codec.encode_object(obj)

    def plain(self, obj: Any) -> dict[str, Any]:
        return msgspec.to_builtins(obj)  # type: ignore[no-any-return]

    def read(self, document: codec.Document, validation: codec.FieldValidation) -> codec.Decoded:
        return codec.decode(document, self.resource, validation=validation)

    def blank(self) -> dict[str, Any]:
        return _blank(self.resource)


@cache
def _blank(cls: type) -> dict[str, Any]:
    return {each.encode_name: _empty(each.type) for each in msgspec.structs.fields(cls) if each.required}


def _empty(declared: Any) -> Any:
    if isinstance(declared, type) and issubclass(declared, msgspec.Struct):
        return _blank(declared)
    return declared() if declared in (str, int, bool) else []


class Untyped:
    """An object without a class: `fields` holds everything but its identity and metadata."""

    __slots__ = ("apiVersion", "fields", "kind", "metadata")

    def __init__(self, document: dict[str, Any]) -> None:
        self.fields = document
        self.apiVersion: str | None = document.pop("apiVersion", None)
        self.kind: str | None = document.pop("kind", None)
        self.metadata: ObjectMeta = msgspec.convert(document.pop("metadata", None) or {}, ObjectMeta)

    def __getattr__(self, name: str) -> Any:
        return self.fields.get(name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in Untyped.__slots__:
            object.__setattr__(self, name, value)
        elif value is None:
            self.fields.pop(name, None)
        else:
            self.fields[name] = value


class Documents:
    """Objects that are plain data, described by an OpenAPI schema as custom resources are."""

    def __init__(self, info: ResourceInfo, schema: dict[str, Any]) -> None:
        self.info = info
        self.definition = schema
        self.schema = from_json_schema(schema)
        self._identity = codec.Identity(info.api_version, info.group, info.version, info.kind)

    def decode(self, value: bytes) -> Any:
        return Untyped(codec.to_document(value))

    def encode(self, obj: Any) -> bytes:
        return codec.joined(obj.apiVersion, obj.kind, obj.metadata, codec.encode(obj.fields))

    def plain(self, obj: Any) -> dict[str, Any]:
        return {"metadata": msgspec.to_builtins(obj.metadata), **obj.fields}

    def read(self, document: codec.Document, validation: codec.FieldValidation) -> codec.Decoded:
        value, warnings = codec.checked(document, self.schema, self._identity, validation=validation)
        value |= {"apiVersion": self.info.api_version, "kind": self.info.kind}
        return codec.Decoded(codec.converted(value, Untyped, self._identity), warnings)

    def blank(self) -> dict[str, Any]:
        return {}
