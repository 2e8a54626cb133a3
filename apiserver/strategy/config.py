"""ConfigMaps and Secrets."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from api.errors import FieldError, forbidden, invalid, required
from apiserver import names
from apiserver.strategy.base import Strategy

LIMIT_BYTES = 1024 * 1024
IMMUTABLE = "field is immutable when `immutable` is set"


class ConfigMapStrategy(Strategy):
    def validate(self, obj: Any) -> list[FieldError]:
        data, binary = obj.data or {}, obj.binaryData or {}
        errors: list[FieldError] = []
        for key in data:
            errors += names.check(f"data[{key}]", key, names.config_key)
            if key in binary:
                errors.append(invalid(f"data[{key}]", key, "duplicate of key present in binaryData"))
        for key, value in binary.items():
            errors += names.check(f"binaryData[{key}]", key, names.config_key)
            if decoded_size(value) is None:
                errors.append(invalid(f"binaryData[{key}]", "<value omitted>", "illegal base64 data"))
        size = sum(len(each.encode()) for each in data.values()) + sum(
            decoded_size(each) or 0 for each in binary.values()
        )
        return errors + too_long("", size)

    def validate_update(self, new: Any, old: Any) -> list[FieldError]:
        errors = immutable_data(new, old)
        if old.immutable and new.binaryData != old.binaryData:
            errors.append(forbidden("binaryData", IMMUTABLE))
        return errors + self.validate(new)


_REQUIRED_KEYS = {
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
}


class SecretStrategy(Strategy):
    def set_defaults(self, obj: Any) -> None:
        obj.type = obj.type or "Opaque"
        if obj.stringData:
            encoded = {key: base64.b64encode(value.encode()).decode() for key, value in obj.stringData.items()}
            obj.data = {**(obj.data or {}), **encoded}
        obj.stringData = None

    def validate(self, obj: Any) -> list[FieldError]:
        errors: list[FieldError] = []
        size = 0
        for key, value in (obj.data or {}).items():
            errors += names.check(f"data[{key}]", key, names.config_key)
            length = decoded_size(value)
            if length is None:
                errors.append(invalid(f"data[{key}]", "<value omitted>", "illegal base64 data"))
            size += length or 0
        for key in _REQUIRED_KEYS.get(obj.type, ()):
            if key not in (obj.data or {}):
                errors.append(required(f"data[{key}]"))
        return errors + too_long("data", size) + _validate_docker_config(obj)

    def validate_update(self, new: Any, old: Any) -> list[FieldError]:
        errors = immutable_data(new, old)
        if new.type != old.type:
            errors.append(invalid("type", new.type, "field is immutable"))
        return errors + self.validate(new)


def _validate_docker_config(obj: Any) -> list[FieldError]:
    key = {"kubernetes.io/dockercfg": ".dockercfg", "kubernetes.io/dockerconfigjson": ".dockerconfigjson"}.get(obj.type)
    value = (obj.data or {}).get(key) if key else None
    if key is None or value is None:
        return []
    try:
        json.loads(base64.b64decode(value))
    except ValueError as error:
        return [invalid(f"data[{key}]", "<secret contents redacted>", type(error).__name__)]
    return []


def immutable_data(new: Any, old: Any) -> list[FieldError]:
    errors = []
    if old.immutable:
        if not new.immutable:
            errors.append(forbidden("immutable", IMMUTABLE))
        if new.data != old.data:
            errors.append(forbidden("data", IMMUTABLE))
    return errors


def decoded_size(text: str) -> int | None:
    """The bytes a base64 text stands for; None when it is none."""
    try:
        return len(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        return None


def too_long(path: str, size: int) -> list[FieldError]:
    return (
        [FieldError(path, "FieldValueTooLong", f"may not be more than {LIMIT_BYTES} bytes")]
        if size > LIMIT_BYTES
        else []
    )
