"""No body and no parameter costs more than its length: each of these once took minutes, or ended the server."""

from __future__ import annotations

import json
import signal
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from api import quantity, selectors
from api.errors import ApiStatusError
from apiserver.kinds.pod_spec import port_name
from apiserver.patch.json_patch import MAX_COPIED_BYTES, PatchConflict, json_patch
from apiserver.protobuf import MAGIC
from apiserver.schema.document import MAX_ALIASED, MAX_DEPTH, read_document

CONFIGS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"


@pytest.fixture(autouse=True)
def hang_guard() -> Iterator[None]:
    """Ends a test that hangs; none of them comes near."""
    signal.alarm(20)
    yield
    signal.alarm(0)


def bomb(levels: int, reference: str = "[{}]") -> bytes:
    lines = ["l0: &l0 {a: 1, b: 2, c: 3, d: 4}"]
    for level in range(1, levels):
        lines.append(f"l{level}: &l{level} " + reference.format(", ".join([f"*l{level - 1}"] * 8)))
    return "\n".join(lines).encode()


YAMLS = {
    "aliases, each eight of the one before": bomb(9),
    "merge keys": bomb(9, "{{<<: [{}], x: 1}}"),
    "merge keys of objects that hold objects": b"a: &a {k: {x: 1}}\n"
    + b"".join(b"%c: &%c {p: {<<: *%c}, q: {<<: *%c}}\n" % (each, each, each - 1, each - 1) for each in range(98, 122)),
    "an alias inside of itself": b"a: &a [*a]",
    "nested flow": b"[" * 100_000,
    "nested blocks": b"- " * 100_000,
    "nested keys": b"? " * 100_000,
    "long paths": b"? " + b"k" * 500_000 + b"\n: [" + b"[]," * 100_000 + b"]",
    "a huge number": b"a: " + b"9" * 100_000,
    "no number": b"a: .nan",
    "an infinite number": b"a: 1.0e+999",
    "a key that is none": b"? {a: b}\n: c",
    "two documents": b"a: 1\n---\nb: 2",
    "bytes": b"\xff\xfe\x00",
}


@pytest.mark.parametrize("body", YAMLS.values(), ids=YAMLS)
async def test_yaml(api: Any, body: bytes) -> None:
    answer = await api.post(CONFIGS, body, content_type="application/yaml")
    assert 400 <= answer.status < 500
    assert len(answer.body) < 50_000


def test_what_aliases_bring_in_is_counted() -> None:
    with pytest.raises(ApiStatusError, match="excessive aliasing"):
        read_document(bomb(9), "application/yaml")
    fits = b"a: &a [1, 2, 3]\nb: [*a, *a]\nc: &c {x: 1, y: 2}\nd: {<<: *c, y: 3}\ne: {y: 4, <<: [{y: 5, z: 6}, *c]}"
    document = read_document(fits, "application/yaml")
    assert document.duplicates == []
    assert document.value["b"] == [[1, 2, 3], [1, 2, 3]] and document.value["d"] == {"x": 1, "y": 3}
    assert document.value["e"] == {"y": 4, "z": 6, "x": 1}
    assert document.value["b"][0] is not document.value["b"][1], "what is changed at one place stays at the other"
    many = b"a: &a 1\nb: [" + b"*a, " * MAX_ALIASED
    assert read_document(many + b"]", "application/yaml").value["b"][-1] == 1
    with pytest.raises(ApiStatusError, match="excessive aliasing"):
        read_document(many + b"*a]", "application/yaml")


def test_yaml_is_read_as_kubernetes_does() -> None:
    body = b"a: 22:22\nb: 2026-01-01\nc: yes\nd: 0x10\ne: ~\n1: x\ntrue: y\nf: !!str 7\ng: '8'\n"
    body += b"h: {i: 1, i: 2}\nj: [{k: 1, k: 2}]"
    document = read_document(body, "application/yaml")
    assert document.value == {
        "a": "22:22", "b": "2026-01-01", "c": True, "d": 16, "e": None, "1": "x", "true": "y", "f": "7", "g": "8",
        "h": {"i": 2}, "j": [{"k": 2}],
    }  # fmt: skip
    assert document.duplicates == ["h.i", "j[0].k"]


def config(**members: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, **members}


def pod(**container: Any) -> bytes:
    spec = {"containers": [{"name": "a", "image": "b", **container}]}
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": spec}).encode()


