"""managedFields and server-side apply: who owns what, what goes when nobody wants it, conflicts."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
import yaml

from apiserver.patch import managed_fields, typed
from apiserver.patch.field_sets import fields_of, minus, union
from apiserver.patch.managed_fields import ANCIENT, ApplyConflict, Writer, applied, updated
from apiserver.schema import node

NS = "/api/v1/namespaces/default"
APPS = "/apis/apps/v1/namespaces/default"
POD = node.of("v1", "Pod")


def apply(live: dict[str, Any], config: dict[str, Any], manager: str = "me", now: str = "1", **options: Any) -> Any:
    before = copy.deepcopy((live, config))
    result = applied(live, config, POD, Writer(manager, "v1", now), **options)
    assert (live, config) == before, "nothing given is changed"
    return result


def write(live: dict[str, Any], new: dict[str, Any], manager: str = "editor", now: str = "1", sub: str = "") -> Any:
    """An update, as the store makes it."""
    entries = updated(live, new, POD, Writer(manager, "v1", now, sub))
    return {**new, "metadata": {**new.get("metadata", {}), "managedFields": entries}}


def plain(document: dict[str, Any]) -> dict[str, Any]:
    return {**document, "metadata": {k: v for k, v in document["metadata"].items() if k != "managedFields"}}


def owners(document: dict[str, Any]) -> dict[str, Any]:
    return {each["manager"]: each["fieldsV1"] for each in document["metadata"]["managedFields"]}


def test_a_field_set_knows_keyed_lists_sets_and_atomic_ones():
    config = {
        "metadata": {"labels": {"a": "b"}, "finalizers": ["e/f"]},
        "spec": {
            "containers": [{"name": "web", "args": ["a"], "ports": [{"containerPort": 80}], "resources": {}}],
            "tolerations": [{"key": "k"}],
            "nodeSelector": {"a": "b"},
        },
    }
    assert fields_of(config, POD) == {
        "f:metadata": {"f:labels": {"f:a": {}}, "f:finalizers": {'v:"e/f"': {}}},
        "f:spec": {
            "f:containers": {
                'k:{"name":"web"}': {
                    ".": {}, "f:name": {}, "f:args": {}, "f:resources": {},
                    "f:ports": {'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}}},
                },
            },
            "f:tolerations": {},
            "f:nodeSelector": {},
        },
    }  # fmt: skip


def test_sets():
    one, other = {"f:a": {".": {}, "f:b": {}}, "f:c": {}}, {"f:a": {"f:b": {}, "f:d": {}}, "f:c": {"f:e": {}}}
    assert union(one, other) == {"f:a": {".": {}, "f:b": {}, "f:d": {}}, "f:c": {".": {}, "f:e": {}}}
    assert minus(one, other) == {"f:a": {}, "f:c": {}}
    assert minus(one, {"f:a": {}}) == {"f:a": {"f:b": {}}, "f:c": {}}


def test_every_writer_owns_what_it_writes():
    first = write({}, {"metadata": {"name": "x", "labels": {"a": "1", "b": "2"}}, "spec": {"nodeName": "n"}}, "one")
    assert owners(first) == {
        "one": {"f:metadata": {"f:labels": {".": {}, "f:a": {}, "f:b": {}}}, "f:spec": {"f:nodeName": {}}}
    }
    second = write(first, {"metadata": {"labels": {"a": "9"}}, "spec": {"nodeName": "n"}}, "two", now="2")
    assert owners(second) == {
        "one": {"f:metadata": {"f:labels": {}}, "f:spec": {"f:nodeName": {}}},
        "two": {"f:metadata": {"f:labels": {"f:a": {}}}},
    }
    same = write(second, plain(second), "three", now="3")
    assert same == second, "who changes nothing owns nothing, and no time changes"


def test_the_status_and_the_rest_are_owned_apart():
    made = apply({}, {"metadata": {"labels": {"a": "1"}}, "spec": {"nodeName": "n"}})
    status = write(made, {**plain(made), "status": {"phase": "Running"}}, "me", sub="status")
    assert [(each["operation"], each.get("subresource")) for each in status["metadata"]["managedFields"]] == [
        ("Apply", None), ("Update", "status"),
    ]  # fmt: skip
    config = {"status": {"phase": "Failed"}, "metadata": {}}
    result = applied(made, config, POD, Writer("me", "v1", "2", "status"))
    assert result["spec"] == {"nodeName": "n"} and len(result["metadata"]["managedFields"]) == 2


def test_what_a_manager_no_longer_names_goes():
    live = apply({}, {"metadata": {"labels": {"a": "1", "b": "2"}}, "spec": {"containers": [{"name": "x"}]}})
    live["spec"]["containers"][0]["imagePullPolicy"] = "Always"  # a default, which goes with what it was for
    live = write(live, {**live, "spec": {"containers": [*live["spec"]["containers"], {"name": "injected"}]}}, "other")
    live = write(live, {**live, "metadata": {**live["metadata"], "labels": {"a": "1", "b": "2", "c": "3"}}}, "other")
    result = apply(live, {"metadata": {"labels": {"a": "1"}}})
    assert plain(result) == {
        "metadata": {"labels": {"a": "1", "c": "3"}},
        "spec": {"containers": [{"name": "injected"}]},
    }


def test_what_another_manager_wants_too_stays():
    live = apply({}, {"metadata": {"labels": {"a": "1"}}})
    live = apply(live, {"metadata": {"labels": {"a": "1"}}}, "other")
    live = apply(live, {"metadata": {}})
    assert live["metadata"]["labels"] == {"a": "1"}
    assert list(owners(live)) == ["other"]


def test_other_values_conflict_unless_forced():
    live = apply({}, {"spec": {"containers": [{"name": "web", "image": "a"}]}})
    config = {"spec": {"containers": [{"name": "web", "image": "b"}]}}
    with pytest.raises(ApplyConflict) as conflict:
        apply(live, config, "other")
    message = 'Apply failed with 1 conflict: conflict with "me": .spec.containers[name="web"].image'
    assert conflict.value.message == message
    forced = apply(live, config, "other", force=True)
    assert forced["spec"]["containers"] == [{"name": "web", "image": "b"}]
    back = apply(forced, {"spec": {"containers": [{"name": "web"}]}})
    assert back["spec"]["containers"][0]["image"] == "b"


def test_a_conflict_with_an_update_says_when():
    live = write({}, {"metadata": {"labels": {"a": "1", "b": "1"}}}, "kubectl-edit", now="2026-01-01T00:00:00Z")
    with pytest.raises(ApplyConflict) as conflict:
        apply(live, {"metadata": {"labels": {"a": "2", "b": "2"}}})
    assert conflict.value.message == (
        'Apply failed with 2 conflicts: conflicts with "kubectl-edit" using v1 at 2026-01-01T00:00:00Z:\n'
        "- .metadata.labels.a\n- .metadata.labels.b"
    )


def test_applying_twice_changes_nothing():
    config = {"spec": {"containers": [{"name": "web", "ports": [{"containerPort": 80}]}]}, "metadata": {"labels": {}}}
    live = apply({}, copy.deepcopy(config))
    live["spec"]["containers"][0]["ports"][0]["protocol"] = "TCP"
    assert apply(live, config, now="2") == live


def test_many_updaters_become_one():
    live: dict[str, Any] = {}
    for each in range(15):
        labels = {**live.get("metadata", {}).get("labels", {}), f"l{each}": "x"}
        live = write(live, {"metadata": {**live.get("metadata", {}), "labels": labels}}, f"m{each}", now=f"{each:02}")
    found = owners(live)
    assert list(found) == [ANCIENT, *(f"m{each}" for each in range(6, 15))]
    assert found[ANCIENT]["f:metadata"]["f:labels"].keys() == {".", *(f"f:l{each}" for each in range(6))}


@pytest.mark.parametrize("given", [[], [{}]])
def test_entries_can_be_cleared_and_not_forged(given):
    live = write({}, {"metadata": {"labels": {"a": "1"}}})
    writer = Writer("me", "v1", "2")
    assert updated(live, live, POD, writer, given=given) == []
    forged = [{"manager": "x", "operation": "Update", "fieldsV1": {"k:nonsense": {}}}]
    assert updated(live, live, POD, writer, given=forged) == live["metadata"]["managedFields"]


def test_the_bytes_of_a_new_object_say_the_same():
    document = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "labels": {"x": "y"}},
                "spec": {"containers": [{"name": "a", "image": "b"}]}, "status": {"phase": "Pending"}}  # fmt: skip
    writer = Writer("me", "v1", "1")
    (entry,) = managed_fields.created(json.dumps(document).encode(), POD, writer)
    assert [{**entry, "fieldsV1": json.loads(bytes(entry["fieldsV1"]))}] == updated({}, document, POD, writer)


def test_kubectl_may_come_from_client_side_apply():
    """What was applied then counts as applied now: what the manifest no longer names goes."""
    config = {"metadata": {"labels": {"a": "1", "b": "2"}}, "spec": {"nodeName": "n"}}
    annotations = {managed_fields.LAST_APPLIED: json.dumps(config)}
    new = {**config, "metadata": {**config["metadata"], "annotations": annotations}}
    live = write({}, new, "kubectl-client-side-apply")
    result = apply(live, {"metadata": {"labels": {"a": "9"}}, "spec": {"nodeName": "n"}}, "kubectl")
    assert result["metadata"]["labels"] == {"a": "9"}
    assert list(owners(result)) == ["kubectl"]


DEPLOYMENT = {
    "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
    "spec": {
        "replicas": 5, "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [
            {"name": "c", "image": "i", "resources": {"limits": {"cpu": 1, "memory": "1024Mi"}}}]}},
    },
}  # fmt: skip


async def apply_to(api: Any, path: str, config: dict[str, Any], manager: str = "me", query: str = "") -> Any:
    headers = {"content_type": "application/apply-patch+yaml"}
    return await api.call("PATCH", f"{path}?fieldManager={manager}{query}", yaml.safe_dump(config).encode(), **headers)


async def test_a_scaled_deployment_stays_scaled_when_the_manifest_no_longer_says_how_many(api):
    path = f"{APPS}/deployments/web"
    made = await apply_to(api, path, DEPLOYMENT)
    assert made.status == 201, made.body
    scaled = await api.patch(f"{path}/scale?fieldManager=scaler", {"spec": {"replicas": 9}}, "merge-patch+json")
    assert scaled.status == 200, scaled.body
    refused = await apply_to(api, path, DEPLOYMENT)
    assert refused.status == 409 and '"scaler" with subresource "scale"' in refused.message, refused.body
    config = copy.deepcopy(DEPLOYMENT)
    del config["spec"]["replicas"]
    kept = await apply_to(api, path, config)
    assert kept.status == 200 and kept.json["spec"]["replicas"] == 9, kept.body
    again = await apply_to(api, path, config)
    assert again.json["metadata"] == kept.json["metadata"], "applying twice changes nothing"


async def test_the_same_amount_in_another_form_is_no_conflict(api):
    path = f"{APPS}/deployments/web"
    await apply_to(api, path, DEPLOYMENT)
    config = copy.deepcopy(DEPLOYMENT)
    config["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"] = {"cpu": "1", "memory": "1Gi"}
    both = await apply_to(api, path, config, "other")
    assert both.status == 200, both.body
    assert len(both.json["metadata"]["managedFields"]) == 2


async def test_creates_and_updates_are_owned(api):
    made = await api.post(f"{NS}/configmaps?fieldManager=me", CONFIG)
    (entry,) = made.json["metadata"]["managedFields"]
    assert entry.pop("time")
    assert entry == {
        "manager": "me", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1",
        "fieldsV1": {"f:data": {".": {}, "f:x": {}}},
    }  # fmt: skip
    replaced = await api.call(
        "PUT", f"{NS}/configmaps/a", CONFIG | {"data": {"x": "2"}}, user_agent="kubectl/v1.32.0 (linux/amd64)"
    )
    assert [each["manager"] for each in replaced.json["metadata"]["managedFields"]] == ["kubectl", "me"] or [
        each["manager"] for each in replaced.json["metadata"]["managedFields"]
    ] == ["me", "kubectl"]
    cleared = await api.patch(f"{NS}/configmaps/a", {"metadata": {"managedFields": [{}]}}, "merge-patch+json")
    assert "managedFields" not in cleared.json["metadata"]


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


@pytest.mark.parametrize(
    ("spec", "fault"),
    [
        ({"imagez": "x"}, ".spec.imagez: field not declared in schema"),
        ({"containers": [{"name": "a", "foo": 1}]}, '.spec.containers[name="a"].foo: field not declared in schema'),
        ({"tolerations": [{"foo": 1}]}, ".spec.tolerations[0].foo: field not declared in schema"),
        ({"a": 1, "b": 2}, "errors:\n  .spec.a: field not declared in schema\n  .spec.b: field not declared in schema"),
        ({"containers": [{"name": "a"}, {"name": "a"}]}, '.spec.containers: duplicate entries for key [name="a"]'),
        (
            {"containers": [{"name": "a", "ports": [{"containerPort": 80}, {"containerPort": 80, "protocol": "TCP"}]}]},
            '.spec.containers[name="a"].ports: duplicate entries for key [containerPort=80,protocol="TCP"]',
        ),
        (
            {"containers": [{"image": "a"}]},
            ".spec.containers: element 0: associative list with keys has an element that omits a key field",
        ),
    ],
)
async def test_a_configuration_that_does_not_fit_the_schema_is_refused(api: Any, spec: Any, fault: str) -> None:
    config = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": spec}
    answer = await api.patch(f"{NS}/pods/x?fieldManager=me&fieldValidation=Ignore", config, "apply-patch+yaml")
    place = "default/x; v1, Kind=Pod"
    assert (answer.status, answer.message) == (400, f"failed to create typed patch object ({place}): {fault}")


def test_what_fits_the_schema() -> None:
    spec = {
        "containers": [{"name": "a", "ports": [{"containerPort": 53}, {"containerPort": 53, "protocol": "UDP"}]}],
        "tolerations": [{"key": "k"}, {"key": "k"}],
    }
    typed.check({"metadata": {"finalizers": ["a/b", "c/d"], "labels": {"any": "thing"}}, "spec": spec}, POD)
    with pytest.raises(typed.Untypable, match=r'finalizers: duplicate entries for key \[="a/b"\]'):
        typed.check({"metadata": {"finalizers": ["a/b", "a/b"]}}, POD)


def test_what_is_remembered_of_new_objects_is_bounded():
    """A thousand ConfigMaps of a megabyte are not kept in memory for the sake of who wrote them."""
    schema = node.of("v1", "ConfigMap")
    writer = Writer("me", "v1", "1")
    for number in range(3):
        document = {"metadata": {"name": "a"}, "data": {f"k{number}": "x" * managed_fields.REMEMBERED_BYTES}}
        before = managed_fields._remembered.cache_info().currsize
        (entry,) = managed_fields.created(json.dumps(document).encode(), schema, writer)
        assert json.loads(bytes(entry["fieldsV1"])) == {"f:data": {".": {}, f"f:k{number}": {}}}
        assert managed_fields._remembered.cache_info().currsize == before
