from types import SimpleNamespace
from typing import Any

import pytest
from lightkube.models.core_v1 import ServicePort
from lightkube.models.discovery_v1 import EndpointPort

from api.endpoints import cluster_ip, ipv4, is_headless, service_of, serving

HTTP = ServicePort(port=80)


def addresses(*args: Any, **kwargs: Any) -> list[str]:
    return [f"{each.ip}:{each.port}" for each in serving(*args, **kwargs)]


@pytest.mark.parametrize(
    ("conditions", "counts"),
    [
        ({"ready": True}, True),
        ({"ready": None}, True),
        ({"ready": False}, False),
        ({"ready": False, "serving": True}, False),
        ({"ready": True, "terminating": True, "serving": False}, False),
    ],
)
def test_only_ready_endpoints_get_connections(
    make: SimpleNamespace, conditions: dict[str, bool | None], counts: bool
) -> None:
    found = addresses(make.service(), HTTP, [make.slice(make.pod("10.244.1.2", **conditions))])
    assert found == (["10.244.1.2:8080"] if counts else [])


def test_serving_terminating_ones_stand_in_only_when_none_is_ready(make: SimpleNamespace) -> None:
    leaving = make.pod("10.244.1.2", ready=False, serving=True, terminating=True)
    dead = make.pod("10.244.1.3", ready=False, serving=False, terminating=True)
    ready = make.pod("10.244.1.4")
    assert addresses(make.service(), HTTP, [make.slice(leaving, dead, ready)]) == ["10.244.1.4:8080"]
    assert addresses(make.service(), HTTP, [make.slice(leaving, dead)]) == ["10.244.1.2:8080"]
    assert addresses(make.service(), HTTP, [make.slice(leaving, dead)], leaving_too=False) == []


def test_unready_addresses_are_published_on_request(make: SimpleNamespace) -> None:
    terminating = make.pod("10.244.1.2", ready=True, serving=True, terminating=True)
    ready = make.pod("10.244.1.3")
    assert len(addresses(make.service(publishNotReadyAddresses=True), HTTP, [make.slice(terminating, ready)])) == 2
    assert len(addresses(make.service(), HTTP, [make.slice(terminating, ready)])) == 1


def test_the_order_is_that_of_the_addresses_whatever_the_slices(make: SimpleNamespace) -> None:
    one, two = make.slice(make.pod("10.244.1.10"), make.pod("10.244.1.9")), make.slice(make.pod("10.244.1.2"))
    expected = ["10.244.1.2:8080", "10.244.1.9:8080", "10.244.1.10:8080"]
    assert addresses(make.service(), HTTP, [one, two]) == addresses(make.service(), HTTP, [two, one]) == expected


def test_an_endpoint_in_two_slices_counts_once(make: SimpleNamespace) -> None:
    twice = [make.slice(make.pod("10.244.1.2")), make.slice(make.pod("10.244.1.2", node="elsewhere"))]
    assert addresses(make.service(), HTTP, twice) == ["10.244.1.2:8080"]


def test_ports_match_by_name_and_protocol(make: SimpleNamespace) -> None:
    ports = [
        EndpointPort(name="http", port=8080, protocol="TCP"),
        EndpointPort(name="dns", port=5353, protocol="UDP"),
        EndpointPort(name="none", port=None, protocol="TCP"),
        EndpointPort(name="odd", port=70000, protocol="TCP"),
    ]
    behind = [make.slice(make.pod("10.244.1.2"), ports=ports)]
    web = make.service()
    assert addresses(web, ServicePort(name="http", port=80), behind) == ["10.244.1.2:8080"]
    assert addresses(web, ServicePort(name="dns", port=53, protocol="UDP"), behind) == ["10.244.1.2:5353"]
    for port in (ServicePort(name="dns", port=53), ServicePort(port=80), ServicePort(name="none", port=1)):
        assert addresses(web, port, behind) == []
    assert addresses(web, ServicePort(name="odd", port=1), behind) == []


def test_a_node_counts_its_own(make: SimpleNamespace) -> None:
    behind = [make.slice(make.pod("10.244.1.2", node="a"), make.pod("10.244.2.2", node="b"))]
    assert addresses(make.service(), HTTP, behind, node="b") == ["10.244.2.2:8080"]


@pytest.mark.parametrize(
    "text", ["", "None", "127.0.0.1", "0.0.0.0", "169.254.1.1", "224.0.0.1", "::1", "1.2.3", "10.0.0.1; flush ruleset"]
)
def test_addresses_that_must_not_reach_the_kernel(make: SimpleNamespace, text: str) -> None:
    assert ipv4(text) == ""
    assert addresses(make.service(), HTTP, [make.slice(make.pod(text))]) == []


def test_other_address_types_are_left_out(make: SimpleNamespace) -> None:
    named = make.slice(make.pod("10.244.1.2"))
    named.addressType = "FQDN"
    assert addresses(make.service(), HTTP, [named]) == []


def test_cluster_ip(make: SimpleNamespace) -> None:
    assert cluster_ip(make.service()) == "10.96.0.5"
    assert cluster_ip(make.service(clusterIP="fd00::5", clusterIPs=["fd00::5", "10.96.0.9"])) == "10.96.0.9"
    assert cluster_ip(make.service(clusterIP="None")) == ""
    assert cluster_ip(make.service(type="ExternalName", externalName="x.example")) == ""
    assert is_headless(make.service(clusterIP="None"))
    assert not is_headless(make.service())


def test_the_service_of_a_slice(make: SimpleNamespace) -> None:
    assert service_of(make.slice(namespace="shop", service="web")) == "shop/web"
    loose = make.slice()
    loose.metadata.labels = None
    assert service_of(loose) == ""