def fields(value: bytes) -> bytes:
    head = b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","managedFields":[{"fieldsV1":'
    return head + value + b"}]}}"


JSONS = {
    "nested": b"[" * 100_000,
    "nested and closed": b"[" * 500 + b"]" * 500,
    "nested with a duplicate": b'{"a":1,"a":' + b"[" * 900 + b"]" * 900 + b"}",
    "nested where all is free": fields(b'{"a":' * 500 + b"1" + b"}" * 501),
    "a number beyond doubles": b'{"a":1e400}',
    "no number": b'{"a":NaN}',
    "a number of 10,000 digits": b'{"a":' + b"9" * 10_000 + b"}",
    "a whole number beyond 64 bits": pod(ports=[{"containerPort": 10**30}]),
    "and where all is free": fields(b'{"a":[9999999999999999999999]}'),
    "an exponent": pod(resources={"limits": {"cpu": "1e999999999"}}),
    "digits": pod(resources={"limits": {"cpu": "1" * 100_000 + "x"}}),
    "digits of a number": pod(resources={"limits": {"cpu": 10**4000}}),
    "a port's name": pod(ports=[{"containerPort": 1, "name": "a" * 1000 + "_"}]),
    "labels": json.dumps(config(metadata={"name": "x", "labels": {"a" * 100_000 + "!": "b" * 100_000 + "!"}})).encode(),
    "names": json.dumps(config(metadata={"name": "a-" * 50_000})).encode(),
    "unknown fields": json.dumps(config(**{f"f{each}": 1 for each in range(100_000)})).encode(),
}


@pytest.mark.parametrize("body", JSONS.values(), ids=JSONS)
async def test_json(api: Any, body: bytes) -> None:
    answer = await api.post(PODS if b'"Pod"' in body else f"{CONFIGS}?fieldValidation=Strict", body)
    assert 400 <= answer.status < 500, answer.body[:300]
    assert len(answer.body) < 1_000_000


def test_documents_are_deep_at_most_so_far() -> None:
    for body in (b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, b"- " * MAX_DEPTH):
        for media_type in ("application/yaml", "application/json")[: 1 + body.startswith(b"[")]:
            read_document(body, media_type)
            with pytest.raises(ApiStatusError, match="nested too deeply"):
                read_document(b"[" + body + b"]" if body.startswith(b"[") else b"- " + body, media_type)


@pytest.mark.parametrize(
    ("body", "duplicates"),
    [
        (b'{"a":1,"b":2}', []),
        (b'{"a":1,"a":2}', ["a"]),
        (b'{"a" :1,"a"\n:2}', ["a"]),
        (b'{"a\\\\":1,"a\\\\":2}', ["a\\"]),
        (b'{"a\\u005c":1,"a\\\\":2}', ["a\\"]),
        (b'{"a\\"":1,"\\u0061\\"":2,"c":"x\\":"}', ['a"']),
        (b'{"a":"\\u0022:","b" : "\\":","c":{"d":1,"d":2}}', ["c.d"]),
        (b'{"a":"x :\\" : \\\\","b":[{"c": 1 , "\\u0063" : 99999999999999999999}]}', ["b[0].c"]),
        (b'{"a":99999999999999999999,"b":{"c":{}},"d":"\\\\\\":"}', []),
    ],
)
def test_a_name_given_twice_is_found_however_it_is_written(body: bytes, duplicates: list[str]) -> None:
    assert read_document(body, "application/json").duplicates == duplicates


def length(data: bytes) -> bytes:
    size, out = len(data), b""
    while size > 0x7F:
        out, size = out + bytes([size & 0x7F | 0x80]), size >> 7
    return out + bytes([size]) + data


def envelope(kind: str, body: bytes) -> bytes:
    return MAGIC + b"\x0a" + length(b"\x0a\x02v1\x12" + length(kind.encode())) + b"\x12" + length(body)


