"""Ingresses, IngressClasses and Services: what is refused, filled in and printed."""

from __future__ import annotations

import pytest

INGRESSES = "/apis/networking.k8s.io/v1/namespaces/default/ingresses"
CLASSES = "/apis/networking.k8s.io/v1/ingressclasses"
DEFAULT = {"ingressclass.kubernetes.io/is-default-class": "true"}


def backend(port: object = 80, name: str = "web") -> dict:
    return {"service": {"name": name, "port": {"name" if isinstance(port, str) else "number": port}}}


def path(text: str = "/", kind: str = "Prefix", to: dict | None = None) -> dict:
    return {"path": text, "pathType": kind, "backend": backend() if to is None else to}


def ingress(
    name: str = "shop", *paths: dict, host: str = "shop.example", annotations: dict | None = None, **spec
) -> dict:
    rules = [{"host": host, "http": {"paths": list(paths)}}] if paths else None
    return {"metadata": {"name": name, "annotations": annotations}, "spec": {"rules": rules, **spec}}


def ingress_class(name: str, controller: str = "example.com/one", annotations: dict | None = None, **spec) -> dict:
    return {"metadata": {"name": name, "annotations": annotations}, "spec": {"controller": controller, **spec}}


HERE = "spec.rules[0].http.paths[0]"


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        (ingress(), "spec: Invalid value: null: either `defaultBackend` or `rules` must be specified"),
        (
            ingress("a", path(kind="Regex")),
            f'{HERE}.pathType: Unsupported value: "Regex": supported values: "Exact", "I',
        ),
        (ingress("a", path("shop")), f'{HERE}.path: Invalid value: "shop": must be an absolute path'),
        (ingress("a", path("")), f'{HERE}.path: Invalid value: "": must be an absolute path'),
        (ingress("a", path("/a//b")), f"{HERE}.path: Invalid value: \"/a//b\": must not contain '//'"),
        (ingress("a", path("/a/..")), f"{HERE}.path: Invalid value: \"/a/..\": cannot end with '/..'"),
        (ingress("a", path(to={})), f'{HERE}.backend: Invalid value: "": resource or service backend is required'),
        (ingress("a", path(to=backend(0))), f"{HERE}.backend: Required value: port name or number is required"),
        (
            ingress("a", path(to=backend(70000))),
            f"{HERE}.backend.service.port.number: Invalid value: 70000: must be betw",
        ),
        (ingress("a", path(to=backend(name="1x"))), f'{HERE}.backend.service.name: Invalid value: "1x": a DNS-1035'),
        (ingress("a", path(), host="1.2.3.4"), 'host: Invalid value: "1.2.3.4": must be a DNS name, not an IP address'),
        (
            ingress("a", path(), host="a.*.b"),
            'spec.rules[0].host: Invalid value: "a.*.b": a wildcard DNS-1123 subdomain',
        ),
        (
            ingress("a", path(), tls=[{"hosts": ["X"]}]),
            'spec.tls[0].hosts[0]: Invalid value: "X": a lowercase RFC 1123',
        ),
        (
            ingress("a", path(), ingressClassName="x", annotations={"kubernetes.io/ingress.class": "y"}),
            'annotations.kubernetes.io/ingress.class: Invalid value: "y": must match `ingressClassName` when both',
        ),
        (
            ingress(defaultBackend=backend() | {"resource": {"kind": "Bucket", "name": "b"}}),
            'spec.defaultBackend: Invalid value: "": cannot set both resource and service backends',
        ),
    ],
)
async def test_what_cannot_be_routed_is_refused(api, obj, message):
    answer = await api.post(INGRESSES, obj)
    assert answer.status == 422 and message in answer.message, answer.message


@pytest.mark.parametrize("kind", ["Exact", "Prefix", "ImplementationSpecific"])
async def test_every_kind_of_path_and_a_wildcard_host(api, kind):
    answer = await api.post(INGRESSES, ingress("a", path("/a", kind, backend("http")), host="*.example"))
    assert answer.status == 201, answer.message


