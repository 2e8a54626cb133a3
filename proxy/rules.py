"""Services and their endpoints -> the nftables ruleset of a node. Pure, and deterministic.

    prerouting, output -> services --vmap--> service-NS/NAME/PROTO/PORT -> dnat to the next endpoint
                                   --vmap--> external-... -> mark for masquerade -> service-...
    input, forward, output (filter)          refuse what has no endpoints, drop what is no service
    postrouting                              masquerade what is marked, and pods that talk to themselves

Interface: `service_rules` makes the part of one service, `base_rules` what every node has; `nft.merge` puts parts
together, and `nft.Table` turns the difference of two rulesets into one transaction.

Invariants
- A packet finds its service port in one hash lookup (a verdict map), however many services there are.
- Each service port has one chain with one `numgen inc` counter that pods, the node itself and NodePort clients
  share, so new connections go round robin exactly. The chain's text changes only when its endpoints do: `nft.py`
  leaves unchanged chains, and their counters, alone.
- Only checked numbers and addresses, and names that fit a DNS label, get into the text.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from lightkube.models import core_v1
from lightkube.resources.core_v1 import Service
from lightkube.resources.discovery_v1 import EndpointSlice

from api import meta
from api.endpoints import Endpoint, cluster_ip, ipv4, service_of, serving
from linux.conntrack import UdpTarget
from linux.nft import Ruleset, merge

TABLE = "ip minik-proxy"

MASQUERADE_MARK = 0x4000
"""The bit of the packet mark that asks postrouting for source NAT; Kubernetes' own choice, so that CNIs know it."""

AFFINITY_SECONDS = 10800
"""sessionAffinity ClientIP without a timeout, as the Kubernetes API defaults it."""

PROTOCOLS = {"TCP": "tcp", "UDP": "udp", "SCTP": "sctp"}

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")

_MARK = f"meta mark set meta mark | {MASQUERADE_MARK:#x}"


@dataclass(frozen=True)
class NodeFacts:
    """What the rules depend on beside the API objects."""

    name: str
    cluster_cidr: str
    """The range of all pods; sources outside it are masqueraded. Empty: nothing is known about pods."""
    service_cidr: str
    dns_ip: str = ""
    """A service address the node answers itself; a Service of that address gets no rules."""
    pod_cidr: str = ""
    """This node's part of the cluster range."""
    bridge_netfilter: bool = True
    """Whether frames between pods of one bridge pass these rules (net.bridge.bridge-nf-call-iptables)."""
    masquerade_all: bool = False


def build(services: Iterable[Service], slices: Iterable[EndpointSlice], facts: NodeFacts) -> Ruleset:
    """The whole ruleset of a node."""
    of_service: dict[str, list[EndpointSlice]] = {}
    for each in slices:
        of_service.setdefault(service_of(each), []).append(each)
    parts = [service_rules(each, of_service.get(meta.key(each), []), facts) for each in sorted(services, key=seniority)]
    return merge([base_rules(facts), *parts])


def seniority(service: Service) -> tuple[str, str]:
    """Sorts services so that of two claiming the same thing the older comes first."""
    created = meta.metadata(service).creationTimestamp
    return (created.isoformat() if created else "", meta.key(service))


def base_rules(facts: NodeFacts) -> Ruleset:
    """The chains and maps every node has."""
    by_address, by_port = "ipv4_addr . inet_proto . inet_service : verdict", "inet_proto . inet_service : verdict"
    not_ours = f" ip daddr != {facts.dns_ip}" if facts.dns_ip else ""
    foreign = "" if facts.masquerade_all or not facts.cluster_cidr else f" ip saddr != {facts.cluster_cidr}"
    mark_foreign = [f"ip daddr {facts.service_cidr}{not_ours}{foreign} {_MARK}"] if _marks(facts) else []
    return Ruleset(
        hooks={
            "prerouting": "type nat hook prerouting priority dstnat",
            "output": "type nat hook output priority -100",
            "postrouting": "type nat hook postrouting priority srcnat",
            "firewall-prerouting": "type filter hook prerouting priority dstnat - 10",
            "firewall-output": "type filter hook output priority -110",
            "filter-input": "type filter hook input priority filter",
            "filter-forward": "type filter hook forward priority filter",
            "filter-output": "type filter hook output priority filter",
        },
        sets={
            "service-ips": f"map {{ type {by_address}; }}",
            "service-nodeports": f"map {{ type {by_port}; }}",
            "unserved-ips": f"map {{ type {by_address}; }}",
            "unserved-nodeports": f"map {{ type {by_port}; }}",
            "firewall-ips": f"map {{ type {by_address}; }}",
            "cluster-ips": "set { type ipv4_addr; }",
            "hairpins": "set { type ipv4_addr . ipv4_addr; }",
        },
        chains={
            "prerouting": ("jump services",),
            "output": ("jump services",),
            "postrouting": _postrouting(facts),
            "services": (
                *mark_foreign,
                "ip daddr . meta l4proto . th dport vmap @service-ips",
                "fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @service-nodeports",
            ),
            # Before a load balancer's address is translated: who may use it (loadBalancerSourceRanges).
            "firewall-prerouting": ("ip daddr . meta l4proto . th dport vmap @firewall-ips",),
            "firewall-output": ("ip daddr . meta l4proto . th dport vmap @firewall-ips",),
            # A node port is an address of the node; replies to the node's own connections are not for us.
            "filter-input": (
                "ct direction original meta l4proto . th dport vmap @unserved-nodeports",
                "ct direction original ip daddr . meta l4proto . th dport vmap @unserved-ips",
            ),
            "filter-forward": ("jump unserved",),
            "filter-output": ("jump unserved",),
            # What still has a service address here was not translated.
            "unserved": (
                "ct direction original ip daddr . meta l4proto . th dport vmap @unserved-ips",
                "ip daddr @cluster-ips goto refuse",
                f"ip daddr {facts.service_cidr}{not_ours} drop",
            ),
            "refuse": ("meta l4proto tcp reject with tcp reset", "reject with icmp port-unreachable"),
        },
    )


