import dataclasses
import random
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from lightkube.models.core_v1 import (
    ClientIPConfig,
    LoadBalancerIngress,
    LoadBalancerStatus,
    ServicePort,
    ServiceStatus,
    SessionAffinityConfig,
)
from lightkube.models.discovery_v1 import EndpointPort

from linux.nft import merge, replacement
from proxy.rules import TABLE, NodeFacts, base_rules, build, service_rules

FACTS = NodeFacts(name="node-1", cluster_cidr="10.244.0.0/16", service_cidr="10.96.0.0/16", dns_ip="10.96.0.10")
CHAIN = "service-default/web/tcp/80"


def test_endpoints_take_turns(make: SimpleNamespace) -> None:
    part = service_rules(make.service(), [make.slice(make.pod("10.244.1.2"), make.pod("10.244.2.2"))], FACTS)
    assert part.elements["service-ips", "10.96.0.5 . tcp . 80"] == f"goto {CHAIN}"
    assert part.chains[CHAIN] == (
        "meta l4proto tcp dnat ip addr . port to numgen inc mod 2 map { 0 : 10.244.1.2 . 8080, 1 : 10.244.2.2 . 8080 }",
    )


def test_one_endpoint_needs_no_turns(make: SimpleNamespace) -> None:
    part = service_rules(make.service(), [make.slice(make.pod("10.244.1.2"))], FACTS)
    assert part.chains[CHAIN] == ("meta l4proto tcp dnat to 10.244.1.2:8080",)


def test_no_endpoints_refuse(make: SimpleNamespace) -> None:
    web = make.service(ports=[ServicePort(port=80, nodePort=30080)])
    part = service_rules(web, [make.slice(make.pod("10.244.1.2", ready=False))], FACTS)
    assert part.elements == {
        ("cluster-ips", "10.96.0.5"): "",
        ("unserved-ips", "10.96.0.5 . tcp . 80"): "goto refuse",
        ("unserved-nodeports", "tcp . 30080"): "goto refuse",
    }
    assert not part.chains


def test_several_named_ports_each_have_a_chain(make: SimpleNamespace) -> None:
    ports = [ServicePort(name="http", port=80), ServicePort(name="dns", port=53, protocol="UDP")]
    behind = [
        EndpointPort(name="http", port=8080, protocol="TCP"),
        EndpointPort(name="dns", port=5353, protocol="UDP"),
    ]
    part = service_rules(make.service(ports=ports), [make.slice(make.pod("10.244.1.2"), ports=behind)], FACTS)
    assert part.chains == {
        CHAIN: ("meta l4proto tcp dnat to 10.244.1.2:8080",),
        "service-default/web/udp/53": ("meta l4proto udp dnat to 10.244.1.2:5353",),
    }
    assert part.udp_flows == {("10.96.0.5", 53): frozenset({("10.244.1.2", 5353)})}


def test_node_ports_and_external_addresses_are_masqueraded(make: SimpleNamespace) -> None:
    web = make.service(ports=[ServicePort(port=80, nodePort=30080)], externalIPs=["198.51.100.7", "not an address"])
    web.status = ServiceStatus(loadBalancer=LoadBalancerStatus(ingress=[LoadBalancerIngress(ip="198.51.100.8")]))
    part = service_rules(web, [make.slice(make.pod("10.244.1.2"))], FACTS)
    external = "goto external-default/web/tcp/80"
    assert part.elements["service-nodeports", "tcp . 30080"] == external
    assert part.elements["service-ips", "198.51.100.7 . tcp . 80"] == external
    assert part.elements["service-ips", "198.51.100.8 . tcp . 80"] == external
    assert part.chains["external-default/web/tcp/80"] == ("meta mark set meta mark | 0x4000", f"goto {CHAIN}")


def test_external_traffic_stays_local_when_told(make: SimpleNamespace) -> None:
    web = make.service(externalTrafficPolicy="Local", ports=[ServicePort(port=80, nodePort=30080)])
    near, far = make.pod("10.244.1.2"), make.pod("10.244.2.2", node="node-2")
    part = service_rules(web, [make.slice(near, far)], FACTS)
    assert part.chains["external-default/web/tcp/80"][-1] == "goto local-default/web/tcp/80"
    assert part.chains["local-default/web/tcp/80"] == ("meta l4proto tcp dnat to 10.244.1.2:8080",)
    part = service_rules(web, [make.slice(far)], FACTS)
    assert part.elements["unserved-nodeports", "tcp . 30080"] == "drop"
    assert "local-default/web/tcp/80" not in part.chains


@pytest.mark.parametrize(
    ("ranges", "rule"),
    [
        (
            ["10.0.0.0/8", " 198.51.100.0/25", "198.51.100.128/25"],
            "ip saddr != { 10.0.0.0/8, 198.51.100.0/24 } drop",
        ),
        (["not a range; flush ruleset"], "drop"),
    ],
)
def test_a_load_balancers_address_is_for_its_ranges_only(make: SimpleNamespace, ranges: list[str], rule: str) -> None:
    web = make.service(type="LoadBalancer", externalIPs=["198.51.100.7"], loadBalancerSourceRanges=ranges)
    web.status = ServiceStatus(loadBalancer=LoadBalancerStatus(ingress=[LoadBalancerIngress(ip="198.51.100.8")]))
    part = service_rules(web, [make.slice(make.pod("10.244.1.2"))], FACTS)
    assert part.chains["firewall-default/web/tcp/80"] == (rule,)
    found = {key: verdict for (target, key), verdict in part.elements.items() if target == "firewall-ips"}
    assert found == {"198.51.100.8 . tcp . 80": "goto firewall-default/web/tcp/80"}