async def test_an_ingress_without_a_class_gets_the_newest_default(api):
    before = await api.post(INGRESSES, ingress("early", path()))
    assert "ingressClassName" not in before.json["spec"]
    await api.post(CLASSES, ingress_class("plain"))
    await api.post(CLASSES, ingress_class("usual", annotations=DEFAULT))
    await api.backend.cache.fresh()
    assert (await api.post(INGRESSES, ingress("late", path()))).json["spec"]["ingressClassName"] == "usual"
    named = await api.post(INGRESSES, ingress("named", path(), ingressClassName="plain"))
    assert named.json["spec"]["ingressClassName"] == "plain"
    older = await api.post(INGRESSES, ingress("older", path(), annotations={"kubernetes.io/ingress.class": "nginx"}))
    assert "ingressClassName" not in older.json["spec"]


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        (ingress_class("a", ""), "spec.controller: Required value"),
        (ingress_class("a", "minik"), 'spec.controller: Invalid value: "minik": must be a domain-prefixed path'),
        (
            ingress_class("a", parameters={"kind": "Config", "name": "c", "scope": "Namespace"}),
            "spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'",
        ),
    ],
)
async def test_what_is_no_class_is_refused(api, obj, message):
    answer = await api.post(CLASSES, obj)
    assert answer.status == 422 and message in answer.message, answer.message


async def test_a_class_keeps_its_controller(api):
    made = (await api.post(CLASSES, ingress_class("a", parameters={"kind": "Config", "name": "c"}))).json
    assert made["spec"]["parameters"]["scope"] == "Cluster"
    made["spec"]["controller"] = "example.com/other"
    answer = await api.put(f"{CLASSES}/a", made)
    assert answer.status == 422 and "field is immutable" in answer.message


async def test_the_table(api):
    await api.post(INGRESSES, ingress("a", path(), ingressClassName="minik", tls=[{"hosts": ["shop.example"]}]))
    status = (await api.get(f"{INGRESSES}/a")).json
    status["status"] = {"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}]}}
    assert (await api.put(f"{INGRESSES}/a/status", status)).status == 200
    table = (await api.get(INGRESSES, accept="application/json;as=Table;v=v1;g=meta.k8s.io")).json
    assert [each["name"] for each in table["columnDefinitions"]] == [
        "Name",
        "Class",
        "Hosts",
        "Address",
        "Ports",
        "Age",
    ]
    assert table["rows"][0]["cells"][:5] == ["a", "minik", "shop.example", "10.0.0.1,10.0.0.2", "80, 443"]


SERVICES = "/api/v1/namespaces/default/services"


def service(**spec: object) -> dict:
    return {"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}], **spec}}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            {"type": "NodePort", "externalTrafficPolicy": "Near"},
            'spec.externalTrafficPolicy: Unsupported value: "Near"',
        ),
        ({"internalTrafficPolicy": "Near"}, 'spec.internalTrafficPolicy: Unsupported value: "Near"'),
        ({"externalTrafficPolicy": "Local"}, "may only be set for externally-accessible services"),
        (
            {"loadBalancerSourceRanges": ["10.0.0.0/8"]},
            "spec.loadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'",
        ),
        (
            {"type": "LoadBalancer", "loadBalancerSourceRanges": ["ten"]},
            'spec.loadBalancerSourceRanges[0]: Invalid value: "ten": must be a valid CIDR value',
        ),
        (
            {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 0}}},
            "clientIP.timeoutSeconds: Invalid value: 0: must be greater than 0 and less than 86400",
        ),
        (
            {"sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 5}}},
            "spec.sessionAffinityConfig: Forbidden: must not be set when session affinity is None",
        ),
    ],
)
async def test_what_a_service_cannot_mean_is_refused(api, spec, message):
    answer = await api.post(SERVICES, service(**spec))
    assert answer.status == 422 and message in answer.message, answer.message


async def test_a_service_that_changes_its_type_loses_what_only_the_old_one_has(api):
    wanted = service(type="LoadBalancer", externalTrafficPolicy="Local", loadBalancerSourceRanges=["10.0.0.0/8"])
    made = (await api.post(SERVICES, wanted)).json
    made["spec"]["type"] = "ClusterIP"
    answer = await api.put(f"{SERVICES}/web", made)
    assert answer.status == 200, answer.message
    spec = answer.json["spec"]
    assert not {"externalTrafficPolicy", "allocateLoadBalancerNodePorts", "loadBalancerSourceRanges"} & {*spec}
    assert "nodePort" not in spec["ports"][0]
