"""ConfigMaps and Secrets: small files and settings under keys."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from typing import Any

from lightkube.resources.core_v1 import ConfigMap, Secret

from api.errors import FieldError, forbidden, invalid, required
from apiserver.registry import names
from apiserver.registry.columns import AGE, NAME, Column, at, count
from apiserver.registry.kind import Kind

LIMIT_BYTES = 1024 * 1024
IMMUTABLE = "field is immutable when `immutable` is set"
_REQUIRED_KEYS = {
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
}


def plain_data(obj: Any) -> Iterator[FieldError]:
    """A ConfigMap's: text in `data`, the rest in `binaryData`, no key in both."""
    data, binary = obj.data or {}, obj.binaryData or {}
    for key in data:
        yield from names.check(f"data[{key}]", key, names.config_key)
        if key in binary:
            yield invalid(f"data[{key}]", key, "duplicate of key present in binaryData")
    yield from _encoded("binaryData", binary)
    yield from _size("", sum(len(each.encode()) for each in data.values()) + _decoded(binary))


def secret_data(obj: Any) -> Iterator[FieldError]:
    data = obj.data or {}
    yield from _encoded("data", data)
    for key in _REQUIRED_KEYS.get(obj.type, ()):
        if key not in data:
            yield required(f"data[{key}]")
    yield from _size("data", _decoded(data))
    if obj.type in ("kubernetes.io/dockercfg", "kubernetes.io/dockerconfigjson"):
        key = _REQUIRED_KEYS[obj.type][0]
        try:
            json.loads(base64.b64decode(data.get(key, "e30=")))
        except (ValueError, RecursionError) as error:
            yield invalid(f"data[{key}]", "<secret contents redacted>", type(error).__name__)


def _encoded(field: str, data: dict[str, str]) -> Iterator[FieldError]:
    for key, value in data.items():
        yield from names.check(f"{field}[{key}]", key, names.config_key)
        if decoded_size(value) is None:
            yield invalid(f"{field}[{key}]", "<value omitted>", "illegal base64 data")


def _decoded(data: dict[str, str]) -> int:
    return sum(decoded_size(each) or 0 for each in data.values())


def decoded_size(text: str) -> int | None:
    """The bytes a base64 text stands for; None when it is none."""
    try:
        return len(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        return None


def _size(path: str, size: int) -> Iterator[FieldError]:
    if size > LIMIT_BYTES:
        yield FieldError(path, "FieldValueTooLong", f"may not be more than {LIMIT_BYTES} bytes")


def immutable_data(new: Any, old: Any) -> Iterator[FieldError]:
    """What `immutable: true` forbids."""
    if old.immutable:
        if not new.immutable:
            yield forbidden("immutable", IMMUTABLE)
        for field in ("data", "binaryData"):
            if getattr(new, field, None) != getattr(old, field, None):
                yield forbidden(field, IMMUTABLE)


def secret_defaults(obj: Any) -> None:
    obj.type = obj.type or "Opaque"
    if obj.stringData:
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in obj.stringData.items()}
        obj.data = {**(obj.data or {}), **encoded}
    obj.stringData = None


CONFIG_MAP = Kind(
    ConfigMap,
    short_names=("cm",),
    columns=(NAME, Column("Data", count("data", "binaryData"), "integer"), AGE),
    rules=(plain_data,),
    change_rules=(immutable_data,),
)

SECRET = Kind(
    Secret,
    selectable=("type",),
    columns=(NAME, Column("Type", at("type", "")), Column("Data", count("data"), "integer"), AGE),
    defaults=secret_defaults,
    rules=(secret_data,),
    change_rules=(immutable_data,),
    immutable=("type",),
)