def _marks(facts: NodeFacts) -> bool:
    return facts.masquerade_all or bool(facts.cluster_cidr)


def _postrouting(facts: NodeFacts) -> tuple[str, ...]:
    bit, rest = f"{MASQUERADE_MARK:#x}", f"{0xFFFFFFFF ^ MASQUERADE_MARK:#x}"
    rules = [
        # Cleared so that a tunnel's outer packet, which inherits the mark, is not translated as well.
        f"meta mark & {bit} == {bit} meta mark set meta mark & {rest} masquerade fully-random",
        # A pod that reached itself through a service must not see its own address as the source.
        "ip saddr . ip daddr @hairpins masquerade fully-random",
    ]
    if not facts.bridge_netfilter and facts.pod_cidr:
        # Replies between pods of one bridge would bypass the translation back; through the node they cannot.
        rules.append(f"ip saddr {facts.pod_cidr} ip daddr {facts.pod_cidr} ct status dnat masquerade fully-random")
    return tuple(rules)


def service_rules(service: Service, slices: Iterable[EndpointSlice], facts: NodeFacts) -> Ruleset:
    """The part of one service: a chain per port, and the elements that lead to it."""
    address = cluster_ip(service)
    spec = service.spec
    if spec is None or not address or address == facts.dns_ip or not _is_nameable(service):
        return Ruleset()
    slices = list(slices)
    parts = [_PortRules(service, port, slices, facts).build() for port in spec.ports or [] if _is_usable(port)]
    return merge([Ruleset(elements={("cluster-ips", address): ""}), *parts])


def _is_nameable(service: Service) -> bool:
    return all(_LABEL.fullmatch(part) and len(part) <= 63 for part in (meta.namespace(service), meta.name(service)))


def _networks(texts: Iterable[str]) -> Iterable[ipaddress.IPv4Network]:
    found = []
    for text in texts:
        with contextlib.suppress(ValueError):
            found.append(ipaddress.IPv4Network(text.strip(), strict=False))
    return ipaddress.collapse_addresses(found)


def _is_usable(port: core_v1.ServicePort) -> bool:
    return (port.protocol or "TCP") in PROTOCOLS and 0 < port.port < 65536


