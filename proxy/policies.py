"""NetworkPolicies and pods -> the nftables ruleset that holds them on one node. Pure, and deterministic.

    forward --> established: accept
            --> by source: a pod of this node that some policy isolates for egress -> its chain, or dropped
            --> by destination: the same for ingress

Kubernetes: https://kubernetes.io/docs/concepts/services-networking/network-policies/. A policy is enforced on the node
of the pod that it selects. Traffic between a pod and its own node passes always, as Kubernetes says (probes, DNS).

Invariants
- Pods that the same policies select share one chain; peers are elements of sets. A packet's cost depends on how many
  rules its pods' policies have, never on the number of pods.
- A connection is judged when it begins; what is established goes on, and replies pass.
- While there is any policy at all, a pod of this node that the cluster has not heard of yet (its address is in
  nobody's status) can neither send nor be reached: no policy is late for a pod's first packet.
- Only addresses, checked numbers and names that fit a DNS label get into the text.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from lightkube.models.networking_v1 import NetworkPolicyPeer, NetworkPolicyPort
from lightkube.resources.core_v1 import Pod
from lightkube.resources.networking_v1 import NetworkPolicy

from api import meta, pods
from api.selectors import LabelSelector, from_label_selector
from linux.nft import Ruleset, merge

TABLE = "ip minik-policy"
LONGEST_KEY = 200
PROTOCOLS = {"TCP": "tcp", "UDP": "udp", "SCTP": "sctp"}


@dataclass(frozen=True, slots=True)
class Place:
    """A pod as policies see it."""

    namespace: str
    labels: Mapping[str, str]
    address: str
    node: str
    ports: Mapping[tuple[str, str], int]
    """(name, protocol) -> number of its containers' named ports."""

    @classmethod
    def of(cls, pod: Pod) -> Place | None:
        """None for pods that policies do not see: without an address, on the host's network, or ended."""
        address = (pod.status and pod.status.podIP) or ""
        if pod.spec is None or pod.spec.hostNetwork or pods.is_terminal(pod) or not _is_ipv4(address):
            return None
        ports = {
            (port.name, port.protocol or "TCP"): port.containerPort
            for container in pod.spec.containers
            for port in container.ports or []
            if port.name
        }
        return cls(meta.namespace(pod), meta.labels(pod), address, pods.node_name(pod), ports)


@dataclass(slots=True)
class World:
    """Everything that rules follow from."""

    node: str
    pod_cidr: str
    """This node's part of the pod range; empty while it has none."""
    policies: Sequence[NetworkPolicy]
    places: Sequence[Place]
    namespaces: Mapping[str, Mapping[str, str]]
    """Name -> labels."""

    def in_namespaces(self, names: Iterable[str]) -> list[Place]:
        wanted = set(names)
        return [place for place in self.places if place.namespace in wanted]


def build(world: World) -> Ruleset:
    """The whole table; without any policy it only lets everything pass."""
    if not world.policies:
        return Ruleset(hooks=HOOKS, chains={"forward": ()})
    sides = [_Side(world, ingress=False), _Side(world, ingress=True)]
    chains = {"forward": tuple(_forward(world))}
    return merge([Ruleset(hooks=HOOKS, chains=chains, sets=SETS, elements=_known(world)), *(s.build() for s in sides)])


HOOKS = {"forward": "type filter hook forward priority filter + 10"}

SETS = {
    "egress-pods": "map { type ipv4_addr : verdict; }",
    "ingress-pods": "map { type ipv4_addr : verdict; }",
    "known-pods": "set { type ipv4_addr; }",
}


def _forward(world: World) -> Iterator[str]:
    yield "ct state established,related accept"
    if world.pod_cidr:
        gateway = str(next(ipaddress.ip_network(world.pod_cidr).hosts()))
        for side in ("saddr", "daddr"):
            yield f"ip {side} {world.pod_cidr} ip {side} != {gateway} ip {side} != @known-pods drop"
    yield "ip saddr vmap @egress-pods"
    yield "ip daddr vmap @ingress-pods"


def _known(world: World) -> dict[tuple[str, str], str]:
    return {("known-pods", place.address): "" for place in world.places if place.node == world.node}


