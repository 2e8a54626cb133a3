"""Server-side apply: who owns what, what goes when nobody wants it, conflicts."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from lightkube.resources.core_v1 import Pod

from apiserver.codec import shape_of
from apiserver.server_side_apply import ApplyConflict, apply, fields_of

NS = "/api/v1/namespaces/default"


def applied(live: dict[str, Any], config: dict[str, Any], manager: str = "me", **options: Any) -> dict[str, Any]:
    return apply(live, config, shape_of(Pod), manager=manager, api_version="v1", now="now", **options)


def without_managers(document: dict[str, Any]) -> dict[str, Any]:
    document["metadata"].pop("managedFields")
    return document


def test_a_field_set_knows_keyed_lists_and_atomic_ones():
    config = {
        "kind": "Pod",
        "metadata": {"name": "x", "labels": {"a": "b"}, "finalizers": ["e/f"]},
        "spec": {"containers": [{"name": "web", "image": "i", "args": ["a"]}], "tolerations": [{"key": "k"}]},
    }
    web = ("f:spec", "f:containers", 'k:{"name":"web"}')
    assert fields_of(config, shape_of(Pod)) == {
        ("f:metadata", "f:labels", "f:a"),
        ("f:metadata", "f:finalizers", 'v:"e/f"'),
        (*web, "."),
        (*web, "f:name"),
        (*web, "f:image"),
        (*web, "f:args"),
        ("f:spec", "f:tolerations"),
    }


def test_what_a_manager_no_longer_names_goes():
    live = applied({}, {"metadata": {"labels": {"a": "1", "b": "2"}}, "spec": {"containers": [{"name": "x"}]}})
    live["metadata"]["labels"]["other"] = "3"
    live["spec"]["containers"].append({"name": "injected"})
    result = applied(live, {"metadata": {"labels": {"a": "1"}}})
    assert without_managers(result) == {
        "metadata": {"labels": {"a": "1", "other": "3"}},
        "spec": {"containers": [{"name": "injected"}]},
    }


def test_what_another_manager_wants_too_stays():
    live = applied({}, {"metadata": {"labels": {"a": "1"}}})
    live = applied(live, {"metadata": {"labels": {"a": "1"}}}, "other")
    live = applied(live, {"metadata": {}})
    assert live["metadata"]["labels"] == {"a": "1"}
    assert [each["manager"] for each in live["metadata"]["managedFields"]] == ["other"]


def test_other_values_conflict_unless_forced():
    live = applied({}, {"spec": {"containers": [{"name": "web", "image": "a"}]}})
    config = {"spec": {"containers": [{"name": "web", "image": "b"}]}}
    with pytest.raises(ApplyConflict) as conflict:
        applied(live, config, "other")
    message = 'Apply failed with 1 conflict: conflict with "me": .spec.containers[name="web"].image'
    assert conflict.value.message == message
    forced = applied(live, config, "other", force=True)
    assert forced["spec"]["containers"] == [{"name": "web", "image": "b"}]
    back = applied(forced, {"spec": {"containers": [{"name": "web"}]}})
    assert back["spec"]["containers"][0]["image"] == "b"


def test_applying_twice_changes_nothing():
    config = {"spec": {"containers": [{"name": "web", "ports": [{"containerPort": 80}]}]}}
    live = applied({}, config)
    live["spec"]["containers"][0]["ports"][0]["protocol"] = "TCP"
    assert applied(live, config) == live


async def send(api: Any, config: dict[str, Any], query: str = "fieldManager=me") -> Any:
    headers = {"content_type": "application/apply-patch+yaml"}
    return await api.call("PATCH", f"{NS}/configmaps/a?{query}", yaml.safe_dump(config).encode(), **headers)


CONFIG = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": "1"}}


async def test_through_the_api(api):
    made = await send(api, CONFIG)
    assert made.status == 201 and made.json["metadata"]["managedFields"][0]["manager"] == "me"
    assert (await send(api, CONFIG)).json == made.json
    refused = await send(api, CONFIG | {"data": {"x": "2"}}, "fieldManager=other")
    assert (refused.status, refused.json["reason"]) == (409, "Conflict")
    assert refused.json["details"]["causes"][0]["field"] == ".data.x"
    forced = await send(api, CONFIG | {"data": {"x": "2"}}, "fieldManager=other&force=true")
    assert forced.json["data"] == {"x": "2"}


async def test_other_writers_leave_the_record_alone(api):
    await send(api, CONFIG)
    patched = await api.patch(f"{NS}/configmaps/a", {"data": {"y": "2"}, "metadata": {"managedFields": []}})
    assert patched.json["metadata"]["managedFields"][0]["manager"] == "me"


@pytest.mark.parametrize(
    ("configuration", "query", "status", "words"),
    [
        (CONFIG, "", 422, "fieldManager: Required value: is required for apply patch"),
        ([], "fieldManager=me", 400, "an apply configuration is an object"),
        ({"metadata": {"name": "a"}}, "fieldManager=me", 400, "must name its apiVersion and kind"),
        (CONFIG | {"metadata": {"name": "b"}}, "fieldManager=me", 400, "does not match the name on the URL"),
        (CONFIG | {"data": {"x": 1}}, "fieldManager=me", 400, "data.x: expected str, got int"),
    ],
)
async def test_configurations_that_make_no_sense(api, configuration, query, status, words):
    answer = await send(api, configuration, query)
    assert (answer.status, words in answer.message) == (status, True), answer.body
    assert (await api.get(f"{NS}/configmaps/a")).status == 404