class _PortRules:
    """One port of one service on this node, being turned into rules."""

    def __init__(
        self, service: Service, port: core_v1.ServicePort, slices: list[EndpointSlice], facts: NodeFacts
    ) -> None:
        assert service.spec is not None
        self.service, self.spec, self.port, self.facts = service, service.spec, port, facts
        self.protocol = PROTOCOLS[port.protocol or "TCP"]
        self.id = f"{meta.namespace(service)}/{meta.name(service)}/{self.protocol}/{port.port}"
        self.all = serving(service, port, slices)
        self.local = serving(service, port, slices, node=facts.name)
        self.chains: dict[str, tuple[str, ...]] = {}
        self.sets: dict[str, str] = {}
        self.elements: dict[tuple[str, str], str] = {}

    def build(self) -> Ruleset:
        self._internal()
        self._external()
        for endpoint in self.all:
            if endpoint.node in ("", self.facts.name):
                self.elements["hairpins", f"{endpoint.ip} . {endpoint.ip}"] = ""
        return Ruleset(chains=self.chains, sets=self.sets, elements=self.elements, udp_flows=self._udp_flows())

    def _udp_flows(self) -> dict[UdpTarget, frozenset[UdpTarget]]:
        if self.protocol != "udp":
            return {}
        answering = frozenset((each.ip, each.port) for each in self.all)
        flows = {(address, self.port.port): answering for address in self._external_addresses()}
        flows[cluster_ip(self.service), self.port.port] = answering
        if self.port.nodePort:
            flows["", self.port.nodePort] = answering
        return flows

    def _internal(self) -> None:
        """The cluster address. Local policy without local endpoints drops, as Kubernetes says; none at all refuses."""
        only_local = self.spec.internalTrafficPolicy == "Local"
        if self.local if only_local else self.all:
            self._address("service-ips", cluster_ip(self.service), f"goto {self._balance(local=only_local)}")
        else:
            self._address("unserved-ips", cluster_ip(self.service), self._verdict_for_none())

    def _external(self) -> None:
        """Node port, external IPs and load balancer addresses."""
        addresses = list(self._external_addresses())
        node_port = self.port.nodePort or 0
        if not addresses and not 0 < node_port < 65536:
            return
        only_local = self.spec.externalTrafficPolicy == "Local"
        self._firewall()
        if self.all:
            chain = f"external-{self.id}"
            self.chains[chain] = self._external_rules(only_local=only_local)
            self._reachable("service", addresses, node_port, f"goto {chain}")
        if not (self.local if only_local else self.all):
            self._reachable("unserved", addresses, node_port, self._verdict_for_none())

    def _external_rules(self, *, only_local: bool) -> tuple[str, ...]:
        if not only_local:
            return (_MARK, f"goto {self._balance()}")
        # The policy keeps outside clients' addresses; pods and the node itself may use every endpoint.
        balance = self._balance()
        inside = [f"ip saddr {self.facts.cluster_cidr} goto {balance}"] if self.facts.cluster_cidr else []
        own = (f"fib saddr type local {_MARK}", f"fib saddr type local goto {balance}")
        return (*inside, *own, *((f"goto {self._balance(local=True)}",) if self.local else ()))

    def _firewall(self) -> None:
        """Only the ranges a load balancer's Service names may use its addresses."""
        if not self.spec.loadBalancerSourceRanges:
            return
        ranges = [str(each) for each in _networks(self.spec.loadBalancerSourceRanges)]
        chain = f"firewall-{self.id}"
        self.chains[chain] = (f"ip saddr != {{ {', '.join(ranges)} }} drop" if ranges else "drop",)
        for address in filter(None, map(ipv4, self._balanced_addresses())):
            self._address("firewall-ips", address, f"goto {chain}")

    def _balanced_addresses(self) -> list[str]:
        status = self.service.status.loadBalancer if self.service.status else None
        return [each.ip or "" for each in (status.ingress if status else None) or []]

    def _external_addresses(self) -> Iterator[str]:
        for text in [*(self.spec.externalIPs or []), *self._balanced_addresses()]:
            if address := ipv4(text):
                yield address

    def _reachable(self, maps: str, addresses: Iterable[str], node_port: int, verdict: str) -> None:
        for address in addresses:
            self._address(f"{maps}-ips", address, verdict)
        if 0 < node_port < 65536:
            self.elements[f"{maps}-nodeports", f"{self.protocol} . {node_port}"] = verdict

    def _address(self, target: str, address: str, verdict: str) -> None:
        self.elements[target, f"{address} . {self.protocol} . {self.port.port}"] = verdict

    def _verdict_for_none(self) -> str:
        return "drop" if self.all else "goto refuse"

    def _balance(self, *, local: bool = False) -> str:
        """The chain that sends a connection to the next of the endpoints, made on first use."""
        chain = f"{'local' if local else 'service'}-{self.id}"
        if chain not in self.chains:
            endpoints = self.local if local else self.all
            sticky = self.spec.sessionAffinity == "ClientIP"
            self.chains[chain] = self._sticky(endpoints) if sticky else (self._round_robin(endpoints),)
        return chain

    def _round_robin(self, endpoints: list[Endpoint]) -> str:
        match = f"meta l4proto {self.protocol}"
        if len(endpoints) == 1:
            return f"{match} dnat to {endpoints[0].ip}:{endpoints[0].port}"
        targets = ", ".join(f"{index} : {each.ip} . {each.port}" for index, each in enumerate(endpoints))
        return f"{match} dnat ip addr . port to numgen inc mod {len(endpoints)} map {{ {targets} }}"

    def _sticky(self, endpoints: list[Endpoint]) -> tuple[str, ...]:
        """Session affinity: per endpoint a set of the clients it served lately."""
        config = self.spec.sessionAffinityConfig
        client = config.clientIP if config else None
        seconds = (client.timeoutSeconds if client else None) or AFFINITY_SECONDS
        known: list[str] = []
        chains: list[str] = []
        for each in endpoints:
            name = f"{self.id}/{each.ip}/{each.port}"
            self.sets[f"affinity-{name}"] = "set { type ipv4_addr; flags dynamic,timeout; }"
            self.chains[f"endpoint-{name}"] = (
                f"update @affinity-{name} {{ ip saddr timeout {seconds}s }}",
                f"meta l4proto {self.protocol} dnat to {each.ip}:{each.port}",
            )
            known.append(f"ip saddr @affinity-{name} goto endpoint-{name}")
            chains.append(f"{len(chains)} : goto endpoint-{name}")
        return (*known, f"numgen inc mod {len(chains)} vmap {{ {', '.join(chains)} }}")
