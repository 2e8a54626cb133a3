"""What `bench.fuzz` found: each of these was answered with a 500, or not at all."""

from __future__ import annotations

import json
from typing import Any

import pytest

from apiserver.kinds import builtin
from apiserver.registry.kind import Kind

KINDS = [kind for kind in builtin() if "create" in kind.verbs]
CONFIGS = "/api/v1/namespaces/default/configmaps"
SERVICES = "/api/v1/namespaces/default/services"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
PATCH = {"content_type": "application/json-patch+json"}


def deployment(name: str) -> dict[str, Any]:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": "web"}]}}
    return {"metadata": {"name": name}, "spec": {"selector": {"matchLabels": labels}, "template": template}}


@pytest.mark.parametrize("value", [{}, [], 1, True], ids=str)
@pytest.mark.parametrize("field", ["data", "binaryData"])
async def test_maps_of_texts_hold_texts(api: Any, field: str, value: Any) -> None:
    answer = await api.post(CONFIGS, {"metadata": {"name": "a"}, field: {"k": value}})
    assert answer.status == 400 and f"{field}.k: expected str" in answer.message


@pytest.mark.parametrize("value", ["x", [1], {}], ids=str)
async def test_maps_of_lists_hold_lists_of_texts(api: Any, value: Any) -> None:
    body = {"spec": {"user": "x", "resourceAttributes": {"verb": "get"}, "extra": {"k": value}}}
    answer = await api.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", body)
    assert answer.status == 400 and "spec.extra.k" in answer.message


@pytest.mark.parametrize("operation", [
    {"op": "copy", "path": "/spec/replicas", "from": "/kind/01"},
    {"op": "replace", "path": "/metadata/managedFields/0/apiVersion", "value": False},
    {"op": "test", "path": "/spec/replicas", "value": 99},
], ids=lambda each: each["op"])  # fmt: skip
async def test_a_json_patch_that_does_not_fit_a_scale(api: Any, operation: dict[str, Any]) -> None:
    assert (await api.post(DEPLOYMENTS, deployment("web"))).status == 201
    answer = await api.call("PATCH", f"{DEPLOYMENTS}/web/scale", [operation], **PATCH)
    assert answer.status == 422 and answer.message.startswith("the server rejected our request")
    answer = await api.call("PATCH", f"{DEPLOYMENTS}/web/scale", [{"op": "x", "path": ""}], **PATCH)
    assert answer.status == 400


@pytest.mark.parametrize("spec", [
    {"clusterIPs": ["b"]}, {"clusterIPs": ["10.96.0.9", "10.96.0.10"], "clusterIP": "10.96.0.9"},
    {"ipFamilies": ["IPv6"]}, {"ipFamilyPolicy": "x"},
], ids=str)  # fmt: skip
async def test_addresses_of_a_service_that_are_none(api: Any, spec: dict[str, Any]) -> None:
    answer = await api.post(SERVICES, {"metadata": {"name": "a"}, "spec": {"ports": [{"port": 80}], **spec}})
    assert answer.status == 422 and answer.json["details"]["causes"][0]["field"].startswith(f"spec.{next(iter(spec))}")


async def test_a_warning_about_a_field_whose_name_has_a_newline(api: Any) -> None:
    answer = await api.post(CONFIGS, {"metadata": {"name": "a"}, "x\ny\x00": 1})
    assert answer.status == 201 and answer.warnings == [b'299 - "unknown field \\"x y \\""'.decode()]


@pytest.mark.parametrize("version", [2**64, "1" * 400, "-1", "٣"], ids=lambda each: str(each)[:5])
async def test_a_version_that_is_none(api: Any, version: Any) -> None:
    answer = await api.call("GET", f"{CONFIGS}?resourceVersion={version}")
    assert answer.status == 400
    assert json.loads(answer.body)["message"].startswith("resourceVersion: Invalid value")


async def test_a_claim_template_without_metadata(api: Any) -> None:
    body = deployment("web")
    body["spec"]["volumeClaimTemplates"] = [{"spec": {"volumeMode": "x"}}]
    answer = await api.post("/apis/apps/v1/namespaces/default/statefulsets", body)
    assert answer.status in (201, 422)


async def test_a_job_without_a_name(api: Any) -> None:
    template = {"spec": {"containers": [{"name": "web", "image": "web"}], "restartPolicy": "Never"}}
    answer = await api.post("/apis/batch/v1/namespaces/default/jobs", {"spec": {"template": template}})
    assert answer.status == 422 and "metadata.name" in answer.message


async def test_lists_that_are_null_as_go_writes_them(api: Any) -> None:
    status = {"resourceRules": None, "nonResourceRules": None, "incomplete": False}
    body = {"spec": {"namespace": "default"}, "status": status}
    assert (await api.post("/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", body)).status == 201
    pod = {"metadata": {"name": "a"}, "spec": {"containers": None}}
    answer = await api.post("/api/v1/namespaces/default/pods", pod)
    assert answer.status == 422 and "spec.containers: Required value" in answer.message


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.qualified}-{kind.version}")
async def test_an_object_with_as_good_as_nothing_in_it_is_taken_or_refused(api: Any, kind: Kind) -> None:
    identity = {"apiVersion": kind.api_version, "kind": kind.kind}
    for number, rest in enumerate(({}, {"spec": {}}, {"spec": {}, "metadata": {"generateName": "a-"}}, {"status": {}})):
        body = identity | {"metadata": {"name": f"a-{number}"}} | rest
        answer = await api.post(kind.path("default"), body)
        assert answer.status in (200, 201, 400, 403, 404, 422), answer.message
