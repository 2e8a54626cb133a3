from __future__ import annotations

import json
from typing import Any

import pytest

from cli.threeway import ANNOTATION, annotated, is_strategic, last_applied, patch

Json = dict[str, Any]


def pod(*containers: Json, **spec: Any) -> Json:
    return {"spec": {"template": {"spec": {"containers": list(containers), **spec}}}}


def below(changes: Json) -> Json:
    return {"spec": {"template": {"spec": changes}}}


WEB = {"name": "web", "image": "web:1"}
SIDE = {"name": "side", "image": "side:1"}
DEFAULTED = {**WEB, "imagePullPolicy": "IfNotPresent", "terminationMessagePath": "/dev/termination-log"}


@pytest.mark.parametrize(
    ("title", "original", "modified", "current", "expected"),
    [
        ("nothing to do", {"a": 1}, {"a": 1}, {"a": 1, "default": True}, {}),
        ("a field is set", {}, {"a": 1}, {}, {"a": 1}),
        ("a field is changed", {"a": 1}, {"a": 2}, {"a": 1}, {"a": 2}),
        ("somebody else's change is undone", {"a": 1}, {"a": 1}, {"a": 5}, {"a": 1}),
        ("a field is dropped", {"a": 1, "b": 2}, {"a": 1}, {"a": 1, "b": 2}, {"b": None}),
        ("a dropped field is gone already", {"a": 1, "b": 2}, {"a": 1}, {"a": 1}, {}),
        ("somebody else's field stays", {"a": 1}, {"a": 1}, {"a": 1, "b": 2}, {}),
        ("null removes", {}, {"a": None}, {"a": 1}, {"a": None}),
        ("null where nothing is", {}, {"a": None}, {}, {}),
        ("maps are merged", {}, {"m": {"a": 1}}, {"m": {"a": 1, "b": 2}}, {}),
        ("inside maps", {"m": {"a": 1, "b": 2}}, {"m": {"a": 3}}, {"m": {"a": 1, "b": 2}}, {"m": {"a": 3, "b": None}}),
        ("a map becomes a value", {}, {"m": 1}, {"m": {"a": 1}}, {"m": 1}),
        ("true is not 1", {}, {"a": True}, {"a": 1}, {"a": True}),
        ("1 is not '1'", {}, {"a": 1}, {"a": "1"}, {"a": 1}),
        ("other lists are replaced", {}, {"args": ["a", "b"]}, {"args": ["a"]}, {"args": ["a", "b"]}),
        ("defaults of a container stay", pod(WEB), pod(WEB), pod(DEFAULTED), {}),
        (
            "a container's image",
            pod(WEB),
            pod({**WEB, "image": "web:2"}),
            pod(DEFAULTED),
            below(
                {"containers": [{"name": "web", "image": "web:2"}], "$setElementOrder/containers": [{"name": "web"}]}
            ),
        ),
        (
            "a container more",
            pod(WEB),
            pod(WEB, SIDE),
            pod(DEFAULTED),
            below({"containers": [SIDE], "$setElementOrder/containers": [{"name": "web"}, {"name": "side"}]}),
        ),
        (
            "a container less",
            pod(WEB, SIDE),
            pod(WEB),
            pod(DEFAULTED, SIDE),
            below(
                {
                    "containers": [{"$patch": "delete", "name": "side"}],
                    "$setElementOrder/containers": [{"name": "web"}],
                }
            ),
        ),
        ("somebody else's container stays", pod(WEB), pod(WEB), pod(DEFAULTED, SIDE), {}),
        (
            "containers in another order",
            pod(WEB, SIDE),
            pod(SIDE, WEB),
            pod(WEB, SIDE),
            below({"$setElementOrder/containers": [{"name": "side"}, {"name": "web"}]}),
        ),
        (
            "another kind of volume drops the old one",
            pod(volumes=[{"name": "v", "emptyDir": {}}]),
            pod(volumes=[{"name": "v", "hostPath": {"path": "/x"}}]),
            pod(volumes=[{"name": "v", "emptyDir": {}}]),
            below(
                {
                    "volumes": [
                        {
                            "name": "v",
                            "emptyDir": None,
                            "hostPath": {"path": "/x"},
                            "$retainKeys": ["hostPath", "name"],
                        }
                    ],
                    "$setElementOrder/volumes": [{"name": "v"}],
                }
            ),
        ),
        (
            "another strategy drops the parameters nobody applied",
            {"spec": {}},
            {"spec": {"strategy": {"type": "Recreate"}}},
            {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}},
            {"spec": {"strategy": {"type": "Recreate", "$retainKeys": ["type"]}}},
        ),
        (
            "one port over two protocols cannot be merged",
            {},
            {"spec": {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}},
            {"spec": {"ports": [{"port": 53, "protocol": "UDP"}]}},
            {
                "spec": {
                    "ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}, {"$patch": "replace"}]
                }
            },
        ),
        (
            "one port over two protocols, as it is",
            {},
            {"spec": {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}},
            {"spec": {"ports": [{"port": 53, "protocol": "UDP", "nodePort": 1}, {"port": 53, "protocol": "TCP"}]}},
            {},
        ),
        (
            "finalizers are a set",
            {"metadata": {"finalizers": ["a"]}},
            {"metadata": {"finalizers": ["b"]}},
            {"metadata": {"finalizers": ["a", "c"]}},
            {
                "metadata": {
                    "finalizers": ["b"],
                    "$deleteFromPrimitiveList/finalizers": ["a"],
                    "$setElementOrder/finalizers": ["b"],
                }
            },
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_strategic_patch(title: str, original: Json, modified: Json, current: Json, expected: Json) -> None:
    assert patch(original, modified, current, strategic=True) == expected


def test_a_merge_patch_replaces_lists() -> None:
    wanted = pod({**WEB, "image": "web:2"})
    assert patch(pod(WEB), wanted, pod(DEFAULTED), strategic=False) == wanted


def test_without_a_last_applied_nothing_is_dropped() -> None:
    assert patch(None, {"a": 1}, {"a": 1, "b": 2}, strategic=True) == {}


@pytest.mark.parametrize(
    ("group", "strategic"), [("", True), ("apps", True), ("discovery.k8s.io", True), ("example.com", False)]
)
def test_custom_resources_get_merge_patches(group: str, strategic: bool) -> None:
    assert is_strategic(group) is strategic


def test_the_annotation_is_what_kubectl_writes() -> None:
    obj = {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "metadata": {"name": "x", "namespace": "default"},
        "data": {"a": "<b> & ü"},
    }
    expected = (
        '{"apiVersion":"v1","data":{"a":"\\u003cb\\u003e \\u0026 ü"},"kind":"ConfigMap",'
        '"metadata":{"annotations":{},"name":"x","namespace":"default"}}\n'
    )
    once = annotated(obj)
    assert once["metadata"]["annotations"] == {ANNOTATION: expected}
    assert annotated(once) == once
    assert last_applied(once) == json.loads(expected)
    assert "annotations" not in obj["metadata"]


@pytest.mark.parametrize("text", ["", "{", "[]", None])
def test_an_annotation_that_cannot_be_read_remembers_nothing(text: str | None) -> None:
    assert last_applied({"metadata": {"annotations": {ANNOTATION: text}}}) is None
