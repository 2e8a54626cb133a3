"""Protobuf bodies: what Go clients write, and what nobody should."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiserver import protobuf
from apiserver.protobuf import MAGIC, ProtobufError, read
from apiserver.schema import node


def varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def message(*fields: tuple[int, bytes | str | int]) -> bytes:
    out = b""
    for number, value in fields:
        if isinstance(value, int):
            out += varint(number << 3) + varint(value)
        else:
            data = value.encode() if isinstance(value, str) else value
            out += varint(number << 3 | 2) + varint(len(data)) + data
    return out


def envelope(api_version: str, kind: str, raw: bytes) -> bytes:
    return MAGIC + message((1, message((1, api_version), (2, kind))), (2, raw), (3, ""), (4, ""))


def test_a_config_map():
    metadata = message((1, "a"), (2, ""), (3, "default"), (8, b""), (11, message((1, "k"), (2, "v"))))
    raw = message((1, metadata), (2, message((1, "x"), (2, "1"))), (2, message((1, "y"), (2, ""))))
    assert read(envelope("v1", "ConfigMap", raw)) == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a", "namespace": "default", "labels": {"k": "v"}},
        "data": {"x": "1", "y": ""},
    }


def test_secrets_hold_base64():
    raw = message((2, message((1, "x"), (2, b"\x00\xff"))), (3, "Opaque"))
    assert read(envelope("v1", "Secret", raw))["data"] == {"x": "AP8="}


def test_numbers_amounts_times_and_embedded_messages():
    port = message((1, ""), (2, 0), (3, 80), (4, "TCP"))
    resources = message((1, message((1, "cpu"), (2, message((1, "500m"))))))
    http = message((1, "/"), (2, message((1, 1), (2, 0), (3, "http"))))
    probe = message((1, message((2, http))), (2, 5), (3, 0))
    container = message((1, "web"), (6, port), (8, resources), (10, probe))
    volume = message((1, "v"), (2, message((2, message((1, ""))))))
    spec = message((1, volume), (2, container), (4, 0), (11, 0))
    metadata = message((1, "p"), (8, message((1, 1577836800), (2, 0))), (9, message((1, -62135596800))))
    document = read(envelope("v1", "Pod", message((1, metadata), (2, spec))))
    assert document["metadata"] == {"name": "p", "creationTimestamp": "2020-01-01T00:00:00Z"}
    assert document["spec"] == {
        "volumes": [{"name": "v", "emptyDir": {}}],
        "containers": [
            {
                "name": "web",
                "ports": [{"containerPort": 80, "protocol": "TCP"}],
                "resources": {"limits": {"cpu": "500m"}},
                "livenessProbe": {"httpGet": {"path": "/", "port": "http"}, "initialDelaySeconds": 5},
            }
        ],
        "terminationGracePeriodSeconds": 0,
    }


def test_what_is_empty_on_purpose_is_kept():
    """Go writes numbers and texts of pointers only when they are set, and those without `omitempty` always."""
    claim = message((1, message((1, "c"))), (2, message((5, ""), (3, ""))))
    assert read(envelope("v1", "PersistentVolumeClaim", claim))["spec"] == {"storageClassName": ""}
    window = message((5, message((2, message((3, 0))))))
    autoscaler = read(envelope("autoscaling/v2", "HorizontalPodAutoscaler", message((2, window))))
    assert autoscaler["spec"] == {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}}
    assert read(envelope("v1", "DeleteOptions", message((1, 0))))["gracePeriodSeconds"] == 0


def test_lists_that_go_has_not_made():
    """It writes null in JSON and nothing in protobuf, where a list is required."""
    review = message((3, message((3, 0))))
    status = read(envelope("authorization.k8s.io/v1", "SelfSubjectRulesReview", review))["status"]
    assert status == {"resourceRules": [], "nonResourceRules": [], "incomplete": False}


def test_every_field_of_a_message_is_one_of_its_definition():
    for name, numbers in protobuf._messages().items():
        if name in node._definitions():
            protobuf._fields(name, node.definition(name))
        assert all(number.isdigit() for number in numbers)


def test_unknown_fields_are_skipped():
    assert read(envelope("v1", "Namespace", message((99, 1), (98, "x")))) == {"apiVersion": "v1", "kind": "Namespace"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"k8s",
        b"{}",
        MAGIC,
        envelope("v1", "Nonsense", b""),
        envelope("v1", "Pod", b"\x0a\xff"),
        MAGIC + b"\xff" * 11,
    ],
)
def test_what_is_no_message(body):
    with pytest.raises(ProtobufError):
        read(body)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data):
    for body in (MAGIC + data, envelope("v1", "Pod", data), envelope("apps/v1", "Deployment", message((2, data)))):
        with contextlib.suppress(ProtobufError):
            read(body)
