from collections.abc import Iterable
from types import SimpleNamespace

import pytest
from lightkube.models.core_v1 import ServicePort
from lightkube.models.discovery_v1 import EndpointPort
from lightkube.resources.core_v1 import Service
from lightkube.resources.discovery_v1 import EndpointSlice

from api import meta
from api.endpoints import cluster_ip, is_headless, service_of
from proxy.records import Verdict, View, Zone

NETWORKS = ("10.244.0.0/16", "10.96.0.0/16")


def view_of(services: Iterable[Service], slices: Iterable[EndpointSlice]) -> View:
    services, slices = list(services), list(slices)
    by_key = {meta.key(each): each for each in services}

    def behind(key: str) -> list[EndpointSlice]:
        return [each for each in slices if service_of(each) == key]

    def has_address(key: str, ip: str) -> bool:
        return any(ip in endpoint.addresses for each in behind(key) for endpoint in each.endpoints)

    return View(
        service=by_key.get,
        slices=behind,
        has_services=lambda namespace: any(meta.namespace(each) == namespace for each in services),
        service_of_ip=lambda ip: next((each for each in services if cluster_ip(each) == ip), None),
        headless_of_ip=lambda ip: [e for e in services if is_headless(e) and has_address(meta.key(e), ip)],
    )


@pytest.fixture
def zone(make: SimpleNamespace) -> Zone:
    http = ServicePort(name="http", port=80)
    services = [
        make.service("web", ports=[http, ServicePort(name="dns", port=53, protocol="UDP")]),
        make.service("db", clusterIP="None", ports=[ServicePort(name="sql", port=5432)]),
        make.service("bare", clusterIP="None", ports=[]),
        make.service("empty", clusterIP="None"),
        make.service("out", clusterIP="", type="ExternalName", externalName="API.Example.Org."),
        make.service("inward", clusterIP="", type="ExternalName", externalName="web.default.svc.cluster.local"),
        make.service("cart", namespace="shop", clusterIP="10.96.0.6"),
    ]
    sql = [EndpointPort(name="sql", port=5433, protocol="TCP")]
    slices = [
        make.slice(
            make.pod("10.244.1.2", hostname="db-0"),
            make.pod("10.244.2.3"),
            make.pod("10.244.2.4", ready=False, serving=True, terminating=True),
            service="db",
            ports=sql,
        ),
        make.slice(make.pod("10.244.1.9"), service="bare", ports=[]),
        make.slice(make.pod("10.244.1.8", ready=False, serving=True, terminating=True), service="empty"),
    ]
    return Zone(view_of(services, slices), domain="cluster.local", networks=NETWORKS, dns_ip="10.96.0.10")


FOUND = [
    ("web.default.svc.cluster.local", "A", {"10.96.0.5"}),
    ("cart.shop.svc.cluster.local", "A", {"10.96.0.6"}),
    ("db.default.svc.cluster.local", "A", {"10.244.1.2", "10.244.2.3"}),
    ("bare.default.svc.cluster.local", "A", {"10.244.1.9"}),
    ("db-0.db.default.svc.cluster.local", "A", {"10.244.1.2"}),
    ("10-244-2-3.db.default.svc.cluster.local", "A", {"10.244.2.3"}),
    ("10-244-7-7.default.pod.cluster.local", "A", {"10.244.7.7"}),
    ("ns.dns.cluster.local", "A", {"10.96.0.10"}),
    ("dns-version.cluster.local", "TXT", {'"1.1.0"'}),
    ("cluster.local", "NS", {"ns.dns.cluster.local."}),
    ("_http._tcp.web.default.svc.cluster.local", "SRV", {"0 100 80 web.default.svc.cluster.local."}),
    ("_dns._udp.web.default.svc.cluster.local", "SRV", {"0 100 53 web.default.svc.cluster.local."}),
    (
        "_sql._tcp.db.default.svc.cluster.local",
        "SRV",
        {"0 50 5433 db-0.db.default.svc.cluster.local.", "0 50 5433 10-244-2-3.db.default.svc.cluster.local."},
    ),
    ("out.default.svc.cluster.local", "CNAME", {"api.example.org."}),
    ("5.0.96.10.in-addr.arpa", "PTR", {"web.default.svc.cluster.local."}),
    ("10.0.96.10.in-addr.arpa", "PTR", {"ns.dns.cluster.local."}),
    ("2.1.244.10.in-addr.arpa", "PTR", {"db-0.db.default.svc.cluster.local."}),
]


