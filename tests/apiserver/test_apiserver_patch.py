"""Patches: the algorithms on plain data, then through the API."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lightkube.models.core_v1 import Pod
from lightkube.resources.apps_v1 import Deployment

from apiserver.patch.json_patch import PatchConflict, PatchError, json_patch, merge_patch
from apiserver.patch.strategic import strategic_patch
from apiserver.schema.node import of_class

NS = "/api/v1/namespaces/default"
APPS = "/apis/apps/v1/namespaces/default"

JSON_PATCHES: list[tuple[Any, list[dict[str, Any]], Any]] = [
    ({"a": 1}, [{"op": "add", "path": "/b", "value": 2}], {"a": 1, "b": 2}),
    ({"a": [1, 3]}, [{"op": "add", "path": "/a/1", "value": 2}], {"a": [1, 2, 3]}),
    ({"a": [1]}, [{"op": "add", "path": "/a/-", "value": 2}], {"a": [1, 2]}),
    ({"a": 1, "b": 2}, [{"op": "remove", "path": "/a"}], {"b": 2}),
    ({"a": [1, 2, 3]}, [{"op": "remove", "path": "/a/1"}], {"a": [1, 3]}),
    ({"a": 1}, [{"op": "replace", "path": "/a", "value": [2]}], {"a": [2]}),
    ({"a": {"b": 1}, "c": {}}, [{"op": "move", "from": "/a/b", "path": "/c/d"}], {"a": {}, "c": {"d": 1}}),
    ({"a": [1]}, [{"op": "copy", "from": "/a", "path": "/b"}], {"a": [1], "b": [1]}),
    ({"a/b": 1, "m~n": 2}, [{"op": "replace", "path": "/a~1b", "value": 3}], {"a/b": 3, "m~n": 2}),
    ({"m~n": 2}, [{"op": "remove", "path": "/m~0n"}], {}),
    ({"a": 1}, [{"op": "test", "path": "/a", "value": 1}, {"op": "remove", "path": "/a"}], {}),
    ({"a": 1}, [{"op": "add", "path": "", "value": {"b": 1}}], {"b": 1}),
]


@pytest.mark.parametrize(("document", "operations", "expected"), JSON_PATCHES)
def test_json_patch(document, operations, expected):
    before = copy.deepcopy(document)
    assert json_patch(document, operations) == expected
    assert document == before


@pytest.mark.parametrize(
    ("operations", "error"),
    [
        ({}, PatchError),
        ([1], PatchError),
        ([{"op": "fly", "path": "/a"}], PatchError),
        ([{"op": "add", "path": "/a"}], PatchError),
        ([{"op": "add", "path": "a", "value": 1}], PatchError),
        ([{"op": "move", "path": "/a"}], PatchError),
        ([{"op": "move", "from": "/a", "path": "/a/b"}], PatchError),
        ([{"op": "remove", "path": "/x"}], PatchConflict),
        ([{"op": "replace", "path": "/x", "value": 1}], PatchConflict),
        ([{"op": "add", "path": "/x/y", "value": 1}], PatchConflict),
        ([{"op": "add", "path": "/l/5", "value": 1}], PatchConflict),
        ([{"op": "add", "path": "/l/01", "value": 1}], PatchConflict),
        ([{"op": "test", "path": "/a", "value": True}], PatchConflict),
        ([{"op": "add", "path": "/a", "value": 1}] * 10_001, PatchError),
    ],
)
def test_json_patches_that_cannot_be(operations, error):
    with pytest.raises(error):
        json_patch({"a": 1, "l": [1]}, operations)


# RFC 7386, appendix A.
@pytest.mark.parametrize(
    ("document", "patch", "expected"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch(document, patch, expected):
    assert merge_patch(document, patch) == expected


values = st.recursive(
    st.none() | st.booleans() | st.integers(0, 5) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=2), inner, max_size=3),
    max_leaves=12,
)


@given(values, values)
def test_a_merge_patch_applied_twice_changes_nothing_more(document, patch):
    once = merge_patch(document, patch)
    assert merge_patch(once, patch) == once


@given(st.dictionaries(st.text("ab/~", max_size=3), values, max_size=4))
def test_any_member_can_be_removed_and_added_back(document):
    for key, value in document.items():
        path = "/" + key.replace("~", "~0").replace("/", "~1")
        operations = [{"op": "remove", "path": path}, {"op": "add", "path": path, "value": value}]
        assert json_patch(document, operations) == document


def containers(*items: Any) -> dict[str, Any]:
    return {"spec": {"containers": list(items)}}


WEB, SIDE = {"name": "web", "image": "a"}, {"name": "side", "image": "b"}
STRATEGIC: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ("an element by key", containers(WEB, SIDE), containers({"name": "side", "image": "c"}),
     containers(WEB, {"name": "side", "image": "c"})),
    ("a new element", containers(WEB), containers(SIDE), containers(WEB, SIDE)),
    ("delete an element", containers(WEB, SIDE), containers({"name": "web", "$patch": "delete"}), containers(SIDE)),
    ("replace the list", containers(WEB, SIDE), containers({"$patch": "replace"}, {"name": "x"}),
     containers({"name": "x"})),
    ("replace a map", {"spec": {"securityContext": {"runAsUser": 1, "fsGroup": 2}}},
     {"spec": {"securityContext": {"$patch": "replace", "fsGroup": 3}}}, {"spec": {"securityContext": {"fsGroup": 3}}}),
    ("null removes", {"spec": {"hostname": "a", "nodeName": "b"}}, {"spec": {"hostname": None}},
     {"spec": {"nodeName": "b"}}),
    ("an atomic list is replaced", {"spec": {"tolerations": [{"key": "a"}]}}, {"spec": {"tolerations": [{"key": "b"}]}},
     {"spec": {"tolerations": [{"key": "b"}]}}),
    ("a set of values merges", {"metadata": {"finalizers": ["a/a"]}}, {"metadata": {"finalizers": ["b/b", "a/a"]}},
     {"metadata": {"finalizers": ["a/a", "b/b"]}}),
    ("values leave a set", {"metadata": {"finalizers": ["a", "b"]}},
     {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}}, {"metadata": {"finalizers": ["b"]}}),
    ("a given order", containers(WEB, SIDE),
     {"spec": {"$setElementOrder/containers": [{"name": "side"}, {"name": "web"}]}}, containers(SIDE, WEB)),
    ("a new element before others", containers(WEB),
     {"spec": {"$setElementOrder/containers": [{"name": "side"}, {"name": "web"}], "containers": [SIDE]}},
     containers(SIDE, WEB)),
    ("the server's own elements stay", containers(WEB, {"name": "injected"}),
     {"spec": {"$setElementOrder/containers": [{"name": "web"}, {"name": "side"}], "containers": [SIDE]}},
     containers(WEB, SIDE, {"name": "injected"})),
    ("retain only some keys", {"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}},
     {"spec": {"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}]}},
     {"spec": {"volumes": [{"name": "v", "hostPath": {"path": "/x"}}]}}),
    ("nested lists have keys of their own",
     containers(WEB | {"env": [{"name": "A", "value": "1"}], "ports": [{"containerPort": 80}]}),
     containers({"name": "web", "env": [{"name": "B", "value": "2"}],
                 "ports": [{"containerPort": 80, "name": "http"}]}),
     containers(WEB | {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                       "ports": [{"containerPort": 80, "name": "http"}]})),
]  # fmt: skip


@pytest.mark.parametrize(
    ("document", "patch", "expected"), [each[1:] for each in STRATEGIC], ids=[e[0] for e in STRATEGIC]
)
def test_strategic_patch(document, patch, expected):
    before = copy.deepcopy((document, patch))
    assert strategic_patch(document, patch, of_class(Pod)) == expected
    assert (document, patch) == before


@pytest.mark.parametrize(
    "patch",
    [
        containers({"image": "x"}),
        containers("x"),
        {"spec": {"$patch": "explode"}},
        {"spec": {"$retainKeys": ["a"], "hostname": "x"}},
    ],
)
def test_strategic_patches_that_cannot_be(patch):
    with pytest.raises(PatchError):
        strategic_patch(containers(WEB), patch, of_class(Pod))


def test_templates_of_workloads_merge_by_key_too():
    document = {"spec": {"template": containers(WEB)}}
    patched = strategic_patch(document, {"spec": {"template": containers(SIDE)}}, of_class(Deployment))
    assert patched == {"spec": {"template": containers(WEB, SIDE)}}


# --- through the API --------------------------------------------------------------------------------------------


async def make(api: Any) -> None:
    await api.post(f"{NS}/configmaps", {"metadata": {"name": "a"}, "data": {"x": "1"}})


@pytest.mark.parametrize(
    ("kind", "patch", "status", "words"),
    [
        ("merge-patch+json", b"{", 400, "json parse error"),
        ("merge-patch+json", [1], 400, "a merge patch is an object"),
        ("merge-patch+json", {"data": {"x": 1}}, 400, "data.x: expected str, got int"),
        ("merge-patch+json", {"metadata": {"name": "b"}}, 422, "metadata.name: Invalid value"),
        ("merge-patch+json", {"metadata": {"resourceVersion": "1"}}, 409, "the object has been modified"),
        ("json-patch+json", {"op": "add"}, 400, "a JSON patch is an array"),
        ("json-patch+json", [{"op": "test", "path": "/data/x", "value": "2"}], 422, "testing value /data/x failed"),
        ("json-patch+json", [{"op": "remove", "path": "/data/y"}], 422, "missing value"),
        ("json-patch+json", [{"op": "replace", "path": "", "value": 1}], 400, "expected object"),
        ("json", {"data": {}}, 415, "accepted media types include"),
    ],
)
async def test_bad_patches_change_nothing(api, kind, patch, status, words):
    await make(api)
    before = (await api.get(f"{NS}/configmaps/a")).json
    answer = await api.patch(f"{NS}/configmaps/a", patch, kind)
    assert (answer.status, words in answer.message) == (status, True), answer.body
    assert (await api.get(f"{NS}/configmaps/a")).json == before


async def test_a_patch_of_nothing_is_not_found(api):
    assert (await api.patch(f"{NS}/configmaps/nothing", {})).status == 404


async def test_concurrent_patches_all_count(api):
    await make(api)
    patches = [api.patch(f"{NS}/configmaps/a", {"data": {f"k{n}": "v"}}) for n in range(20)]
    answers = await asyncio.gather(*patches)
    assert {each.status for each in answers} == {200}
    assert len((await api.get(f"{NS}/configmaps/a")).json["data"]) == 21


async def test_unknown_fields_of_a_patch_are_warned_about(api):
    await make(api)
    answer = await api.patch(f"{NS}/configmaps/a", {"foo": 1})
    assert answer.warnings == [r'299 - "unknown field \"foo\""']


async def test_scale(api):
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "a", "image": "x"}]}}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    await api.post(f"{APPS}/deployments", {"metadata": {"name": "web"}, "spec": spec})
    scale = (await api.get(f"{APPS}/deployments/web/scale")).json
    assert (scale["kind"], scale["spec"], scale["status"]) == (
        "Scale",
        {"replicas": 1},
        {"replicas": 0, "selector": "a=b"},
    )
    scale["spec"]["replicas"] = 4
    assert (await api.put(f"{APPS}/deployments/web/scale", scale)).json["spec"] == {"replicas": 4}
    assert (await api.put(f"{APPS}/deployments/web/scale", scale)).status == 409
    patched = await api.patch(f"{APPS}/deployments/web/scale", {"spec": {"replicas": 0}}, "merge-patch+json")
    assert patched.json["spec"].get("replicas", 0) == 0
    refused = await api.patch(f"{APPS}/deployments/web/scale", {"spec": {"replicas": -1}}, "merge-patch+json")
    assert refused.status == 422 and "must be greater than or equal to 0" in refused.message
    assert (await api.get(f"{APPS}/deployments/web")).json["spec"]["replicas"] == 0


async def test_binding(api):
    spec = {"containers": [{"name": "a", "image": "x"}]}
    await api.post(f"{NS}/pods", {"metadata": {"name": "p"}, "spec": spec})
    binding = {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}}
    assert (await api.post(f"{NS}/pods/p/binding", binding)).status == 201
    pod = (await api.get(f"{NS}/pods/p")).json
    assert pod["spec"]["nodeName"] == "n1"
    assert [(each["type"], each["status"]) for each in pod["status"]["conditions"]] == [("PodScheduled", "True")]
    again = await api.post(f"{NS}/pods/p/binding", binding)
    assert again.status == 409 and 'already assigned to node "n1"' in again.message
