"""The pod network of one node, in namespaces: what is taken away comes back, and refusals are plain errors."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from answering import Answering

from kubelet.network.host_ports import HostPort
from kubelet.network.links import Peer, host_link
from kubelet.network.pod_network import PodNetwork
from linux import namespaces

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: network namespaces"),
    pytest.mark.skipif(shutil.which("nft") is None, reason="needs nft"),
]

NODE_IP, OUTSIDE_IP = "192.0.2.1", "192.0.2.2"
CIDR, CLUSTER = "10.244.1.0/24", "10.244.0.0/16"
PEERS = frozenset({Peer("192.0.2.9", "10.244.9.0/24")})


def run(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


class World:
    """A node, a machine beside it, and processes with a network of their own as sandboxes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.node, self.outside = f"tpn{os.getpid()}", f"tpo{os.getpid()}"
        self.servers: list[Answering] = []
        self.sandboxes: dict[str, subprocess.Popen[bytes]] = {}
        for name in (self.node, self.outside):
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        run("ip", "-n", self.node, "link", "add", "eth0", "type", "veth", "peer", "eth0", "netns", self.outside)
        for name, address in ((self.node, NODE_IP), (self.outside, OUTSIDE_IP)):
            run("ip", "-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
            run("ip", "-n", name, "link", "set", "eth0", "up")
        run("ip", "-n", self.node, "route", "add", "default", "via", OUTSIDE_IP)

    def sandbox(self, uid: str) -> int:
        """The pid of a process that has a network namespace of its own."""
        process = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo; exec sleep 600"], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.read(1)
        self.sandboxes[uid] = process
        return process.pid

    def inside(self, namespace: str, work: Callable[[], Any]) -> Any:
        path = namespaces.of_process(self.sandboxes[namespace].pid) if namespace in self.sandboxes else namespace
        path = path if path.startswith("/") else f"/run/netns/{path}"
        with ThreadPoolExecutor(1, initializer=namespaces.enter, initargs=(path,)) as pool:
            return pool.submit(work).result()

    def network(self, work: Callable[[PodNetwork], Awaitable[Any]]) -> Any:
        """What a kubelet on the node does with its pod network; every call is a new kubelet."""

        async def whole() -> Any:
            network = PodNetwork(self.directory, node_ip=NODE_IP, cluster_cidr=CLUSTER)
            try:
                return await work(network)
            finally:
                await network.close()

        return self.inside(self.node, lambda: asyncio.run(whole()))

    def listen(self, where: str, address: str, port: int, *, kind: int = socket.SOCK_STREAM) -> None:
        """Tell every client that comes there its own address."""
        server = self.inside(where, lambda: socket.socket(socket.AF_INET, kind))
        server.bind((address, port))
        if kind == socket.SOCK_STREAM:
            server.listen()
        self.servers.append(Answering(server, answer=lambda client: client))

    def seen_as(self, where: str, address: str, port: int, *, kind: int = socket.SOCK_STREAM) -> str:
        """The address under which a server sees a client that connects from there; empty when none answers."""
        with self.inside(where, lambda: socket.socket(socket.AF_INET, kind)) as client:
            client.settimeout(2)
            try:
                client.connect((address, port))
                if kind == socket.SOCK_DGRAM:
                    client.send(b"?")
                return str(client.recv(100).decode())
            except OSError:
                return ""

    def close(self) -> None:
        for server in self.servers:
            server.close()
        for process in self.sandboxes.values():
            process.kill()
            process.wait()
        for name in (self.node, self.outside):
            subprocess.run(["ip", "netns", "del", name], check=False)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    try:
        yield made
    finally:
        made.close()


def test_what_somebody_took_away_is_made_again(world: World) -> None:
    async def work(network: PodNetwork) -> None:
        await network.configure(CIDR, PEERS, ["a"])
        await network.attach("a", "sandbox", world.sandbox("a"))
        for link in ("minik0", "minik.vxlan"):
            run("ip", "link", "del", link)
        run("nft", "flush", "ruleset")
        await network.configure(CIDR, PEERS, ["a"])

    world.network(work)
    world.listen(world.outside, OUTSIDE_IP, 80)
    assert world.seen_as("a", OUTSIDE_IP, 80) == NODE_IP, "through the new bridge and the new rules"
    routes = run("ip", "-n", world.node, "route")
    assert "10.244.9.0/24 via 10.244.9.0 dev minik.vxlan" in routes
    assert host_link("a") in run("ip", "-n", world.node, "link", "show", "master", "minik0")


def test_a_check_leaves_pods_alone_that_are_about_to_end(world: World) -> None:
    """The API forgets a pod before its containers are gone; only a new kubelet tidies up."""

    async def work(network: PodNetwork) -> str:
        await network.configure(CIDR, PEERS, ["a"])
        await network.attach("a", "sandbox", world.sandbox("a"))
        await network.configure(CIDR, PEERS, [])
        return network.known_address("a")

    address = world.network(work)
    world.listen(world.node, NODE_IP, 80)
    assert world.seen_as("a", NODE_IP, 80) == address

    async def restarted(network: PodNetwork) -> str:
        await network.configure(CIDR, PEERS, [])
        return network.known_address("a")

    assert world.network(restarted) == ""
    assert host_link("a") not in run("ip", "-n", world.node, "link")


def test_what_the_kernel_refuses_is_an_os_error(world: World) -> None:
    """It decides whether the sandbox is removed again."""

    async def work(network: PodNetwork) -> None:
        await network.configure(CIDR, PEERS, ["a"])
        gone = world.sandbox("a")
        world.sandboxes["a"].kill()
        world.sandboxes["a"].wait()
        with pytest.raises(OSError, match="No such process"):
            await network.attach("a", "sandbox", gone)

    world.network(work)


ANY = HostPort("tcp", "0.0.0.0", 8080, 80)


def test_a_host_port_leads_to_the_pod_until_it_is_gone(world: World) -> None:
    async def attach(network: PodNetwork) -> str:
        await network.configure(CIDR, PEERS, ["a", "b"])
        await network.attach("b", "sandbox-b", world.sandbox("b"))
        return await network.attach("a", "sandbox-a", world.sandbox("a"), ports=(ANY,))

    address = world.network(attach)
    world.listen("a", "0.0.0.0", 80)
    assert world.seen_as(world.outside, NODE_IP, 8080) == OUTSIDE_IP, "clients keep their address"
    assert world.seen_as(world.node, NODE_IP, 8080)
    assert world.seen_as(world.node, "127.0.0.1", 8080) == "10.244.1.1"
    assert world.seen_as("b", NODE_IP, 8080) == "10.244.1.1"
    assert world.seen_as("a", NODE_IP, 8080) == "10.244.1.1", "a pod reaches itself, too"
    assert not world.seen_as(world.outside, NODE_IP, 80)

    async def restarted(network: PodNetwork) -> None:
        await network.configure(CIDR, PEERS, ["a", "b"])

    world.network(restarted)
    assert world.seen_as(world.outside, NODE_IP, 8080) == OUTSIDE_IP, "a new kubelet knows it"

    async def detach(network: PodNetwork) -> None:
        await network.configure(CIDR, PEERS, ["a", "b"])
        await network.detach("a")

    world.network(detach)
    assert not world.seen_as(world.outside, NODE_IP, 8080)
    assert address not in run("ip", "netns", "exec", world.node, "nft", "list", "ruleset")


def test_host_ports_are_told_apart_by_address_and_protocol(world: World) -> None:
    ports = {
        "a": (HostPort("udp", "0.0.0.0", 53, 5353), HostPort("tcp", NODE_IP, 8080, 80)),
        "b": (HostPort("tcp", "127.0.0.1", 8080, 80),),
    }

    async def attach(network: PodNetwork) -> None:
        await network.configure(CIDR, PEERS, ["a", "b"])
        for uid, wanted in ports.items():
            await network.attach(uid, f"sandbox-{uid}", world.sandbox(uid), ports=wanted)

    world.network(attach)
    world.listen("a", "0.0.0.0", 5353, kind=socket.SOCK_DGRAM)
    assert world.seen_as(world.outside, NODE_IP, 53, kind=socket.SOCK_DGRAM) == OUTSIDE_IP
    world.listen("b", "0.0.0.0", 80)
    assert world.seen_as(world.node, "127.0.0.1", 8080) == "10.244.1.1"
    assert not world.seen_as(world.node, NODE_IP, 8080), "that one is a's, which does not listen yet"
    world.listen("a", "0.0.0.0", 80)
    assert world.seen_as(world.outside, NODE_IP, 8080) == OUTSIDE_IP


def test_the_nodes_loopback_is_not_the_pods(world: World) -> None:
    """route_localnet, which host ports on 127.0.0.1 need, must not open it to them."""

    async def attach(network: PodNetwork) -> None:
        await network.configure(CIDR, PEERS, ["a"])
        await network.attach("a", "sandbox", world.sandbox("a"))

    world.network(attach)
    world.listen(world.node, "127.0.0.1", 7000)

    def route_to_it() -> None:
        subprocess.run(["sysctl", "-qw", "net.ipv4.conf.all.route_localnet=1"], check=True)
        subprocess.run(["ip", "route", "flush", "table", "local", "exact", "127.0.0.0/8"], check=True)
        subprocess.run(["ip", "route", "flush", "table", "local", "exact", "127.0.0.1"], check=True)
        subprocess.run(["ip", "route", "add", "127.0.0.1", "via", "10.244.1.1"], check=True)

    assert world.seen_as(world.node, "127.0.0.1", 7000) == "127.0.0.1"
    world.inside("a", route_to_it)
    assert not world.seen_as("a", "127.0.0.1", 7000)
