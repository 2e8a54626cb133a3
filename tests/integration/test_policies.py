"""NetworkPolicies on the real kernel: two nodes, nine pods in three namespaces, and who reaches whom.

Each case is a set of policies; every pod tries every other on two TCP ports and one UDP port, and the outcome must be
what `allowed` says: a pair-by-pair reading of the specification that shares nothing with the rules under test.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import itertools
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from lightkube.resources.networking_v1 import NetworkPolicy

from linux import namespaces
from linux.nft import Table
from proxy.policies import TABLE, Place, World, build

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(shutil.which("nft") is None, reason="nft is not installed"),
]

PORTS = (("tcp", 80), ("tcp", 81), ("udp", 80))
NAMED = {("serve", "TCP"): 80, ("serve", "UDP"): 80, ("other", "TCP"): 81}
ANSWER_SECONDS = 5.0
SILENCE_SECONDS = 0.35
"""How long a probe that should be dropped is waited for; one that should pass has ANSWER_SECONDS."""

GATEWAY = "10.79.0.1"
"""The next hop of every pod: an address of its node."""

NAMESPACES = {name: {"ns": name, "kubernetes.io/metadata.name": name} for name in ("x", "y", "z")}


@dataclass(frozen=True)
class Pod:
    namespace: str
    name: str
    address: str
    node: str

    @property
    def netns(self) -> str:
        return f"mkp-{os.getpid()}-{self.namespace}{self.name}"

    @property
    def place(self) -> Place:
        return Place(self.namespace, {"pod": self.name}, self.address, self.node, NAMED)


PODS = [
    Pod(namespace, name, f"10.77.{index % 2}.{10 + index}", f"n{index % 2}")
    for index, (namespace, name) in enumerate(itertools.product("xyz", "abc"))
]


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


class Cluster:
    """Two routers joined by a cable, each with its pods; every pod answers on all ports."""

    def __init__(self) -> None:
        self._sockets: list[socket.socket] = []
        self._udp_ports = itertools.count(20_000)
        self.tables = {node: Table(TABLE) for node in ("n0", "n1")}

    def router(self, node: str) -> str:
        return f"mkp-{os.getpid()}-{node}"

    def build(self) -> None:
        for node in self.tables:
            ip("netns", "add", self.router(node))
            ip("-n", self.router(node), "link", "set", "lo", "up")
            ip("-n", self.router(node), "addr", "add", f"{GATEWAY}/32", "dev", "lo")
            with self.inside(self.router(node)):
                subprocess.run(["sysctl", "-qw", "net.ipv4.ip_forward=1"], check=True)
        one, other = self.router("n0"), self.router("n1")
        ip("-n", one, "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", other)
        for node, address, far in ((one, "10.78.0.1", 1), (other, "10.78.0.2", 0)):
            ip("-n", node, "addr", "add", f"{address}/24", "dev", "cable")
            ip("-n", node, "link", "set", "cable", "up")
            via = "10.78.0.2" if address.endswith("1") else "10.78.0.1"
            ip("-n", node, "route", "add", f"10.77.{far}.0/24", "via", via)
        for pod in PODS:
            self._add(pod)

    def _add(self, pod: Pod) -> None:
        router, link = self.router(pod.node), f"v{pod.namespace}{pod.name}"
        ip("netns", "add", pod.netns)
        ip("-n", router, "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", pod.netns)
        ip("-n", router, "link", "set", link, "up")
        ip("-n", router, "route", "add", f"{pod.address}/32", "dev", link)
        for words in (f"addr add {pod.address}/32 dev eth0", "link set eth0 up", "link set lo up"):
            ip("-n", pod.netns, *words.split())
        ip("-n", pod.netns, "route", "add", f"{GATEWAY}/32", "dev", "eth0", "scope", "link")
        ip("-n", pod.netns, "route", "add", "default", "via", GATEWAY, "dev", "eth0")

    @contextlib.contextmanager
    def inside(self, netns: str) -> Iterator[None]:
        with namespaces.entered(f"/run/netns/{netns}"):
            yield

    def listen(self) -> None:
        """Sockets of every pod, served by this process' event loop."""
        loop = asyncio.get_running_loop()
        for pod, (protocol, port) in itertools.product(PODS, PORTS):
            with self.inside(pod.netns):
                kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
                sock = socket.socket(socket.AF_INET, kind | socket.SOCK_NONBLOCK)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.bind((pod.address, port))
            self._sockets.append(sock)
            if protocol == "tcp":
                sock.listen(64)
                loop.add_reader(sock, lambda sock=sock: sock.accept()[0].close())
            else:
                loop.add_reader(sock, lambda sock=sock: sock.sendto(*sock.recvfrom(16)))

    def close(self) -> None:
        for sock in self._sockets:
            asyncio.get_running_loop().remove_reader(sock)
            sock.close()
        self._sockets.clear()

    def apply(self, policies: list[NetworkPolicy]) -> None:
        for node, table in self.tables.items():
            cidr = f"10.77.{node[1]}.0/24"
            rules = build(World(node, cidr, policies, [pod.place for pod in PODS], NAMESPACES))
            with self.inside(self.router(node)):
                table.apply(rules)

    def remove(self) -> None:
        for name in [*(pod.netns for pod in PODS), *map(self.router, self.tables)]:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)

    async def reaches(self, source: Pod, target: Pod, protocol: str, port: int, *, seconds: float) -> bool:
        kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
        with self.inside(source.netns):
            sock = socket.socket(socket.AF_INET, kind | socket.SOCK_NONBLOCK)
            if protocol == "udp":
                # A port used before could belong to a flow that an earlier case allowed.
                sock.bind((source.address, next(self._udp_ports)))
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(seconds):
                await loop.sock_connect(sock, (target.address, port))
                if protocol == "udp":
                    await loop.sock_sendall(sock, b"?")
                    await loop.sock_recv(sock, 16)
            return True
        except TimeoutError:
            return False
        finally:
            sock.close()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    made = Cluster()
    try:
        made.build()
        yield made
    finally:
        made.remove()