class _Side:
    """Ingress or egress of the pods of one node, being turned into rules."""

    def __init__(self, world: World, *, ingress: bool) -> None:
        self._world = world
        self._ingress = ingress
        self._name = "ingress" if ingress else "egress"
        self._peer = "saddr" if ingress else "daddr"
        self._rules: dict[str, tuple[str, ...]] = {}
        """Key of a policy -> its rules."""
        self._chains: dict[str, tuple[str, ...]] = {}
        self._sets: dict[str, str] = {}
        self._elements: dict[tuple[str, str], str] = {}

    def build(self) -> Ruleset:
        selecting: dict[str, list[str]] = {}
        """Address of a pod of this node -> the policies that isolate it."""
        for policy in sorted(filter(self._applies, self._world.policies), key=meta.key):
            selected = self._selected(policy)
            here = [place.address for place in selected if place.node == self._world.node]
            if here:
                self._rules[meta.key(policy)] = tuple(self._policy(policy, selected))
            for address in here:
                selecting.setdefault(address, []).append(meta.key(policy))
        for address, keys in selecting.items():
            self._elements[f"{self._name}-pods", address] = f"jump {self._chain(keys)}"
        return Ruleset(chains=self._chains, sets=self._sets, elements=self._elements)

    def _applies(self, policy: NetworkPolicy) -> bool:
        """Without policyTypes a policy is about ingress, and about egress if it has rules for it."""
        spec = policy.spec
        if spec is None:
            return False
        types = spec.policyTypes or ["Ingress", *(["Egress"] if spec.egress else [])]
        return ("Ingress" if self._ingress else "Egress") in types

    def _selected(self, policy: NetworkPolicy) -> list[Place]:
        selector = from_label_selector(policy.spec.podSelector) if policy.spec else LabelSelector()
        own = self._world.in_namespaces([meta.namespace(policy)])
        return [place for place in own if selector.matches(place.labels)]

    def _chain(self, keys: Sequence[str]) -> str:
        """The chain of the pods that exactly these policies select; it ends with a drop, as they are isolated."""
        name = f"{self._name}-{hashlib.sha256(' '.join(keys).encode()).hexdigest()[:16]}"
        if name not in self._chains:
            rules = [rule for key in keys for rule in self._rules[key]]
            self._chains[name] = (*dict.fromkeys(rules), "drop")
        return name

    # One policy

    def _policy(self, policy: NetworkPolicy, selected: Sequence[Place]) -> Iterator[str]:
        assert policy.spec is not None
        if self._ingress:
            given = [(rule.from_, rule.ports) for rule in policy.spec.ingress or []]
        else:
            given = [(rule.to, rule.ports) for rule in policy.spec.egress or []]
        for index, (peers, ports) in enumerate(given):
            rule = f"{self._name}/{_short(meta.key(policy))}/{index}"
            found = self._peers(policy, peers or [])
            # A named port is whatever number the pod at the receiving end gives that name.
            receivers = selected if self._ingress else found.places if peers else self._world.places
            for match in self._peer_matches(rule, found, everybody=not peers):
                for port in self._port_matches(rule, ports or [], receivers):
                    yield " ".join(filter(None, (match, port, "return")))

    def _peers(self, policy: NetworkPolicy, peers: Iterable[NetworkPolicyPeer]) -> _Peers:
        found = _Peers()
        for peer in peers:
            if peer.ipBlock is not None:
                found.blocks += _without(peer.ipBlock.cidr, peer.ipBlock.except_ or [])
                continue
            names = [meta.namespace(policy)]
            if peer.namespaceSelector is not None:
                wanted = from_label_selector(peer.namespaceSelector)
                names = [name for name, labels in self._world.namespaces.items() if wanted.matches(labels)]
            chosen = from_label_selector(peer.podSelector) if peer.podSelector is not None else LabelSelector()
            found.places += [each for each in self._world.in_namespaces(names) if chosen.matches(each.labels)]
        return found

    def _peer_matches(self, rule: str, found: _Peers, *, everybody: bool) -> Iterator[str]:
        if everybody:
            yield ""
            return
        if found.places:
            yield self._set(f"{rule}/pods", "type ipv4_addr;", (each.address for each in found.places))
        if found.blocks:
            blocks = [str(each) for each in ipaddress.collapse_addresses(found.blocks)]
            yield self._set(f"{rule}/blocks", "type ipv4_addr; flags interval;", blocks)

    def _set(self, name: str, declaration: str, elements: Iterable[str]) -> str:
        self._sets[name] = f"set {{ {declaration} }}"
        for element in elements:
            self._elements[name, element] = ""
        return f"ip {self._peer} @{name}"

    def _port_matches(self, rule: str, ports: Sequence[NetworkPolicyPort], receivers: Sequence[Place]) -> Iterator[str]:
        if not ports:
            yield ""
            return
        numbers, named = [], []
        for each in ports:
            protocol = PROTOCOLS.get(each.protocol or "TCP", "")
            if not protocol:
                continue
            if each.port is None:
                numbers.append(f"{protocol} . 0-65535")
            elif isinstance(each.port, int):
                numbers.append(f"{protocol} . {each.port}" + (f"-{each.endPort}" if each.endPort else ""))
            else:
                name = (each.port, each.protocol or "TCP")
                known = [place for place in receivers if name in place.ports]
                named += [f"{place.address} . {protocol} . {place.ports[name]}" for place in known]
        if numbers:
            yield f"meta l4proto . th dport {{ {', '.join(dict.fromkeys(numbers))} }}"
        if named:
            self._set(f"{rule}/named", "type ipv4_addr . inet_proto . inet_service;", named)
            yield f"ip daddr . meta l4proto . th dport @{rule}/named"


@dataclass(slots=True)
class _Peers:
    """Who is at the other end: pods, and ranges of addresses."""

    places: list[Place] = field(default_factory=list)
    blocks: list[ipaddress.IPv4Network] = field(default_factory=list)


def _without(cidr: str, exceptions: Iterable[str]) -> list[ipaddress.IPv4Network]:
    """The range less its exceptions; none for a range of IPv6, which pods here do not have."""
    try:
        left = [ipaddress.IPv4Network(cidr, strict=False)]
    except ValueError:
        return []
    for text in exceptions:
        hole = ipaddress.ip_network(text, strict=False)
        if isinstance(hole, ipaddress.IPv4Network):
            left = [part for each in left for part in _cut(each, hole)]
    return left


def _cut(block: ipaddress.IPv4Network, hole: ipaddress.IPv4Network) -> Iterable[ipaddress.IPv4Network]:
    if not block.overlaps(hole):
        return [block]
    return block.address_exclude(hole) if hole.subnet_of(block) and hole != block else []


def _short(key: str) -> str:
    """A policy's key as part of a set's name, which the kernel limits to 255 bytes."""
    return key if len(key) <= LONGEST_KEY else hashlib.sha256(key.encode()).hexdigest()


def _is_ipv4(text: str) -> bool:
    try:
        return bool(ipaddress.IPv4Address(text))
    except ValueError:
        return False
