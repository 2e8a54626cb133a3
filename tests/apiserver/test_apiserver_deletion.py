"""Deletion: grace periods, finalizers, propagation, preconditions, collections, namespaces."""

from __future__ import annotations

from typing import Any

import pytest

NS = "/api/v1/namespaces/default"
APPS = "/apis/apps/v1/namespaces/default"


async def make_pod(
    api: Any, name: str = "web", *, node: str = "", finalizers: list[str] | None = None
) -> dict[str, Any]:
    metadata = {"name": name, "labels": {"app": name}, "finalizers": finalizers or []}
    spec = {"containers": [{"name": "web", "image": "x"}], "nodeName": node}
    return (await api.post(f"{NS}/pods", {"metadata": metadata, "spec": spec})).json


async def exists(api: Any, path: str) -> bool:
    return (await api.get(path)).status == 200


async def test_an_unscheduled_pod_goes_at_once(api):
    await make_pod(api)
    assert (await api.delete(f"{NS}/pods/web")).status == 200
    assert not await exists(api, f"{NS}/pods/web")


async def test_a_running_pod_gets_its_grace_period(api):
    await make_pod(api, node="n1")
    going = (await api.delete(f"{NS}/pods/web")).json
    assert going["metadata"]["deletionGracePeriodSeconds"] == 30 and going["metadata"]["deletionTimestamp"]
    again = (await api.delete(f"{NS}/pods/web")).json
    assert again == going
    longer = (await api.delete(f"{NS}/pods/web", {"gracePeriodSeconds": 60})).json
    assert longer == going
    shorter = (await api.delete(f"{NS}/pods/web", {"gracePeriodSeconds": 5})).json
    assert shorter["metadata"]["deletionGracePeriodSeconds"] == 5
    assert shorter["metadata"]["deletionTimestamp"] < going["metadata"]["deletionTimestamp"]
    await api.delete(f"{NS}/pods/web?gracePeriodSeconds=0")
    assert not await exists(api, f"{NS}/pods/web")


async def test_a_finished_pod_needs_no_grace(api):
    made = await make_pod(api, node="n1")
    made["status"]["phase"] = "Succeeded"
    await api.put(f"{NS}/pods/web/status", made)
    await api.delete(f"{NS}/pods/web")
    assert not await exists(api, f"{NS}/pods/web")


async def test_finalizers_hold_an_object_until_the_last_is_gone(api):
    await make_pod(api, finalizers=["example.com/a", "example.com/b"])
    going = (await api.delete(f"{NS}/pods/web")).json
    assert going["metadata"]["deletionTimestamp"]
    added = await api.patch(f"{NS}/pods/web", {"metadata": {"finalizers": ["example.com/c"]}})
    assert added.status == 422 and "no new finalizers can be added" in added.message
    await api.patch(f"{NS}/pods/web", {"metadata": {"$deleteFromPrimitiveList/finalizers": ["example.com/a"]}})
    assert await exists(api, f"{NS}/pods/web")
    await api.patch(f"{NS}/pods/web", {"metadata": {"finalizers": None}}, "merge-patch+json")
    assert not await exists(api, f"{NS}/pods/web")


async def test_a_pod_whose_grace_runs_stays_without_finalizers(api):
    await make_pod(api, node="n1", finalizers=["example.com/a"])
    await api.delete(f"{NS}/pods/web")
    await api.patch(f"{NS}/pods/web", {"metadata": {"finalizers": None}}, "merge-patch+json")
    assert await exists(api, f"{NS}/pods/web")


@pytest.mark.parametrize(
    ("policy", "finalizers"), [("Foreground", ["foregroundDeletion"]), ("Orphan", ["orphan"]), ("Background", None)]
)
async def test_propagation(api, policy, finalizers):
    spec = {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "a", "image": "x"}]}},
    }
    await api.post(f"{APPS}/replicasets", {"metadata": {"name": "rs"}, "spec": spec})
    answer = await api.delete(f"{APPS}/replicasets/rs", {"propagationPolicy": policy})
    assert answer.status == 200
    if finalizers is None:
        assert answer.json["status"] == "Success" and not await exists(api, f"{APPS}/replicasets/rs")
    else:
        assert answer.json["metadata"]["finalizers"] == finalizers


async def test_an_unknown_policy_is_refused(api):
    await make_pod(api)
    answer = await api.delete(f"{NS}/pods/web", {"propagationPolicy": "Sideways"})
    assert answer.status == 400 and await exists(api, f"{NS}/pods/web")


async def test_preconditions(api):
    made = await make_pod(api)
    for precondition in ({"uid": "other"}, {"resourceVersion": "1"}):
        answer = await api.delete(f"{NS}/pods/web", {"preconditions": precondition})
        assert answer.status == 409 and "Precondition failed" in answer.message
    right = {"uid": made["metadata"]["uid"], "resourceVersion": made["metadata"]["resourceVersion"]}
    assert (await api.delete(f"{NS}/pods/web", {"preconditions": right})).status == 200


async def test_a_dry_run_deletes_nothing(api):
    await make_pod(api)
    assert (await api.delete(f"{NS}/pods/web?dryRun=All")).status == 200
    assert (await api.delete(f"{NS}/pods/web", {"dryRun": ["All"]})).status == 200
    assert await exists(api, f"{NS}/pods/web")


async def test_a_collection_by_label(api):
    for name in ("a", "b", "c"):
        await make_pod(api, name)
    answer = await api.delete(f"{NS}/pods?labelSelector=app+in+(a,b)")
    assert [each["metadata"]["name"] for each in answer.json["items"]] == ["a", "b"]
    left = (await api.get(f"{NS}/pods")).json["items"]
    assert [each["metadata"]["name"] for each in left] == ["c"]


class TestNamespaces:
    async def test_is_held_until_it_is_finalized(self, api):
        await api.post("/api/v1/namespaces", {"metadata": {"name": "foo"}})
        going = (await api.delete("/api/v1/namespaces/foo")).json
        assert going["status"]["phase"] == "Terminating" and going["spec"]["finalizers"] == ["kubernetes"]
        refused = await api.post("/api/v1/namespaces/foo/configmaps", {"metadata": {"name": "a"}})
        assert refused.status == 403
        assert refused.message == (
            'configmaps "a" is forbidden: unable to create new content in namespace foo because it is being terminated'
        )
        assert refused.json["details"]["causes"][0]["reason"] == "NamespaceTerminating"
        going["spec"] = {}
        assert (await api.put("/api/v1/namespaces/foo/finalize", going)).status == 200
        assert not await exists(api, "/api/v1/namespaces/foo")

    async def test_some_are_immortal(self, api):
        answer = await api.delete("/api/v1/namespaces/kube-system")
        assert (answer.status, answer.message) == (
            403,
            'namespaces "kube-system" is forbidden: this namespace may not be deleted',
        )

    async def test_an_update_cannot_drop_the_finalizer(self, api):
        made = (await api.post("/api/v1/namespaces", {"metadata": {"name": "foo"}})).json
        made["spec"] = {}
        assert (await api.put("/api/v1/namespaces/foo", made)).json["spec"]["finalizers"] == ["kubernetes"]


async def test_eviction_deletes_gracefully(api):
    await make_pod(api, node="n1")
    answer = await api.post(f"{NS}/pods/web/eviction", {"metadata": {"name": "web"}, "deleteOptions": {}})
    assert answer.status == 201
    assert (await api.get(f"{NS}/pods/web")).json["metadata"]["deletionGracePeriodSeconds"] == 30
