"""Kubernetes' protobuf bodies to plain data: what `kubectl create` and other typed Go clients send. Pure.

Interface: `read(body)` returns the object as its JSON document. Answers are always JSON, which such clients accept.
Kubernetes: https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding: four magic bytes, then an
envelope (apiVersion, kind, the object's bytes). The wire format is https://protobuf.dev/programming-guides/encoding/.

Go writes fields that are not pointers even when they are empty. As JSON leaves those out, so does this: empty texts
always, zero and false unless the field is one where they mean something (`_MEANT`).
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import msgspec

from apiserver.protobuf_fields import MESSAGES

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
MAGIC = b"k8s\x00"
MAX_DEPTH = 64

_MEANT_FIELDS = """
replicas gracePeriodSeconds terminationGracePeriodSeconds deletionGracePeriodSeconds tolerationSeconds
revisionHistoryLimit progressDeadlineSeconds activeDeadlineSeconds expirationSeconds defaultMode mode runAsUser
runAsGroup fsGroup priority leaseDurationSeconds leaseTransitions exitCode port enableServiceLinks
automountServiceAccountToken allowPrivilegeEscalation privileged readOnlyRootFilesystem runAsNonRoot
shareProcessNamespace hostUsers optional controller blockOwnerDeletion immutable orphanDependents
allocateLoadBalancerNodePorts setHostnameAsFQDN ready serving terminating started restartCount maxSkew weight
parallelism completions backoffLimit ttlSecondsAfterFinished suspend backoffLimitPerIndex maxFailedIndexes
manualSelector startingDeadlineSeconds successfulJobsHistoryLimit failedJobsHistoryLimit partition minReplicas
averageUtilization succeededCount currentReplicas desiredReplicas currentNumberScheduled numberMisscheduled
desiredNumberScheduled numberReady
"""
_MEANT = frozenset(_MEANT_FIELDS.split())


class ProtobufError(ValueError):
    """The bytes are no such message."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message."""

    name: str
    type: str
    repeated: bool = False
    map: bool = False


@lru_cache(maxsize=1)
def _messages() -> dict[str, dict[int, Field]]:
    messages: dict[str, dict[int, Field]] = {}
    current: dict[int, Field] = {}
    for line in MESSAGES.strip().splitlines():
        words = line.split()
        if not line.startswith(" "):
            current = messages[words.pop(0)] = {}
        for word in words:
            number, name, type_ = word.split(":")
            current[int(number)] = _field(name, type_)
    return messages


def _field(name: str, type_: str) -> Field:
    if type_.startswith("map<"):
        return Field(name, type_[4:-1], map=True)
    return Field(name, type_.removesuffix("[]"), repeated=type_.endswith("[]"))


def read(body: bytes) -> dict[str, Any]:
    """The object in an envelope. Raises ProtobufError."""
    if not body.startswith(MAGIC):
        raise ProtobufError("the body does not begin with the magic bytes of Kubernetes' protobuf encoding")
    envelope = dict(_wire(body[len(MAGIC) :]))
    type_meta = {number: _text(value) for number, value in _wire(_bytes(envelope.get(1, b"")))}
    api_version, kind = type_meta.get(1, ""), type_meta.get(2, "")
    message = next((name for name in (f"{kind}@{api_version}", kind) if name in _messages()), None)
    if message is None:
        raise ProtobufError(f'no kind "{kind}" is registered for version "{api_version}"')
    return {"apiVersion": api_version, "kind": kind} | _message(_bytes(envelope.get(2, b"")), message, 0)


# --- messages ---------------------------------------------------------------------------------------------------


def _message(data: bytes, name: str, depth: int) -> dict[str, Any]:
    if depth > MAX_DEPTH:
        raise ProtobufError("the message is nested too deeply")
    fields = _messages()[name]
    result: dict[str, Any] = {}
    for number, raw in _wire(data):
        field = fields.get(number)
        if field is None:
            continue
        if field.map:
            key, value = _entry(raw, field, depth)
            result.setdefault(field.name, {})[key] = value
        elif field.repeated:
            result.setdefault(field.name, []).append(_value(raw, field.type, depth))
        else:
            value = _value(raw, field.type, depth)
            if not field.name:
                result |= value
            elif value is not None and (value not in ("", 0, False) or field.name in _MEANT or field.type == "intstr"):
                result[field.name] = value
    return {key: value for key, value in result.items() if value != "" or key in _MEANT}


def _entry(raw: Any, field: Field, depth: int) -> tuple[str, Any]:
    parts = dict(_wire(_bytes(raw)))
    value = _value(parts.get(2, b""), field.type, depth)
    return _text(parts.get(1, b"")), "" if value is None else value


def _value(raw: Any, type_: str, depth: int) -> Any:
    match type_:
        case "str":
            return _text(raw)
        case "bytes":
            return base64.b64encode(_bytes(raw)).decode()
        case "int":
            return _signed(_integer(raw))
        case "bool":
            return _integer(raw) != 0
        case "double":
            return struct.unpack("<d", _bytes(raw))[0]
        case "quantity":
            return _text(dict(_wire(_bytes(raw))).get(1, b"0"))
        case "time":
            return _time(dict(_wire(_bytes(raw))))
        case "intstr":
            return _int_or_string(dict(_wire(_bytes(raw))))
        case "json":
            return msgspec.json.decode(_bytes(dict(_wire(_bytes(raw))).get(1, b"{}")) or b"{}")
        case "strings":
            return [_text(value) for _, value in _wire(_bytes(raw))]
    return _message(_bytes(raw), type_, depth + 1)


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
