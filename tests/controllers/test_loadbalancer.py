"""Who gets the nodes' addresses: Services of type LoadBalancer and Ingresses, the older first."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from lightkube.resources.core_v1 import Node, Service
from lightkube.resources.networking_v1 import Ingress

from controllers.loadbalancer import EXCLUDED, Claimant, addresses, decide


def node(address: str, *, ready: str = "True", labels: dict[str, str] | None = None, external: str = "") -> Node:
    by_type = {"InternalIP": address, "ExternalIP": external}
    given = [{"type": type_, "address": text} for type_, text in by_type.items() if text]
    status = {"addresses": given, "conditions": [{"type": "Ready", "status": ready}]}
    return msgspec.convert({"metadata": {"name": f"node-{address}", "labels": labels}, "status": status}, Node)


def meta(name: str, day: int) -> dict[str, Any]:
    return {"name": name, "namespace": "default", "creationTimestamp": f"2026-01-{day:02}T00:00:00Z"}


def service(name: str, *ports: int, day: int = 1, protocol: str = "TCP", **spec: Any) -> Service:
    given = [{"port": port, "protocol": protocol} for port in ports]
    spec = {"type": "LoadBalancer", "ports": given, **spec}
    return msgspec.convert({"metadata": meta(name, day), "spec": spec}, Service, strict=False)


def ingress(name: str, day: int) -> Ingress:
    return msgspec.convert({"metadata": meta(name, day)}, Ingress, strict=False)


NODES = [node("10.0.0.1"), node("10.0.0.2")]
BOTH = ("10.0.0.1", "10.0.0.2")


def decided(*claimants: Claimant, local: set[str] | None = None) -> dict[str, Any]:
    """Addresses, or the problem, by name."""
    found = decide(claimants, NODES, lambda service: local or set())
    return {who.split("/")[1]: verdict.problem or verdict.addresses for who, verdict in found.items()}


def test_the_addresses_of_nodes_that_answer() -> None:
    nodes = [
        node("10.0.0.12"),
        node("10.0.0.2"),
        node("10.0.0.3", ready="Unknown"),
        node("10.0.0.4", labels={EXCLUDED: ""}),
        node("10.0.0.5", external="192.0.2.5"),
    ]
    assert addresses(nodes) == ["10.0.0.2", "10.0.0.12", "192.0.2.5"]


def test_a_port_is_the_older_claimants() -> None:
    assert decided(service("young", 8080, 80, day=2), service("old", 80), service("dns", 80, protocol="UDP")) == {
        "old": BOTH,
        "dns": BOTH,
        "young": "Error syncing load balancer: port 80/TCP of the nodes belongs to Service default/old",
    }


def test_all_ingresses_are_one_claimant() -> None:
    late = "Error syncing load balancer: port 443/TCP of the nodes belongs to Ingresses"
    found = decided(ingress("a", 1), ingress("b", 3), service("web", 443, day=2))
    assert found == {"a": BOTH, "b": BOTH, "web": late}
    found = decided(ingress("a", 2), service("web", 443))
    assert found["web"] == BOTH and "belongs to Service default/web" in found["a"]


@pytest.mark.parametrize(("port", "holder"), [(22, "ssh"), (6443, "the cluster"), (30001, "node ports")])
def test_what_a_node_needs_is_not_given_away(port: int, holder: str) -> None:
    assert decided(service("greedy", port))["greedy"].endswith(f"belongs to {holder}")


def test_local_traffic_policy_asks_the_nodes_with_pods_only() -> None:
    assert decided(service("web", 80, externalTrafficPolicy="Local"), local={"node-10.0.0.2"}) == {"web": ("10.0.0.2",)}


def test_an_address_that_is_asked_for() -> None:
    assert decided(service("web", 80, loadBalancerIP="10.0.0.2")) == {"web": ("10.0.0.2",)}
    problem = "Error syncing load balancer: no node has the address 192.0.2.9"
    assert decided(service("web", 80, loadBalancerIP="192.0.2.9")) == {"web": problem}


def test_what_is_balanced_no_more_loses_its_addresses() -> None:
    assert decided(service("web", 80, type="ClusterIP")) == {"web": ()}