def test_internal_traffic_stays_local_when_told(make: SimpleNamespace) -> None:
    web = make.service(internalTrafficPolicy="Local")
    far = make.slice(make.pod("10.244.2.2", node="node-2"))
    assert service_rules(web, [far], FACTS).elements["unserved-ips", "10.96.0.5 . tcp . 80"] == "drop"
    part = service_rules(web, [far, make.slice(make.pod("10.244.1.2"))], FACTS)
    assert part.elements["service-ips", "10.96.0.5 . tcp . 80"] == "goto local-default/web/tcp/80"


def test_affinity_remembers_clients_per_endpoint(make: SimpleNamespace) -> None:
    config = SessionAffinityConfig(clientIP=ClientIPConfig(timeoutSeconds=60))
    web = make.service(sessionAffinity="ClientIP", sessionAffinityConfig=config)
    part = service_rules(web, [make.slice(make.pod("10.244.1.2"), make.pod("10.244.1.3"))], FACTS)
    name = "default/web/tcp/80/10.244.1.2/8080"
    assert part.chains[CHAIN][0] == f"ip saddr @affinity-{name} goto endpoint-{name}"
    assert part.chains[CHAIN][-1].startswith("numgen inc mod 2 vmap { 0 : goto endpoint-")
    assert part.chains[f"endpoint-{name}"][0] == f"update @affinity-{name} {{ ip saddr timeout 60s }}"


def test_only_pods_of_this_node_can_meet_themselves_here(make: SimpleNamespace) -> None:
    part = service_rules(
        make.service(), [make.slice(make.pod("10.244.1.2"), make.pod("10.244.2.2", node="node-2"))], FACTS
    )
    assert [key for target, key in part.elements if target == "hairpins"] == ["10.244.1.2 . 10.244.1.2"]


@pytest.mark.parametrize(
    "spec",
    [
        {"clusterIP": "None"},
        {"clusterIP": ""},
        {"clusterIP": FACTS.dns_ip},
        {"type": "ExternalName", "externalName": "example.org"},
        {"clusterIP": "10.96.0.5; flush ruleset"},
    ],
)
def test_services_without_an_address_of_ours_make_no_rules(make: SimpleNamespace, spec: dict[str, str]) -> None:
    part = service_rules(make.service(**spec), [make.slice(make.pod("10.244.1.2"))], FACTS)
    assert not part.elements
    assert not part.chains


@pytest.mark.parametrize("name", ["we b", "web;flush", "web{", "Web", "a" * 64, "-web", ""])
def test_names_that_are_no_labels_make_no_rules(make: SimpleNamespace, name: str) -> None:
    assert not service_rules(make.service(name), [make.slice(make.pod("10.244.1.2"))], FACTS).elements


def test_the_order_of_the_objects_does_not_matter(make: SimpleNamespace) -> None:
    services = [make.service(f"web-{n}", clusterIP=f"10.96.1.{n}") for n in range(1, 9)]
    slices = [make.slice(*(make.pod(f"10.244.{n}.{i}") for i in range(1, 4)), service=f"web-{n}") for n in range(1, 9)]
    text = replacement(TABLE, build(services, slices, FACTS))
    for seed in range(5):
        random.Random(seed).shuffle(services)
        random.Random(seed + 1).shuffle(slices)
        assert replacement(TABLE, build(services, slices, FACTS)) == text


def test_of_two_services_with_one_external_ip_the_older_keeps_it(make: SimpleNamespace) -> None:
    old = make.service("old", clusterIP="10.96.1.1", externalIPs=["198.51.100.7"])
    new = make.service("new", clusterIP="10.96.1.2", externalIPs=["198.51.100.7"])
    old.metadata.creationTimestamp = datetime(2026, 1, 1, tzinfo=UTC)
    new.metadata.creationTimestamp = datetime(2026, 1, 2, tzinfo=UTC)
    slices = [make.slice(make.pod("10.244.1.2"), service=each) for each in ("old", "new")]
    whole = build([new, old], slices, FACTS)
    assert whole.elements["service-ips", "198.51.100.7 . tcp . 80"] == "goto external-default/old/tcp/80"


def test_foreign_sources_are_masqueraded_and_the_dns_is_left_alone() -> None:
    first = base_rules(FACTS).chains["services"][0]
    assert first == (
        "ip daddr 10.96.0.0/16 ip daddr != 10.96.0.10 ip saddr != 10.244.0.0/16 meta mark set meta mark | 0x4000"
    )
    everything = base_rules(dataclasses.replace(FACTS, masquerade_all=True)).chains["services"][0]
    assert "saddr" not in everything
    assert len(base_rules(dataclasses.replace(FACTS, cluster_cidr="")).chains["services"]) == 2


def test_without_bridge_netfilter_pods_of_one_bridge_are_masqueraded() -> None:
    facts = dataclasses.replace(FACTS, bridge_netfilter=False, pod_cidr="10.244.1.0/24")
    assert "ip saddr 10.244.1.0/24 ip daddr 10.244.1.0/24 ct status dnat" in base_rules(facts).chains["postrouting"][-1]
    assert len(base_rules(FACTS).chains["postrouting"]) == 2


def test_merging_keeps_the_first_of_two(make: SimpleNamespace) -> None:
    one = service_rules(make.service(), [make.slice(make.pod("10.244.1.2"))], FACTS)
    two = service_rules(make.service(), [make.slice(make.pod("10.244.1.3"))], FACTS)
    assert merge([one, two]).chains == one.chains
