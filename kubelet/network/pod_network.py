"""The pod network of this node: addresses, links, routes to the other nodes' pods, and the way out of the cluster.

Kubernetes leaves this to CNI plugins; here the kubelet does what bridge, host-local and a VXLAN overlay do:

    node A  minik0 10.244.1.1/24 -- veth -- pod 10.244.1.7        minik.vxlan 10.244.1.0   (node B likewise)
            10.244.2.0/24 via 10.244.2.0 dev minik.vxlan onlink   UDP 8472 to B's address

Invariants: pods reach pods by their own address, without NAT; what leaves the cluster range is masqueraded; links are
handled by one thread; a pod keeps its address from its first sandbox to its end.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import subprocess
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from kubelet.network.host_ports import HostPort, rules
from kubelet.network.ipam import AddressPool
from kubelet.network.links import BRIDGE, Links, Peer, host_link
from linux import netlink, sysctl
from linux.nft import Table

T = TypeVar("T")
log = logging.getLogger("network")

TABLE = "ip minik-pods"


class NetworkNotReady(Exception):
    """The node has no pod CIDR yet."""


class PodNetwork:
    def __init__(self, data_dir: Path, *, node_ip: str, cluster_cidr: str) -> None:
        self._pool = AddressPool(data_dir / "addresses")
        self._node_ip = node_ip
        self._cluster_cidr = cluster_cidr
        self._thread = ThreadPoolExecutor(1, "network")
        self._made: Links | None = None
        self._table = Table(TABLE)
        self._cidr: ipaddress.IPv4Network | None = None
        self.ready = asyncio.Event()

    async def close(self) -> None:
        """Leave everything as it is: pods go on without a kubelet."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    # The node

    async def configure(self, cidr: str, peers: Iterable[Peer], pod_uids: Iterable[str]) -> None:
        """Make this node's part of the network, or what somebody took away of it. Raises OSError.

        When the range is new, the pods named are the only ones that keep their addresses and links.
        """
        network = ipaddress.IPv4Network(cidr)
        is_new = network != self._cidr
        if is_new:
            self._pool.configure(cidr)
            for uid in {lease.uid for lease in self._pool.leases()} - set(pod_uids):
                self._pool.release(uid)
            self._cidr = network
        leased = {host_link(lease.uid): lease.uid for lease in self._pool.leases()}
        await self._in_thread(lambda links: self._make(links, frozenset(peers), leased, tidy=is_new))
        if not self.ready.is_set():
            self.ready.set()
            log.info("pod network %s is ready", cidr)

    def _make(self, links: Links, peers: frozenset[Peer], leased: Mapping[str, str], *, tidy: bool) -> None:
        assert self._cidr is not None
        sysctl.write("net/ipv4/ip_forward", "1")
        sysctl.bridge_netfilter()  # packets between pods of this node are seen by the Service rules
        links.make_bridge(self.gateway, self._cidr.prefixlen)
        links.make_vxlan(str(self._cidr.network_address))
        for name in links.pod_links():
            if name in leased:
                links.plug_in(name)
            elif tidy:
                links.delete(name)
        sysctl.write(f"net/ipv4/conf/{BRIDGE}/route_localnet", "1")  # host ports on 127.0.0.1; the rules guard it
        self._table.check()
        self._apply_rules()
        _let_docker_forward(self._cluster_cidr)
        links.set_peers(peers)

    def _apply_rules(self) -> None:
        ports = [(lease.ip, port) for lease in self._pool.leases() for port in lease.ports]
        self._table.apply(rules(str(self._cidr), self._cluster_cidr, ports))

    @property
    def gateway(self) -> str:
        assert self._cidr is not None
        return str(self._cidr.network_address + 1)

    # Pods

    def address(self, uid: str) -> str:
        """The pod's address; a new one is given at its first use. Raises NetworkNotReady, NoAddressLeft."""
        if not self.ready.is_set():
            raise NetworkNotReady("container runtime network not ready: the node has no pod CIDR")
        return self._pool.allocate(uid)

    def known_address(self, uid: str) -> str:
        lease = self._pool.lease(uid)
        return lease.ip if lease else ""

    def is_attached(self, uid: str, sandbox_id: str) -> bool:
        """Whether this sandbox's network was completed, by this kubelet or an earlier one."""
        lease = self._pool.lease(uid)
        return lease is not None and lease.sandbox_id == sandbox_id

    async def attach(self, uid: str, sandbox_id: str, pid: int, *, ports: tuple[HostPort, ...] = ()) -> str:
        """Connect the sandbox whose process is `pid`, and lead the node's ports to it. Raises OSError."""
        ip = self.address(uid)
        assert self._cidr is not None
        prefix, gateway = self._cidr.prefixlen, self.gateway
        await self._in_thread(lambda links: links.attach(uid, pid, ip=ip, prefix=prefix, gateway=gateway))
        self._pool.complete(uid, sandbox_id, ports)
        if ports:
            await self._in_thread(lambda _: self._apply_rules())
        return ip

    async def detach(self, uid: str) -> None:
        """Take the pod's link and the node's ports away, and its address back."""
        lease = self._pool.lease(uid)
        if lease is not None:
            await self._in_thread(lambda links: links.delete(host_link(uid)))
            self._pool.release(uid)
            if lease.ports:
                await self._in_thread(lambda _: self._apply_rules())

    async def _in_thread(self, function: Callable[[Links], T]) -> T:
        def run() -> T:
            if self._made is None:
                self._made = Links(self._node_ip)
            with netlink.os_errors():
                return function(self._made)

        return await asyncio.get_running_loop().run_in_executor(self._thread, run)


def _let_docker_forward(cluster_cidr: str) -> None:
    """A Docker engine that manages the firewall drops what it did not set up, except what this chain accepts."""

    def iptables(*args: str) -> bool:
        done = subprocess.run(["iptables", "-w", *args], capture_output=True, check=False)
        return done.returncode == 0

    with contextlib.suppress(FileNotFoundError):
        if not iptables("-n", "-L", "DOCKER-USER"):
            return
        for direction in ("-s", "-d"):
            rule = ("DOCKER-USER", direction, cluster_cidr, "-j", "ACCEPT")
            if not iptables("-C", *rule):
                iptables("-I", *rule)
