"""Objects of all kinds through the API: what is stored, what is refused and in which words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from lightkube.resources.apps_v1 import ControllerRevision
from lightkube.resources.core_v1 import ResourceQuota

from apiserver import codec

NS = "/api/v1/namespaces/default"
APPS = "/apis/apps/v1/namespaces/default"


def pod(name: str = "web", **spec: Any) -> dict[str, Any]:
    containers = [{"name": "web", "image": "minik/web:1"}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "web"}},
        "spec": {"containers": containers, **spec},
    }


def deployment(name: str = "web", **spec: Any) -> dict[str, Any]:
    template = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "web", "image": "minik/web:1", "ports": [{"containerPort": 80}]}]},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template, **spec},
    }


def service(name: str = "web", **spec: Any) -> dict[str, Any]:
    ports = [{"port": 80}]
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"ports": ports, **spec}}


class TestCreate:
    async def test_a_created_object_is_complete(self, api):
        made = (await api.post(f"{NS}/pods", pod())).json
        assert made["metadata"]["uid"] and made["metadata"]["creationTimestamp"]
        assert made["metadata"]["namespace"] == "default"
        assert made["status"] == {"phase": "Pending", "qosClass": "BestEffort"}
        assert made["spec"]["terminationGracePeriodSeconds"] == 30
        assert made["spec"]["containers"][0]["imagePullPolicy"] == "IfNotPresent"
        assert made["spec"]["serviceAccountName"] == "default"
        assert {each["key"] for each in made["spec"]["tolerations"]} == {
            "node.kubernetes.io/not-ready",
            "node.kubernetes.io/unreachable",
        }
        assert (await api.get(f"{NS}/pods/web")).json == made

    async def test_defaults_of_a_deployment(self, api):
        spec = (await api.post(f"{APPS}/deployments", deployment())).json["spec"]
        assert spec["replicas"] == 1
        assert spec["strategy"] == {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"},
        }
        assert (spec["revisionHistoryLimit"], spec["progressDeadlineSeconds"]) == (10, 600)

    async def test_twice_is_a_conflict(self, api):
        await api.post(f"{NS}/pods", pod())
        again = await api.post(f"{NS}/pods", pod())
        assert (again.status, again.json["reason"]) == (409, "AlreadyExists")
        assert again.message == 'pods "web" already exists'

    async def test_generated_names_differ(self, api):
        body = pod()
        body["metadata"] = {"generateName": "web-"}
        names = {(await api.post(f"{NS}/pods", body)).json["metadata"]["name"] for _ in range(5)}
        assert len(names) == 5 and all(len(name) == len("web-") + 5 for name in names)

    async def test_a_dry_run_stores_nothing(self, api):
        answer = await api.post(f"{NS}/pods?dryRun=All", pod())
        assert answer.status == 201 and answer.json["metadata"]["uid"]
        assert (await api.get(f"{NS}/pods/web")).status == 404

    async def test_quantities_are_normalised(self, api):
        body = pod()
        body["spec"]["containers"][0]["resources"] = {"limits": {"cpu": 1, "memory": "1024Mi"}}
        resources = (await api.post(f"{NS}/pods", body)).json["spec"]["containers"][0]["resources"]
        assert resources == {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1", "memory": "1Gi"}}

    async def test_yaml_bodies_and_answers(self, api):
        body = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {when: 2020-01-01, x: 'y'}\n"
        answer = await api.post(f"{NS}/configmaps", body, content_type="application/yaml", accept="application/yaml")
        assert answer.status == 201 and b"when: '2020-01-01'" in answer.body

    async def test_a_namespace_that_is_not_there(self, api):
        answer = await api.post("/api/v1/namespaces/nowhere/pods", pod())
        assert (answer.status, answer.message) == (404, 'namespaces "nowhere" not found')

    async def test_secrets_take_plain_text(self, api):
        body = {"metadata": {"name": "s"}, "stringData": {"a": "hello"}}
        made = (await api.post(f"{NS}/secrets", body)).json
        assert made["data"] == {"a": "aGVsbG8="} and made["type"] == "Opaque" and "stringData" not in made


BAD = [
    ("pods", b"{", 400, "json parse error"),
    ("pods", b"[]", 400, "expected object, got array"),
    ("pods", b"\xff\xfe", 400, "json parse error"),
    ("pods", b"[" * 100_000, 400, "json parse error"),
    ("pods", b'{"metadata":' + b'{"a":' * 150 + b"1" + b"}" * 151, 422, "spec.containers: Required value"),
    ("pods", b'{"metadata":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001, 400, "json parse error"),
    ("pods", pod() | {"kind": "Service"}, 400, 'Service in version "v1" cannot be handled as a Pod'),
    ("pods", pod() | {"apiVersion": "v2"}, 400, "the API version in the data (v2) does not match"),
    ("pods", pod("No_Caps"), 422, 'metadata.name: Invalid value: "No_Caps": a lowercase RFC 1123 subdomain'),
    ("pods", pod("x" * 254), 422, "must be no more than 253 characters"),
    ("pods", {"spec": pod()["spec"]}, 422, "metadata.name: Required value: name or generateName is required"),
    ("pods", pod(containers=[]), 422, "spec.containers: Required value"),
    ("pods", {"metadata": {"name": "a"}, "spec": {}}, 422, "spec.containers: Required value"),
    ("pods", pod(restartPolicy="Sometimes"), 422, 'spec.restartPolicy: Unsupported value: "Sometimes"'),
    ("pods", pod(containers=[{"name": "a"}]), 422, "spec.containers[0].image: Required value"),
    ("pods", pod(containers=[{"name": "a", "image": "x"}] * 2), 422, 'spec.containers[1].name: Duplicate value: "a"'),
    (
        "pods",
        pod(containers=[{"name": "a", "image": "x", "ports": [{"containerPort": 70000}]}]),
        422,
        "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
    ),
    (
        "pods",
        pod(containers=[{"name": "a", "image": "x", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]),
        422,
        'spec.containers[0].volumeMounts[0].name: Not found: "v"',
    ),
    (
        "pods",
        pod(containers=[{"name": "a", "image": "x", "resources": {"limits": {"cpu": "lots"}}}]),
        400,
        "spec.containers[0].resources.limits.cpu: quantities must match",
    ),
    (
        "pods",
        pod(containers=[{"name": "a", "image": "x", "resources": {"limits": {"cpu": 1}, "requests": {"cpu": 2}}}]),
        422,
        'spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1',
    ),
    (
        "pods",
        {"metadata": {"name": "a", "labels": {"a": 1}}, "spec": pod()["spec"]},
        400,
        "metadata.labels.a: expected str, got int",
    ),
    ("configmaps", {"metadata": {"name": "a"}, "data": {"a b": "x"}}, 422, "a valid config key must consist of"),
    ("configmaps", {"metadata": {"name": "a"}, "data": {"a": 1}}, 400, "data.a: expected str, got int"),
    ("secrets", {"metadata": {"name": "a"}, "data": {"a": "!"}}, 422, "data[a]: Invalid value"),
    ("services", service("1web"), 422, "a DNS-1035 label must consist of"),
    ("services", service(ports=[]), 422, "spec.ports: Required value"),
    ("services", service(ports=[{"port": 0}]), 422, "spec.ports[0].port: Invalid value: 0: must be between"),
    ("services", service(ports=[{"port": 1}, {"port": 2}]), 422, "spec.ports[0].name: Required value"),
    ("services", service(type="Other"), 422, 'spec.type: Unsupported value: "Other"'),
    ("services", service(clusterIP="1.2.3.4"), 422, "The range of valid IPs is 10.96.0.0/16"),
    ("services", service(clusterIP="x"), 422, "must be a valid IP address"),
    ("services", service(clusterIP="10.96.0.1"), 422, "provided IP is already allocated"),
    (
        "services",
        service(type="NodePort", ports=[{"port": 80, "nodePort": 80}]),
        422,
        "provided port is not in the valid range. The range of valid ports is 30000-32767",
    ),
]


@pytest.mark.parametrize(("plural", "body", "status", "words"), BAD, ids=[each[3][:50] for each in BAD])
async def test_bad_objects_are_refused_and_not_stored(api, caplog, plural, body, status, words):
    answer = await api.post(f"{NS}/{plural}", body)
    assert answer.status == status, answer.body
    assert words in answer.message
    assert answer.json["kind"] == "Status" and answer.json["code"] == status
    names = [each["metadata"]["name"] for each in (await api.get(f"{NS}/{plural}")).json["items"]]
    assert names in ([], ["kubernetes"])
    assert not caplog.records


BAD_DEPLOYMENTS = [
    ({"replicas": -1}, 422, "spec.replicas: Invalid value: -1: must be greater than or equal to 0"),
    ({"replicas": "a"}, 400, "spec.replicas: expected int, got str"),
    ({"selector": None}, 422, "spec.selector: Required value"),
    ({"selector": {}}, 422, "empty selector is invalid for deployment"),
    ({"selector": {"matchLabels": {"app": "x"}}}, 422, "`selector` does not match template `labels`"),
    ({"strategy": {"type": "Big"}}, 422, 'spec.strategy.type: Unsupported value: "Big"'),
    (
        {"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}},
        422,
        "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0",
    ),
    ({"strategy": {"rollingUpdate": {"maxSurge": "a"}}}, 422, "a valid percent string must be"),
    ({"template": {"spec": {"containers": []}}}, 422, "spec.template.spec.containers: Required value"),
]


@pytest.mark.parametrize(("spec", "status", "words"), BAD_DEPLOYMENTS, ids=[each[2][:50] for each in BAD_DEPLOYMENTS])
async def test_bad_deployments(api, spec, status, words):
    answer = await api.post(f"{APPS}/deployments", deployment(**spec))
    assert (answer.status, words in answer.message) == (status, True), answer.body
    assert (await api.get(f"{APPS}/deployments")).json["items"] == []


async def test_every_wrong_field_is_a_cause(api):
    body = deployment(replicas=-1, minReadySeconds=-2)
    answer = await api.post(f"{APPS}/deployments", body)
    causes = answer.json["details"]["causes"]
    assert {each["field"] for each in causes} >= {"spec.replicas", "spec.minReadySeconds"}
    assert answer.message.startswith('Deployment.apps "web" is invalid: [')


class TestFieldValidation:
    BODY = b'{"metadata":{"name":"a"},"data":{"x":"1","x":"2"},"foo":1}'

    async def test_warns_by_default(self, api):
        answer = await api.post(f"{NS}/configmaps", self.BODY)
        assert answer.status == 201
        assert answer.warnings == [r'299 - "unknown field \"foo\""', r'299 - "duplicate field \"data.x\""']

    async def test_strict_refuses(self, api):
        answer = await api.post(f"{NS}/configmaps?fieldValidation=Strict", self.BODY)
        assert answer.status == 400
        assert answer.message.endswith('strict decoding error: unknown field "foo", duplicate field "data.x"')
        assert (await api.get(f"{NS}/configmaps/a")).status == 404

    async def test_ignore_is_silent(self, api):
        answer = await api.post(f"{NS}/configmaps?fieldValidation=Ignore", self.BODY)
        assert (answer.status, answer.warnings) == (201, [])

    async def test_paths_lead_into_lists(self, api):
        body = pod()
        body["spec"]["containers"][0]["foo"] = 1
        answer = await api.post(f"{NS}/pods", body)
        assert answer.warnings == [r'299 - "unknown field \"spec.containers[0].foo\""']


class TestUpdate:
    async def test_a_stale_version_is_a_conflict(self, api):
        made = (await api.post(f"{APPS}/deployments", deployment())).json
        first = await api.put(f"{APPS}/deployments/web", made | {"metadata": made["metadata"] | {"labels": {"a": "b"}}})
        assert first.status == 200
        second = await api.put(f"{APPS}/deployments/web", made)
        assert (second.status, second.json["reason"]) == (409, "Conflict")
        assert second.message == (
            'Operation cannot be fulfilled on deployments.apps "web": the object has been modified; '
            "please apply your changes to the latest version and try again"
        )

    async def test_no_change_is_no_write(self, api):
        made = (await api.post(f"{APPS}/deployments", deployment())).json
        again = (await api.put(f"{APPS}/deployments/web", made)).json
        assert again == made

    async def test_generation_counts_changes_of_the_spec(self, api):
        await api.post(f"{APPS}/deployments", deployment())
        patched = await api.patch(f"{APPS}/deployments/web", {"metadata": {"labels": {"a": "b"}}})
        assert patched.json["metadata"]["generation"] == 1
        patched = await api.patch(f"{APPS}/deployments/web", {"spec": {"replicas": 3}})
        assert patched.json["metadata"]["generation"] == 2

    async def test_the_object_leaves_its_status_alone_and_the_other_way_round(self, api):
        made = (await api.post(f"{APPS}/deployments", deployment())).json
        made["status"] = {"replicas": 7}
        made["spec"]["replicas"] = 9
        stored = (await api.put(f"{APPS}/deployments/web", made)).json
        assert stored["spec"]["replicas"] == 9 and stored.get("status", {}).get("replicas") is None
        stored["status"], stored["spec"]["replicas"] = {"replicas": 5}, 1
        stored = (await api.put(f"{APPS}/deployments/web/status", stored)).json
        assert (stored["spec"]["replicas"], stored["status"]["replicas"]) == (9, 5)
        assert stored["metadata"]["generation"] == 2

    async def test_selectors_are_immutable(self, api):
        await api.post(f"{APPS}/deployments", deployment())
        patch = {
            "spec": {"selector": {"matchLabels": {"app": "x"}}, "template": {"metadata": {"labels": {"app": "x"}}}}
        }
        answer = await api.patch(f"{APPS}/deployments/web", patch)
        assert answer.status == 422 and "spec.selector: Invalid value" in answer.message
        assert answer.message.endswith("field is immutable")

    async def test_a_pods_spec_is_fixed_but_for_images(self, api):
        await api.post(f"{NS}/pods", pod())
        patch = {"spec": {"containers": [{"name": "web", "image": "minik/web:2"}]}}
        assert (await api.patch(f"{NS}/pods/web", patch)).status == 200
        patch = {"spec": {"containers": [{"name": "web", "command": ["sh"]}]}}
        answer = await api.patch(f"{NS}/pods/web", patch)
        assert answer.status == 422 and "pod updates may not change fields other than" in answer.message

    async def test_another_uid_is_a_conflict(self, api):
        made = (await api.post(f"{NS}/pods", pod())).json
        made["metadata"]["uid"] = "other"
        answer = await api.put(f"{NS}/pods/web", made)
        assert answer.status == 409 and "UID in precondition: other" in answer.message

    async def test_names_must_agree(self, api):
        await api.post(f"{NS}/configmaps", {"metadata": {"name": "a"}})
        answer = await api.put(f"{NS}/configmaps/a", {"metadata": {"name": "b"}})
        assert answer.status == 400
        assert answer.message == "the name of the object (b) does not match the name on the URL (a)"

    async def test_a_lease_is_created_by_put(self, api):
        path = "/apis/coordination.k8s.io/v1/namespaces/default/leases/l"
        answer = await api.put(path, {"metadata": {"name": "l"}, "spec": {"renewTime": "2020-01-01T00:00:00.000000Z"}})
        assert answer.status == 201
        assert answer.json["spec"]["renewTime"] == "2020-01-01T00:00:00.000001Z"  # Go demands a fraction

    async def test_immutable_config(self, api):
        await api.post(f"{NS}/configmaps", {"metadata": {"name": "a"}, "data": {"a": "b"}, "immutable": True})
        answer = await api.patch(f"{NS}/configmaps/a", {"data": {"a": "c"}})
        assert answer.status == 422 and "field is immutable when `immutable` is set" in answer.message


class TestServices:
    async def test_addresses_and_ports_are_held_by_one_service(self, api):
        first = (await api.post(f"{NS}/services", service("a", type="NodePort"))).json["spec"]
        wanted = service("b", type="NodePort", ports=[{"port": 80, "nodePort": first["ports"][0]["nodePort"]}])
        answer = await api.post(f"{NS}/services", wanted)
        assert answer.status == 422 and "provided port is already allocated" in answer.message
        await api.delete(f"{NS}/services/a")
        assert (await api.post(f"{NS}/services", wanted)).status == 201

    async def test_what_was_allocated_stays(self, api):
        made = (await api.post(f"{NS}/services", service(type="NodePort"))).json
        body = service(type="NodePort", selector={"a": "b"})
        stored = (await api.put(f"{NS}/services/web", body)).json
        assert stored["spec"]["clusterIP"] == made["spec"]["clusterIP"]
        assert stored["spec"]["ports"] == made["spec"]["ports"]

    async def test_an_address_may_not_change(self, api):
        await api.post(f"{NS}/services", service())
        answer = await api.patch(f"{NS}/services/web", {"spec": {"clusterIP": "10.96.200.200", "clusterIPs": None}})
        assert answer.status == 422 and "may not change once set" in answer.message

    async def test_headless_and_external_services_hold_nothing(self, api):
        headless = (await api.post(f"{NS}/services", service("h", clusterIP="None"))).json["spec"]
        assert (headless["clusterIP"], headless["clusterIPs"]) == ("None", ["None"])
        body = service("e", type="ExternalName", externalName="example.com", ports=None)
        assert "clusterIP" not in (await api.post(f"{NS}/services", body)).json["spec"]

    async def test_becoming_a_cluster_ip_gives_the_port_back(self, api):
        made = (await api.post(f"{NS}/services", service(type="NodePort"))).json
        port = made["spec"]["ports"][0]["nodePort"]
        patched = (await api.patch(f"{NS}/services/web", {"spec": {"type": "ClusterIP"}})).json
        assert "nodePort" not in patched["spec"]["ports"][0]
        other = service("other", type="NodePort", ports=[{"port": 80, "nodePort": port}])
        assert (await api.post(f"{NS}/services", other)).status == 201

    async def test_a_refused_service_holds_nothing(self, api):
        bad = service("bad", type="NodePort", clusterIP="10.96.77.77", ports=[{"port": 80, "nodePort": 1}])
        assert (await api.post(f"{NS}/services", bad)).status == 422
        assert (await api.post(f"{NS}/services", service("good", clusterIP="10.96.77.77"))).status == 201


async def test_events_must_be_where_their_object_is(api):
    body = {"metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "namespace": "other", "name": "x"}}
    answer = await api.post(f"{NS}/events", body)
    assert answer.status == 422 and "does not match event.namespace" in answer.message


async def test_boot_objects(api):
    names = [each["metadata"]["name"] for each in (await api.get("/api/v1/namespaces")).json["items"]]
    assert names == ["default", "kube-node-lease", "kube-public", "kube-system"]
    assert (await api.get(f"{NS}/services/kubernetes")).json["spec"]["clusterIP"] == "10.96.0.1"
    slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes"
    assert (await api.get(slices)).json["endpoints"][0]["addresses"] == ["127.0.0.1"]


def test_quantities_of_a_map_may_be_numbers_and_what_is_free_stays_as_it_is():
    def read(document, cls):
        return codec.encode(codec.decode(codec.Document(document), cls, validation=codec.FieldValidation.STRICT).obj)

    quota = {"metadata": {"name": "x"}, "spec": {"hard": {"pods": 10, "requests.cpu": 1.5, "limits.memory": "1Gi"}}}
    hard = json.loads(read(quota, ResourceQuota))["spec"]["hard"]
    assert hard == {"pods": "10", "requests.cpu": "1500m", "limits.memory": "1Gi"}
    data = {"spec": {"replicas": 3, "on": True, "nothing": None, "list": [1, {"a": 1.5}], "text": "1"}}
    revision = {"metadata": {"name": "x"}, "revision": 1, "data": data}
    assert json.loads(read(revision, ControllerRevision))["data"] == data