@pytest.mark.parametrize(("name", "type_", "expected"), FOUND)
def test_found(zone: Zone, name: str, type_: str, expected: set[str]) -> None:
    answer = zone.lookup(name, type_)
    assert answer.verdict is Verdict.FOUND
    assert {each.data for each in answer.records} == expected


NODATA = [
    ("web.default.svc.cluster.local", "AAAA"),
    ("web.default.svc.cluster.local", "MX"),
    ("10-244-7-7.default.pod.cluster.local", "AAAA"),
    ("empty.default.svc.cluster.local", "A"),
    ("_http._tcp.web.default.svc.cluster.local", "A"),
    ("_tcp.web.default.svc.cluster.local", "A"),
    ("cluster.local", "A"),
    ("svc.cluster.local", "A"),
    ("pod.cluster.local", "A"),
    ("default.svc.cluster.local", "A"),
    ("96.10.in-addr.arpa", "PTR"),
]


@pytest.mark.parametrize(("name", "type_"), NODATA)
def test_no_data(zone: Zone, name: str, type_: str) -> None:
    answer = zone.lookup(name, type_)
    assert answer.verdict is Verdict.FOUND
    assert answer.records == []


MISSING = [
    "nothing.default.svc.cluster.local",
    "web.nowhere.svc.cluster.local",
    "nowhere.svc.cluster.local",
    "pod-1.web.default.svc.cluster.local",
    "db-9.db.default.svc.cluster.local",
    "10-244-2-4.db.default.svc.cluster.local",
    "_https._tcp.web.default.svc.cluster.local",
    "_http._udp.web.default.svc.cluster.local",
    "_udp.db.default.svc.cluster.local",
    "x.out.default.svc.cluster.local",
    "a.b.c.web.default.svc.cluster.local",
    "no-address.default.pod.cluster.local",
    "web.default.svc.cluster.local.cluster.local",
    "example.com.default.svc.cluster.local",
    "www.cluster.local",
    "99.9.96.10.in-addr.arpa",
]


@pytest.mark.parametrize("name", MISSING)
def test_missing(zone: Zone, name: str) -> None:
    assert zone.lookup(name, "A").verdict is Verdict.MISSING
    assert zone.lookup(name, "SRV").verdict is Verdict.MISSING


@pytest.mark.parametrize(
    "name",
    [
        "example.com",
        "web",
        "notcluster.local",
        "8.8.8.8.in-addr.arpa",
        "10.in-addr.arpa",
        "in-addr.arpa",
        "x.96.10.in-addr.arpa",
        "1.2.0.96.10.in-addr.arpa",
        "",
    ],
)
def test_foreign(zone: Zone, name: str) -> None:
    assert zone.lookup(name, "A").verdict is Verdict.FOREIGN


def test_srv_brings_the_addresses_along(zone: Zone) -> None:
    answer = zone.lookup("_sql._tcp.db.default.svc.cluster.local", "SRV")
    assert {(each.name, each.data) for each in answer.extra} == {
        ("db-0.db.default.svc.cluster.local", "10.244.1.2"),
        ("10-244-2-3.db.default.svc.cluster.local", "10.244.2.3"),
    }
    assert zone.lookup("_sql._tcp.db.default.svc.cluster.local", "A").extra == []


def test_an_external_name_is_an_alias(zone: Zone) -> None:
    answer = zone.lookup("out.default.svc.cluster.local", "A")
    assert (answer.alias, answer.records) == ("api.example.org", [])
