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
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from kubelet.ipam import AddressPool
from kubelet.links import BRIDGE, Links, Peer, host_link

T = TypeVar("T")
log = logging.getLogger("network")

NFT_TABLE = "minik-pods"


class NetworkNotReady(Exception):
    """The node has no pod CIDR yet."""


class PodNetwork:
    def __init__(self, data_dir: Path, *, node_ip: str, cluster_cidr: str) -> None:
        self._pool = AddressPool(data_dir / "addresses")
        self._node_ip = node_ip
        self._cluster_cidr = cluster_cidr
        self._thread = ThreadPoolExecutor(1, "network")
        self._made: Links | None = None
        self._cidr: ipaddress.IPv4Network | None = None
        self._peers: frozenset[Peer] = frozenset()
        self.ready = asyncio.Event()

    async def close(self) -> None:
        """Leave everything as it is: pods go on without a kubelet."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    # The node

    async def configure(self, cidr: str, pod_uids: Iterable[str]) -> None:
        """Make this node's part of the network; the pods named are the only ones that keep addresses and links."""
        self._cidr = ipaddress.IPv4Network(cidr)
        self._pool.configure(cidr)
        keep = set(pod_uids)
        for lease in self._pool.leases():
            if lease.uid not in keep:
                self._pool.release(lease.uid)
        await self._in_thread(lambda links: self._make(links, keep))
        self.ready.set()
        log.info("pod network %s is ready", cidr)

    def _make(self, links: Links, keep: set[str]) -> None:
        assert self._cidr is not None
        _set_sysctls()
        links.make_bridge(self.gateway, self._cidr.prefixlen)
        links.make_vxlan(str(self._cidr.network_address))
        for name in links.pod_links() - {host_link(uid) for uid in keep}:
            links.delete(name)
        _load_rules(masquerade_rules(str(self._cidr), self._cluster_cidr))
        _let_docker_forward(self._cluster_cidr)
        links.set_peers(self._peers)

    async def set_peers(self, peers: Iterable[Peer]) -> None:
        """The other nodes, whenever they change."""
        wanted = frozenset(peers)
        if wanted == self._peers:
            return
        if self.ready.is_set():
            await self._in_thread(lambda links: links.set_peers(wanted))
        self._peers = wanted

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

    async def attach(self, uid: str, sandbox_id: str, pid: int) -> str:
        """Connect the sandbox whose process is `pid`."""
        ip = self.address(uid)
        assert self._cidr is not None
        prefix, gateway = self._cidr.prefixlen, self.gateway
        await self._in_thread(lambda links: links.attach(uid, pid, ip=ip, prefix=prefix, gateway=gateway))
        self._pool.complete(uid, sandbox_id)
        return ip

    async def detach(self, uid: str) -> None:
        """Take the pod's link away and its address back."""
        if self._pool.lease(uid) is not None:
            await self._in_thread(lambda links: links.detach(uid))
            self._pool.release(uid)

    async def _in_thread(self, function: Callable[[Links], T]) -> T:
        def run() -> T:
            if self._made is None:
                self._made = Links(self._node_ip)
            return function(self._made)

        return await asyncio.get_running_loop().run_in_executor(self._thread, run)


def masquerade_rules(pod_cidr: str, cluster_cidr: str) -> str:
    """The ruleset that lets pods of this node talk to what lies outside the cluster. Pure."""
    return f"""\
table ip {NFT_TABLE}
delete table ip {NFT_TABLE}
table ip {NFT_TABLE} {{
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr {pod_cidr} ip daddr != {cluster_cidr} ip daddr != 224.0.0.0/4 oifname != "{BRIDGE}" masquerade
    }}
}}
"""


def _load_rules(rules: str) -> None:
    done = subprocess.run(["nft", "-f", "-"], input=rules, text=True, capture_output=True, check=False)
    if done.returncode:
        raise OSError(f"nft: {done.stderr.strip()}")


def _set_sysctls() -> None:
    """Forwarding, and packets on the bridge seen by the Service rules."""
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    bridge = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
    if not bridge.exists():
        subprocess.run(["modprobe", "br_netfilter"], capture_output=True, check=False)
    with contextlib.suppress(OSError):
        bridge.write_text("1")


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
