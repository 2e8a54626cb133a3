"""Ingresses in, plan out: routes, backends, certificates, and what cannot be done."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgspec
import pytest
from lightkube.models.core_v1 import ServicePort
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Secret
from lightkube.resources.networking_v1 import Ingress, IngressClass

from api.ingress import CONTROLLER, has_parameters, is_ours
from ingress.config import CERTIFICATES, CONFIG, render
from ingress.routes import Backend, Plan, World, plan, secrets

NAMES = {"web": "default_web_80", "other": "default_other_80"}


def backend(name: str = "web", **port: Any) -> dict[str, Any]:
    return {"service": {"name": name, "port": port or {"number": 80}}}


def path(text: str | None = "/", kind: str = "Prefix", to: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"path": text, "pathType": kind, "backend": to or backend()}


def ingress(
    *paths: dict[str, Any], name: str = "shop", host: str = "shop.example", age: int = 0, **spec: Any
) -> Ingress:
    metadata = {"name": name, "namespace": "default"}
    rules = [{"host": host, "http": {"paths": list(paths)}}] if paths else []
    made = msgspec.convert({"metadata": metadata, "spec": {"rules": rules, **spec}}, Ingress)
    made.metadata.creationTimestamp = datetime(2026, 1, 31 - age, tzinfo=UTC)
    return made


def secret(name: str = "tls", **data: str) -> Secret:
    encoded = {key.replace("_", "."): base64.b64encode(text.encode()).decode() for key, text in data.items()}
    return Secret(metadata=ObjectMeta(name=name, namespace="default"), data=encoded)


@pytest.fixture
def planned(make):
    """The plan for some Ingresses in a cluster with the Services `web` and `other`."""

    def of(*ingresses: Ingress, found: tuple[Secret, ...] = (), **service: Any) -> Plan:
        services = {f"default/{name}": make.service(name, **service) for name in NAMES}
        slices = {f"default/{name}": [make.slice(make.pod("10.244.1.2"), make.pod("10.244.2.2"))] for name in NAMES}
        by_key = {f"default/{each.metadata.name}": each for each in found}
        return plan(World(ingresses, services.get, lambda key: slices.get(key, []), by_key.get))

    return of


def test_paths_by_kind(planned) -> None:
    made = planned(
        ingress(
            path("/a", "Exact"),
            path("/b/"),
            path("/"),
            path("/c/*", "ImplementationSpecific"),
            path(None, "ImplementationSpecific", backend("other")),
        )
    )
    assert made.exact == {("shop.example", "/a"): NAMES["web"]}
    assert made.prefix == {("shop.example", each): NAMES["web"] for each in ("/b", "", "/c")}
    assert made.backends[NAMES["web"]] == Backend(("10.244.1.2:8080", "10.244.2.2:8080"))
    message = "host shop.example, path / (ImplementationSpecific) belongs to an older rule"
    assert made.problems == {"default/shop": [("Conflict", message)]}


def test_of_two_that_want_the_same_the_older_has_it(planned) -> None:
    young = ingress(path(to=backend("other")), path("/free", to=backend("other")), name="a-young")
    made = planned(young, ingress(path(), age=1))
    assert made.prefix == {("shop.example", ""): NAMES["web"], ("shop.example", "/free"): NAMES["other"]}
    assert [reason for reason, _ in made.problems["default/a-young"]] == ["Conflict"]


def test_default_backends(planned) -> None:
    made = planned(ingress(path("/a"), defaultBackend=backend("other")), ingress(name="all", defaultBackend=backend()))
    assert made.otherwise == {"": NAMES["web"], "shop.example": NAMES["other"]}


@pytest.mark.parametrize(
    ("port", "app", "protocol"),
    [({"name": "http"}, None, ""), ({"number": 80}, "grpc", "h2"), ({"number": 80}, "kubernetes.io/wss", "tls")],
)
def test_ports_by_name_and_protocol(planned, port, app, protocol) -> None:
    made = planned(ingress(path(to=backend(**port))), ports=[ServicePort(port=80, name="http", appProtocol=app)])
    (found,) = made.backends.values()
    assert found.protocol == protocol


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (path(to={"resource": {"kind": "Bucket", "name": "b"}}), "UnsupportedBackend"),
        (path(to=backend("missing")), "ServiceNotFound"),
        (path(to=backend("web", number=81)), "ServicePortNotFound"),
        (path("/two words"), "InvalidPath"),
        (path("/a\nb"), "InvalidPath"),
    ],
)
def test_what_cannot_be_done_is_told(planned, wanted, reason) -> None:
    made = planned(ingress(wanted, path("/fine")))
    assert [each for each, _ in made.problems["default/shop"]] == [reason]
    assert made.prefix[("shop.example", "/fine")] == NAMES["web"], "the rest is served"


def test_an_external_name_is_no_backend(planned) -> None:
    made = planned(ingress(path()), type="ExternalName", externalName="example.com")
    assert made.problems["default/shop"][0][0] == "UnsupportedBackend"


def test_parameters_of_a_class_are_not_taken(make) -> None:
    parameters = {"kind": "ConfigMap", "name": "settings"}
    spec = {"controller": CONTROLLER, "parameters": parameters}
    classes = {"minik": msgspec.convert({"metadata": {"name": "minik"}, "spec": spec}, IngressClass)}
    wanted = ingress(path(), ingressClassName="minik")
    services = {"default/web": make.service()}
    asks = partial(has_parameters, classes=classes)
    world = World([wanted], services.get, lambda key: [], lambda key: None, has_parameters=asks)
    assert [each for each, _ in plan(world).problems["default/shop"]] == ["UnsupportedParameters"]


def test_certificates_by_host(planned) -> None:
    tls = [{"hosts": ["shop.example", "*.shop.example"], "secretName": "tls"}]
    made = planned(ingress(path(), tls=tls), found=(secret(tls_crt="CERTIFICATE", tls_key="KEY"),))
    assert secrets([ingress(tls=tls)]) == {"default/tls"}
    (found,) = made.certificates.values()
    assert (found.pem, found.hosts) == ("CERTIFICATE\nKEY\n", ("shop.example", "*.shop.example"))
    assert made.problems == {}


@pytest.mark.parametrize(
    ("found", "reason"),
    [((), "SecretNotFound"), ((secret(tls_crt="C"),), "InvalidCertificate")],
)
def test_a_certificate_that_is_not_there(planned, found, reason) -> None:
    made = planned(ingress(path(), tls=[{"secretName": "tls"}]), found=found)
    assert [each for each, _ in made.problems["default/shop"]] == [reason]
    assert made.certificates == {} and made.prefix


def test_a_host_keeps_the_certificate_of_the_older_ingress(planned) -> None:
    tls = [{"hosts": ["shop.example"], "secretName": "tls"}]
    other = [{"hosts": ["shop.example", "more.example"], "secretName": "tls2"}]
    pair = (secret(tls_crt="C", tls_key="K"), secret("tls2", tls_crt="D", tls_key="L"))
    made = planned(ingress(path(), name="b", tls=other), ingress(path(), tls=tls, age=1), found=pair)
    assert {name: each.hosts for name, each in made.certificates.items()} == {
        "default_tls": ("shop.example",),
        "default_tls2": ("more.example",),
    }


def test_text_of_objects_is_never_haproxys(planned) -> None:
    evil = ingress(path(), host='x\n    http-request return status 200 string "mine"')
    evil.spec.tls = []
    made = planned(evil, ingress(path("/ok"), name="fine"))
    assert made.prefix == {("shop.example", "/ok"): NAMES["web"]}
    text = render(made, http=3, https=4, default="PEM", threads=1, connections=10, drain=1).text()
    assert "mine" not in text


def test_a_change_of_pods_alone_leaves_the_files_as_they_are(planned) -> None:
    one, other = planned(ingress(path())), planned(ingress(path()))
    other.backends[NAMES["web"]] = Backend(("10.244.9.9:8080",))
    first, second = (
        render(each, http=3, https=None, default="PEM", threads=1, connections=10, drain=1) for each in (one, other)
    )
    assert first.files == second.files and first.servers != second.servers
    assert "server 10.244.9.9:8080 10.244.9.9:8080\n" in second.text()
    assert first.files["prefix.map"] == "shop.example/ default_web_80\n"
    assert first.files[CERTIFICATES] == "default.pem\n" and "fd@4" not in first.files[CONFIG]


@pytest.mark.parametrize(
    ("named", "annotated", "ours"),
    [("minik", None, True), (None, "minik", True), ("nginx", None, False), (None, None, False), ("gone", None, False)],
)
def test_whose_an_ingress_is(named, annotated, ours) -> None:
    classes = {
        name: msgspec.convert({"metadata": {"name": name}, "spec": {"controller": controller}}, IngressClass)
        for name, controller in (("minik", CONTROLLER), ("nginx", "k8s.io/ingress-nginx"))
    }
    made = ingress(path(), ingressClassName=named)
    made.metadata.annotations = {"kubernetes.io/ingress.class": annotated} if annotated else None
    assert is_ours(made, classes) is ours
