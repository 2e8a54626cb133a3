"""hostPort: rules that lead from a port of the node to a pod on it, as the portmap CNI plugin does. Pure.

    prerouting, output -> host-ports --vmap--> port-PROTO/PORT -> dnat to the pod

Clients anywhere keep their address, but for those that the answer would not find back: pods of this node (their replies
would cross the bridge untranslated) and whoever calls 127.0.0.1. Those are masqueraded.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import NamedTuple

from lightkube.models.core_v1 import PodSpec

from kubelet.network.links import BRIDGE
from linux.nft import Ruleset

MASQUERADE_MARK = 0x2000
"""The bit of the packet mark that asks for source NAT; portmap's own choice."""

ANY_ADDRESS = "0.0.0.0"
PROTOCOLS = {"TCP": "tcp", "UDP": "udp", "SCTP": "sctp"}


class HostPort(NamedTuple):
    """A port of the node that belongs to a container."""

    protocol: str
    host_ip: str
    host_port: int
    port: int


def host_ports(spec: PodSpec | None) -> tuple[HostPort, ...]:
    """What the pod's containers ask for; a pod on the node's own network needs no leading."""
    if spec is None or spec.hostNetwork:
        return ()
    ports = [port for container in [*(spec.initContainers or ()), *spec.containers] for port in container.ports or ()]
    return tuple(
        HostPort(PROTOCOLS[each.protocol or "TCP"], each.hostIP or ANY_ADDRESS, each.hostPort, each.containerPort)
        for each in ports
        if each.hostPort
    )


def rules(pod_cidr: str, cluster_cidr: str, ports: Iterable[tuple[str, HostPort]]) -> Ruleset:
    """The node's own table: the way out of the cluster for its pods, and the host ports of (pod address, port)."""
    chains: dict[str, tuple[str, ...]] = {}
    elements: dict[tuple[str, str], str] = {}
    flows: dict[tuple[str, int], frozenset[tuple[str, int]]] = {}
    for pod_ip, port in ports:
        host_ip = ipaddress.ip_address(port.host_ip)
        if host_ip.version == 6 and not host_ip.is_unspecified:
            continue  # there is no IPv6 in this network
        address = "" if host_ip.is_unspecified else port.host_ip
        name = f"port-{port.protocol}/{address or 'any'}/{port.host_port}"
        if name in chains:
            continue  # the scheduler lets no two pods have it; a static pod does not ask
        chains[name] = (
            f"ip saddr {{ {pod_cidr}, 127.0.0.0/8 }} meta mark set meta mark | {MASQUERADE_MARK:#x}",
            f"meta l4proto {port.protocol} dnat to {pod_ip}:{port.port}",
        )
        key = f"{port.protocol} . {port.host_port}"
        elements[("host-addresses", f"{address} . {key}") if address else ("host-ports", key)] = f"goto {name}"
        if port.protocol == "udp":
            flows[address, port.host_port] = frozenset({(pod_ip, port.port)})
    return Ruleset(
        hooks={
            "guard": "type filter hook prerouting priority raw",
            "prerouting": "type nat hook prerouting priority dstnat",
            "output": "type nat hook output priority -100",
            "postrouting": "type nat hook postrouting priority srcnat",
        },
        sets={
            "host-addresses": "map { type ipv4_addr . inet_proto . inet_service : verdict; }",
            "host-ports": "map { type inet_proto . inet_service : verdict; }",
        },
        chains={
            # The bridge may carry answers to 127.0.0.1 (route_localnet), so nobody on it may call that address.
            "guard": (f'iifname "{BRIDGE}" ip daddr 127.0.0.0/8 drop',),
            "prerouting": ("fib daddr type local jump host-ports",),
            "output": ("fib daddr type local jump host-ports",),
            "postrouting": _postrouting(pod_cidr, cluster_cidr),
            "host-ports": (
                "ip daddr . meta l4proto . th dport vmap @host-addresses",
                "meta l4proto . th dport vmap @host-ports",
            ),
            **chains,
        },
        elements=elements,
        udp_flows=flows,
    )


def _postrouting(pod_cidr: str, cluster_cidr: str) -> tuple[str, ...]:
    bit, rest = f"{MASQUERADE_MARK:#x}", f"{0xFFFFFFFF ^ MASQUERADE_MARK:#x}"
    outside = f"ip daddr != {cluster_cidr} ip daddr != 224.0.0.0/4"
    return (
        f"meta mark & {bit} == {bit} meta mark set meta mark & {rest} masquerade fully-random",
        f'ip saddr {pod_cidr} {outside} oifname != "{BRIDGE}" masquerade',
    )