PROTOBUFS = {
    "nothing": MAGIC,
    "cut off": MAGIC + b"\x0a\xff\xff\xff\xff\x0f",
    "an unknown wire type": envelope("Pod", b"\x0b\x0b\x0c"),
    "a number where a message belongs": envelope("Pod", b"\x08\x01"),
    "a message where a number belongs": envelope("Pod", b"\x12" + length(b"\x22" + length(b"x"))),
    "not UTF-8": envelope("ConfigMap", b"\x0a" + length(b"\x0a" + length(b"\xff\xfe"))),
    "a time beyond the calendar": envelope(
        "Pod", b"\x0a" + length(b"\x42" + length(b"\x08\xff\xff\xff\xff\xff\xff\xff\x7f"))
    ),
    "free JSON, nested": envelope(
        "Pod", b"\x0a" + length(b"\x8a\x01" + length(b"\x3a" + length(b"\x0a" + length(b"[" * 5000))))
    ),
    "a double of four bytes": envelope("Pod", b"\x0d" + struct.pack("<f", 1.0)),
}


@pytest.mark.parametrize("body", PROTOBUFS.values(), ids=PROTOBUFS)
async def test_protobuf(api: Any, body: bytes) -> None:
    answer = await api.post(PODS, body, content_type="application/vnd.kubernetes.protobuf")
    assert 400 <= answer.status < 500, answer.body[:300]


async def patched(api: Any, operations: Any) -> Any:
    await api.post(CONFIGS, config(data={"a": "b"}))
    return await api.patch(f"{CONFIGS}/x", operations, "json-patch+json")


PATCHES = {
    "copies of copies": [{"op": "copy", "from": "/data", "path": f"/data/{each}"} for each in range(60)],
    "a long index": [{"op": "add", "path": "/l", "value": [1]}, {"op": "remove", "path": "/l/" + "9" * 10_000}],
    "ever deeper": [{"op": "add", "path": "/metadata/annotations" + "/x" * each, "value": {}} for each in range(700)],
    "a nested value": [{"op": "add", "path": "/data", "value": json.loads("[" * 190 + "]" * 190)}],
    "too many": [{"op": "test", "path": "/data/a", "value": "b"}] * 10_001,
    "a number": [{"op": "add", "path": "/data/a", "value": 10**30}],
}


@pytest.mark.parametrize("operations", PATCHES.values(), ids=PATCHES)
async def test_json_patches(api: Any, operations: Any) -> None:
    answer = await patched(api, operations)
    assert answer.status in (400, 413, 422), answer.body[:300]


def test_copies_of_a_patch_have_a_budget() -> None:
    """And shifting a long array again and again has one too."""
    document = {"a": "x" * (MAX_COPIED_BYTES // 4)}
    copies = [{"op": "copy", "from": "/a", "path": f"/b{each}"} for each in range(4)]
    assert len(json_patch(document, copies[:3])) == 4
    with pytest.raises(PatchConflict, match="accumulated size increase of copy"):
        json_patch(document, copies)
    with pytest.raises(PatchConflict, match="too many elements"):
        json_patch([0] * 100_000, [{"op": "remove", "path": "/0"}] * 10_000)


@pytest.mark.parametrize(
    "query",
    [
        "labelSelector=" + "a%20in%20(" + "b," * 20_000,
        "labelSelector=" + "a," * 20_000 + "!",
        "labelSelector=" + "(" * 40_000,
        "labelSelector=a>" + "9" * 10_000,
        "fieldSelector=" + "," * 40_000,
        "limit=" + "9" * 10_000,
        "resourceVersion=" + "9" * 10_000,
        "timeoutSeconds=" + "9" * 10_000 + "&watch=true",
        "continue=" + "9" * 10_000,
    ],
)
async def test_parameters(api: Any, query: str) -> None:
    answer = await api.get(f"{CONFIGS}?{query}")
    assert 400 <= answer.status < 500, answer.body[:300]


def test_patterns_take_no_second_look() -> None:
    """Quadratic or worse, each of these would take hours."""
    assert port_name("a" * 1_000_000 + "_")
    for text in ("1" * 1_000_000 + "x", "1e" + "9" * 1_000_000, "." * 1_000_000):
        with pytest.raises(quantity.QuantityError):
            quantity.parse(text)
    for text in ("a" * 1_000_000 + "!", "a in (" + "b," * 100_000, "a," * 100_000 + ",", "a" + " " * 1_000_000 + "x"):
        with pytest.raises(selectors.SelectorError):
            selectors.parse_label_selector(text)
    many = selectors.parse_label_selector("a in (" + ",".join(f"v{each}" for each in range(50_000)) + ")")
    assert not any(many.matches({"a": f"w{each}"}) for each in range(10_000))
