"""What a request may cost before anything is made of it, and what is given back when its writer is lost."""

from __future__ import annotations

from datetime import timedelta

import pytest

from apiserver import expiry
from apiserver.kinds import allocation
from apiserver.storage.base import Unavailable

SERVICES = "/api/v1/namespaces/default/services"


def service(name: str) -> dict[str, object]:
    return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], "type": "NodePort"}}


async def test_long_urls_and_large_headers_are_refused(api):
    answer = await api.get(f"{SERVICES}?labelSelector={'a' * 70_000}")
    assert (answer.status, answer.json["kind"]) == (414, "Status")
    assert (await api.get(SERVICES, x_large="a" * 70_000)).status == 431


async def test_a_write_of_unknown_outcome_keeps_no_address(api, monkeypatch):
    await api.post(SERVICES, service("held"))
    storage, create = api.backend.storage, api.backend.storage.create

    async def broken(key: str, value: bytes):
        if key.startswith("/services/"):
            raise Unavailable("the store went away")
        return await create(key, value)

    monkeypatch.setattr(storage, "create", broken)
    assert (await api.post(SERVICES, service("lost"))).status == 503
    await api.backend.cache.fresh()
    before = [api.backend.cache.count(each) for each in (allocation.ADDRESSES, allocation.PORTS)]
    await expiry.repair(api.backend)  # a request under way may still own what is young
    await api.backend.cache.fresh()
    assert [api.backend.cache.count(each) for each in (allocation.ADDRESSES, allocation.PORTS)] == before
    monkeypatch.setattr(allocation, "ABANDONED", timedelta(seconds=-5))
    await expiry.repair(api.backend)
    await api.backend.cache.fresh()
    held = (await api.get(f"{SERVICES}/held")).json["spec"]
    assert [each.name for each in api.backend.cache.list(allocation.PORTS)] == [str(held["ports"][0]["nodePort"])]
    assert held["clusterIP"] in {each.name for each in api.backend.cache.list(allocation.ADDRESSES)}
    assert [api.backend.cache.count(each) for each in (allocation.ADDRESSES, allocation.PORTS)] == [
        each - 1 for each in before
    ]


@pytest.mark.parametrize(
    ("plural", "short"), [("endpoints", "ep"), ("podtemplates", ""), ("replicationcontrollers", "rc")]
)
async def test_the_older_kinds_are_served(api, plural, short):
    listed = {each["name"]: each for each in (await api.get("/api/v1")).json["resources"]}
    assert listed[plural].get("shortNames", [""]) == [short]


async def test_a_replication_controller_selects_what_its_template_says(api):
    template = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "web", "image": "minik/web:1"}]},
    }
    path = "/api/v1/namespaces/default/replicationcontrollers"
    made = await api.post(path, {"metadata": {"name": "web"}, "spec": {"template": template}})
    assert made.status == 201, made.message
    assert (made.json["spec"]["selector"], made.json["spec"]["replicas"]) == ({"app": "web"}, 1)
    scale = (await api.get(f"{path}/web/scale")).json
    assert scale["status"]["selector"] == "app=web"
    scale["spec"]["replicas"] = 3
    assert (await api.put(f"{path}/web/scale", scale)).status == 200
    assert (await api.get(f"{path}/web")).json["spec"]["replicas"] == 3
    wrong = {"selector": {"app": "db"}, "template": template}
    refused = await api.post(path, {"metadata": {"name": "db"}, "spec": wrong})
    assert refused.status == 422 and "`selector` does not match template `labels`" in refused.message


async def test_endpoints_and_pod_templates(api):
    subset = {"addresses": [{"ip": "10.244.1.2"}], "ports": [{"port": 80}]}
    made = await api.post("/api/v1/namespaces/default/endpoints", {"metadata": {"name": "a"}, "subsets": [subset]})
    assert made.status == 201 and made.json["subsets"][0]["ports"] == [{"port": 80, "protocol": "TCP"}]
    subset["addresses"] = [{"ip": "nowhere"}]
    refused = await api.post("/api/v1/namespaces/default/endpoints", {"metadata": {"name": "b"}, "subsets": [subset]})
    assert refused.status == 422 and "subsets[0].addresses[0].ip" in refused.message
    template = {"spec": {"containers": [{"name": "web", "image": "minik/web:1"}], "restartPolicy": "Never"}}
    made = await api.post("/api/v1/namespaces/default/podtemplates", {"metadata": {"name": "a"}, "template": template})
    assert made.status == 201 and made.json["template"]["spec"]["terminationGracePeriodSeconds"] == 30