# --- the oracle -------------------------------------------------------------------------------------------------


def selects(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    if selector is None:
        return True
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    for each in selector.get("matchExpressions") or []:
        value, values = labels.get(each["key"]), each.get("values")
        holds = {
            "In": lambda v, vs: v in vs,
            "NotIn": lambda v, vs: v not in vs,
            "Exists": lambda v, vs: v is not None,
            "DoesNotExist": lambda v, vs: v is None,
        }[each["operator"]](value, values)
        if not holds:
            return False
    return True


def peer_fits(peer: Mapping[str, Any], policy: Mapping[str, Any], other: Pod) -> bool:
    if block := peer.get("ipBlock"):
        address = ipaddress.ip_address(other.address)
        inside = address in ipaddress.ip_network(block["cidr"])
        return inside and not any(address in ipaddress.ip_network(each) for each in block.get("except") or [])
    if "namespaceSelector" in peer:
        if not selects(peer["namespaceSelector"], NAMESPACES[other.namespace]):
            return False
    elif other.namespace != policy["metadata"]["namespace"]:
        return False
    return selects(peer.get("podSelector"), {"pod": other.name})


def port_fits(given: Mapping[str, Any], protocol: str, port: int) -> bool:
    if given.get("protocol", "TCP").lower() != protocol:
        return False
    wanted = given.get("port")
    if wanted is None:
        return True
    if isinstance(wanted, str):
        return NAMED.get((wanted, protocol.upper())) == port
    return wanted <= port <= given.get("endPort", wanted)


def side_allows(policies: list[dict], own: Pod, other: Pod, protocol: str, port: int, *, ingress: bool) -> bool:
    isolated = False
    for policy in policies:
        spec = policy["spec"]
        types = spec.get("policyTypes") or ["Ingress", *(["Egress"] if spec.get("egress") else [])]
        if ("Ingress" if ingress else "Egress") not in types:
            continue
        if policy["metadata"]["namespace"] != own.namespace or not selects(spec["podSelector"], {"pod": own.name}):
            continue
        isolated = True
        for rule in spec.get("ingress" if ingress else "egress") or []:
            peers, ports = rule.get("from" if ingress else "to"), rule.get("ports")
            if (not peers or any(peer_fits(each, policy, other) for each in peers)) and (
                not ports or any(port_fits(each, protocol, port) for each in ports)
            ):
                return True
    return not isolated


def allowed(policies: list[dict], source: Pod, target: Pod, protocol: str, port: int) -> bool:
    return side_allows(policies, source, target, protocol, port, ingress=False) and side_allows(
        policies, target, source, protocol, port, ingress=True
    )


# --- the cases --------------------------------------------------------------------------------------------------


def policy(namespace: str = "x", select: dict | None = None, name: str = "p", **spec: Any) -> dict:
    return {"metadata": {"name": name, "namespace": namespace}, "spec": {"podSelector": select or {}, **spec}}


def pod(*names: str) -> dict:
    if len(names) == 1:
        return {"matchLabels": {"pod": names[0]}}
    return {"matchExpressions": [{"key": "pod", "operator": "In", "values": list(names)}]}


def ns(*names: str) -> dict:
    return {"matchExpressions": [{"key": "ns", "operator": "In", "values": list(names)}]}


NOT_A = {"matchExpressions": [{"key": "pod", "operator": "NotIn", "values": ["a"]}]}
HAS = {"matchExpressions": [{"key": "pod", "operator": "Exists"}]}
HAS_NOT = {"matchExpressions": [{"key": "pod", "operator": "DoesNotExist"}]}
ONLY = {"policyTypes": ["Ingress"]}
OUT = {"policyTypes": ["Egress"]}
BOTH = {"policyTypes": ["Ingress", "Egress"]}
DENY_X = policy(name="deny", **ONLY)


def serve(number: Any = 80, protocol: str = "TCP", **more: Any) -> dict:
    return {"protocol": protocol, "port": number, **more}


def block(cidr: str, *exceptions: str) -> dict:
    return {"ipBlock": {"cidr": cidr, **({"except": list(exceptions)} if exceptions else {})}}


CASES: dict[str, list[dict]] = {
    "nothing": [],
    "deny all ingress": [DENY_X],
    "deny all egress": [policy(**OUT)],
    "deny both": [policy(**BOTH)],
    "deny one pod": [policy(select=pod("a"), **ONLY)],
    "deny everywhere": [policy(each, name=each, **BOTH) for each in "xyz"],
    "types default to ingress": [policy()],
    "types default to both with egress rules": [policy(egress=[{"to": [{"podSelector": pod("b")}]}])],
    "allow all ingress": [policy(ingress=[{}])],
    "allow all egress": [policy(egress=[{}], **OUT)],
    "allow all beside deny": [DENY_X, policy(ingress=[{}])],
    "empty list of rules denies": [policy(ingress=[])],
    "empty list of peers allows everybody": [policy(ingress=[{"from": []}])],
    "empty list of ports allows every port": [policy(ingress=[{"from": [{"podSelector": pod("b")}], "ports": []}])],
    "from a pod of the same namespace": [policy(ingress=[{"from": [{"podSelector": pod("b")}]}])],
    "from every pod of the same namespace": [policy(ingress=[{"from": [{"podSelector": {}}]}])],
    "from a namespace": [policy(ingress=[{"from": [{"namespaceSelector": ns("y")}]}])],
    "from every namespace": [policy(ingress=[{"from": [{"namespaceSelector": {}}]}])],
    "from a namespace by its own name": [
        policy(ingress=[{"from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "z"}}}]}])
    ],
    "pod and namespace together": [
        policy(ingress=[{"from": [{"namespaceSelector": ns("y"), "podSelector": pod("a")}]}])
    ],
    "pod or namespace": [policy(ingress=[{"from": [{"namespaceSelector": ns("y")}, {"podSelector": pod("a")}]}])],
    "pods of every namespace": [policy(ingress=[{"from": [{"namespaceSelector": {}, "podSelector": pod("c")}]}])],
    "a selector that matches nothing": [policy(ingress=[{"from": [{"podSelector": HAS_NOT}]}])],
    "NotIn": [policy(ingress=[{"from": [{"podSelector": NOT_A}]}])],
    "Exists": [policy(select=HAS, ingress=[{"from": [{"podSelector": pod("a", "b")}]}])],
    "selected by expression": [policy(select=pod("a", "c"), **ONLY)],
    "a port": [policy(ingress=[{"ports": [serve(80)]}])],
    "a udp port": [policy(ingress=[{"ports": [serve(80, "UDP")]}])],
    "all ports of a protocol": [policy(ingress=[{"ports": [{"protocol": "TCP"}]}])],
    "several ports": [policy(ingress=[{"ports": [serve(81), serve(80, "UDP")]}])],
    "a range of ports": [policy(ingress=[{"ports": [serve(80, endPort=81)]}])],
    "a range beside": [policy(ingress=[{"ports": [serve(81, endPort=90)]}])],
    "a named port": [policy(ingress=[{"ports": [serve("serve")]}])],
    "a named port of the other protocol": [policy(ingress=[{"ports": [serve("serve", "UDP")]}])],
    "a name nobody has": [policy(ingress=[{"ports": [serve("nobody")]}])],
    "a named port from one namespace": [
        policy(ingress=[{"from": [{"namespaceSelector": ns("y")}], "ports": [serve("other")]}])
    ],
    "a port from a pod": [policy(ingress=[{"from": [{"podSelector": pod("a")}], "ports": [serve(81)]}])],
    "two rules": [
        policy(
            ingress=[
                {"from": [{"podSelector": pod("a")}], "ports": [serve(80)]},
                {"from": [{"namespaceSelector": ns("z")}], "ports": [serve(81)]},
            ]
        )
    ],
    "two policies add up": [
        policy(name="one", ingress=[{"from": [{"namespaceSelector": ns("y")}]}]),
        policy(name="two", select=pod("a"), ingress=[{"from": [{"namespaceSelector": ns("z")}]}]),
    ],
    "policies of two namespaces": [
        policy("x", ingress=[{"from": [{"namespaceSelector": ns("y")}]}]),
        policy("y", ingress=[{"from": [{"namespaceSelector": ns("x"), "podSelector": pod("b")}]}]),
    ],
    "a block": [policy(ingress=[{"from": [block("10.77.0.0/24")]}])],
    "a block with an exception": [policy(ingress=[{"from": [block("10.77.0.0/16", "10.77.1.0/24", "10.77.0.10/32")]}])],
    "a block of one address": [policy(ingress=[{"from": [block("10.77.1.13/32")]}])],
    "a block elsewhere": [policy(ingress=[{"from": [block("192.0.2.0/24")]}])],
    "a block that its exception covers": [policy(ingress=[{"from": [block("10.77.0.0/24", "10.77.0.0/16")]}])],
    "a block of the other family": [policy(ingress=[{"from": [block("2001:db8::/32")]}])],
    "egress to a pod": [policy(egress=[{"to": [{"podSelector": pod("b")}]}], **OUT)],
    "egress to a namespace": [policy(egress=[{"to": [{"namespaceSelector": ns("y")}]}], **OUT)],
    "egress to a port": [policy(egress=[{"ports": [serve(80)]}], **OUT)],
    "egress to a named port": [policy(egress=[{"ports": [serve("other")]}], **OUT)],
    "egress to a named port of some": [
        policy(egress=[{"to": [{"namespaceSelector": ns("z")}], "ports": [serve("serve", "UDP")]}], **OUT)
    ],
    "egress to a block": [policy(egress=[{"to": [block("10.77.0.0/16", "10.77.1.0/24")]}], **OUT)],
    "egress meets ingress": [
        policy("x", egress=[{"to": [{"namespaceSelector": ns("y")}]}], **OUT),
        policy(
            "y", ingress=[{"from": [{"namespaceSelector": ns("x"), "podSelector": pod("a")}], "ports": [serve(80)]}]
        ),
    ],
    "egress open, ingress shut": [policy("x", egress=[{}], **OUT), policy("y", **ONLY)],
    "one pod only talks, another only listens": [
        policy(name="talks", select=pod("a"), ingress=[], egress=[{}], **BOTH),
        policy(name="listens", select=pod("b"), ingress=[{}], egress=[], **BOTH),
    ],
}


def policies_of(case: list[dict]) -> list[NetworkPolicy]:
    return [msgspec.convert(each, NetworkPolicy) for each in case]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
async def test_who_reaches_whom(cluster: Cluster, case: list[dict]) -> None:
    cluster.apply(policies_of(case))
    cluster.listen()
    try:
        probes = [
            (source, target, protocol, port)
            for source, target in itertools.permutations(PODS, 2)
            for protocol, port in PORTS
        ]
        wanted = [allowed(case, *probe) for probe in probes]
        found = await asyncio.gather(
            *(
                cluster.reaches(*probe, seconds=ANSWER_SECONDS if should else SILENCE_SECONDS)
                for probe, should in zip(probes, wanted, strict=True)
            )
        )
    finally:
        cluster.close()
    wrong = [
        f"{s.namespace}/{s.name} -> {t.namespace}/{t.name} {protocol}/{port}: {'passes' if passed else 'is dropped'}"
        for (s, t, protocol, port), should, passed in zip(probes, wanted, found, strict=True)
        if should != passed
    ]
    assert not wrong


async def test_an_established_connection_goes_on_and_a_new_one_is_judged(cluster: Cluster) -> None:
    source, target = PODS[3], PODS[0]
    # A policy elsewhere: connections are tracked, as on any node whose Services translate addresses.
    cluster.apply(policies_of([policy("z", **ONLY)]))
    with cluster.inside(target.netns):
        server = socket.create_server((target.address, 82))
    with cluster.inside(source.netns):
        client = socket.create_connection((target.address, 82), timeout=ANSWER_SECONDS)
    accepted, _ = server.accept()
    rules = build(World("n0", "10.77.0.0/24", policies_of([DENY_X]), [pod.place for pod in PODS], NAMESPACES))
    with cluster.inside(cluster.router("n0")):
        cluster.tables["n0"].apply(rules)
    client.sendall(b"still here")
    accepted.settimeout(ANSWER_SECONDS)
    assert accepted.recv(16) == b"still here"
    assert not await cluster.reaches(source, target, "tcp", 82, seconds=SILENCE_SECONDS)
    for sock in (client, accepted, server):
        sock.close()


async def test_a_pod_nobody_has_heard_of_is_shut_off_while_there_are_policies(cluster: Cluster) -> None:
    """Its address is on the wire before it is in the API: no policy may be late for its first packet."""
    stranger, other = PODS[0], PODS[3]
    cluster.listen()
    try:
        for policies, reached in (([], True), (policies_of([policy("z", **ONLY)]), False)):
            for node, table in cluster.tables.items():
                places = [pod.place for pod in PODS if pod is not stranger]
                world = World(node, f"10.77.{node[1]}.0/24", policies, places, NAMESPACES)
                with cluster.inside(cluster.router(node)):
                    table.apply(build(world))
            seconds = ANSWER_SECONDS if reached else SILENCE_SECONDS
            assert await cluster.reaches(stranger, other, "tcp", 80, seconds=seconds) is reached
            assert await cluster.reaches(other, stranger, "tcp", 80, seconds=seconds) is reached
    finally:
        cluster.close()
