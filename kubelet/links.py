"""Bridge, veth pairs, VXLAN, routes: this node's side of the pod network, through netlink. Blocking; one thread's.

Every function may be repeated: it makes what is missing and leaves what is right.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import ipaddress
import os
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

BRIDGE = "minik0"
VXLAN = "minik.vxlan"
VXLAN_ID = 1
VXLAN_PORT = 8472
VXLAN_OVERHEAD_BYTES = 50
POD_LINK = "eth0"
POD_LINK_PREFIX = "minik"
"""Of the node's ends; with ten hex digits it is as long as a link's name may be."""

_CLONE_NEWNET = 0x40000000
_NUD_PERMANENT = 0x80
_FINE = (errno.EEXIST, errno.ENOENT, errno.ESRCH, errno.ENODEV, errno.EADDRNOTAVAIL)
"""It is there already, or gone already."""
_RTNH_F_ONLINK = 4


@dataclass(frozen=True, slots=True)
class Peer:
    """Another node: where its pods are and how it is reached."""

    node_ip: str
    pod_cidr: str


def host_link(uid: str) -> str:
    """The name of the node's end of a pod's veth pair."""
    return POD_LINK_PREFIX + hashlib.sha256(uid.encode()).hexdigest()[:10]


def mac_of(prefix: str, ip: str) -> str:
    """An address on the wire that follows from the IP address, so nothing has to be announced or learned."""
    return ":".join([prefix, *(f"{byte:02x}" for byte in ipaddress.IPv4Address(ip).packed)])


def vtep_mac(node_ip: str) -> str:
    return mac_of("02:42", node_ip)


class Links:
    """This node's links. Not to be shared between threads."""

    def __init__(self, node_ip: str) -> None:
        self._node_ip = node_ip
        self._netlink = IPRoute()
        self._mtu = self._underlay_mtu() - VXLAN_OVERHEAD_BYTES
        self._bridge = 0

    def close(self) -> None:
        self._netlink.close()

    # The node

    def make_bridge(self, gateway: str, prefix: int) -> None:
        self._bridge = self._make(BRIDGE, kind="bridge", address=mac_of("0a:58", gateway), mtu=self._mtu)
        self._set_address(self._bridge, gateway, prefix)
        self._netlink.link("set", index=self._bridge, state="up")

    def make_vxlan(self, address: str) -> None:
        index = self._make(
            VXLAN,
            kind="vxlan",
            vxlan_id=VXLAN_ID,
            vxlan_local=self._node_ip,
            vxlan_port=VXLAN_PORT,
            vxlan_learning=False,
            address=vtep_mac(self._node_ip),
            mtu=self._mtu,
        )
        self._set_address(index, address, 32)
        self._netlink.link("set", index=index, state="up")

    def set_peers(self, peers: Iterable[Peer]) -> None:
        """Route the pods of exactly these nodes through the VXLAN."""
        index = self._index(VXLAN)
        wanted = {str(ipaddress.IPv4Network(each.pod_cidr)): each for each in peers}
        for cidr in self._routes(index) - wanted.keys():
            self._quietly("route", "del", dst=cidr, oif=index)
        vteps = {str(ipaddress.IPv4Network(cidr).network_address): each.node_ip for cidr, each in wanted.items()}
        self._set_neighbours(index, vteps)
        for cidr in wanted:
            gateway = str(ipaddress.IPv4Network(cidr).network_address)
            self._netlink.route("replace", dst=cidr, gateway=gateway, oif=index, flags=_RTNH_F_ONLINK)

    def _routes(self, index: int) -> set[str]:
        found = self._netlink.get_routes(family=socket.AF_INET, oif=index)
        return {f"{each.get_attr('RTA_DST')}/{each['dst_len']}" for each in found if each.get_attr("RTA_GATEWAY")}

    def _set_neighbours(self, index: int, vteps: dict[str, str]) -> None:
        """Who answers for a vtep's address (neighbour) and behind which node it sits (forwarding entry)."""
        for each in self._netlink.get_neighbours(family=socket.AF_INET, ifindex=index):
            address = each.get_attr("NDA_DST")
            if address not in vteps:
                self._quietly("neigh", "del", dst=address, ifindex=index)
        macs = {vtep_mac(node_ip): node_ip for node_ip in vteps.values()}
        for each in self._netlink.fdb("dump", ifindex=index):
            mac, destination = each.get_attr("NDA_LLADDR"), each.get_attr("NDA_DST")
            if destination and macs.get(mac) != destination:
                self._quietly("fdb", "del", ifindex=index, lladdr=mac, dst=destination)
        for address, node_ip in vteps.items():
            mac = vtep_mac(node_ip)
            self._netlink.neigh("replace", dst=address, lladdr=mac, ifindex=index, state=_NUD_PERMANENT)
            self._quietly("fdb", "add", ifindex=index, lladdr=mac, dst=node_ip, state=_NUD_PERMANENT)

    # Pods

    def attach(self, uid: str, pid: int, *, ip: str, prefix: int, gateway: str) -> None:
        """Give the network namespace of the process an eth0 on the bridge."""
        name = host_link(uid)
        self.detach(uid)
        peer = {"ifname": POD_LINK, "net_ns_pid": pid, "mtu": self._mtu, "address": mac_of("0a:58", ip)}
        self._netlink.link("add", ifname=name, kind="veth", mtu=self._mtu, peer=peer)
        index = self._index(name)
        self._netlink.link("set", index=index, master=self._bridge, state="up")
        # A pod that calls its own Service has to be answered through the port it came from.
        self._netlink.brport("set", index=index, mode=1)
        with netlink_of(pid) as inside:
            loopback, link = _index_in(inside, "lo"), _index_in(inside, POD_LINK)
            inside.link("set", index=loopback, state="up")
            inside.addr("add", index=link, address=ip, prefixlen=prefix)
            inside.link("set", index=link, state="up")
            inside.route("add", dst="default", gateway=gateway)

    def detach(self, uid: str) -> None:
        index = self._find(host_link(uid))
        if index:
            self._quietly("link", "del", index=index)

    def pod_links(self) -> set[str]:
        """Names of the nodes' ends that exist."""
        names = {each.get_attr("IFLA_IFNAME") for each in self._netlink.get_links(kind="veth")}
        return {name for name in names if name.startswith(POD_LINK_PREFIX)}

    def delete(self, name: str) -> None:
        index = self._find(name)
        if index:
            self._quietly("link", "del", index=index)

    # Small things

    def _make(self, name: str, **options: Any) -> int:
        index = self._find(name)
        if not index:
            self._netlink.link("add", ifname=name, **options)
            index = self._index(name)
        elif "mtu" in options:
            self._netlink.link("set", index=index, mtu=options["mtu"])
        return index

    def _set_address(self, index: int, address: str, prefix: int) -> None:
        """Exactly this IPv4 address."""
        for each in self._netlink.get_addr(family=socket.AF_INET, index=index):
            if each.get_attr("IFA_ADDRESS") != address:
                stale = each.get_attr("IFA_ADDRESS")
                self._quietly("addr", "del", index=index, address=stale, prefixlen=each["prefixlen"])
        self._quietly("addr", "add", index=index, address=address, prefixlen=prefix)

    def _find(self, name: str) -> int:
        return next(iter(self._netlink.link_lookup(ifname=name)), 0)

    def _index(self, name: str) -> int:
        index = self._find(name)
        if not index:
            raise OSError(f"no link {name}")
        return index

    def _quietly(self, call: str, *args: Any, **options: Any) -> None:
        """For what may be there, or gone, already."""
        try:
            getattr(self._netlink, call)(*args, **options)
        except NetlinkError as error:
            if error.code not in _FINE:
                raise

    def _underlay_mtu(self) -> int:
        """Of the link that has the node's address."""
        for each in self._netlink.get_addr(family=socket.AF_INET):
            if each.get_attr("IFA_ADDRESS") == self._node_ip:
                return int(next(iter(self._netlink.get_links(each["index"]))).get_attr("IFLA_MTU"))
        return 1500


def _index_in(netlink: IPRoute, name: str) -> int:
    return int(netlink.link_lookup(ifname=name)[0])


@contextlib.contextmanager
def netlink_of(pid: int) -> Iterator[IPRoute]:
    """A netlink socket in the network namespace of a process. A socket stays where it was made, so the thread enters
    the namespace only for that."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        target = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
        try:
            _enter(libc, target)
            netlink = IPRoute()
        finally:
            _enter(libc, home)
            os.close(target)
    finally:
        os.close(home)
    try:
        yield netlink
    finally:
        netlink.close()


def _enter(libc: ctypes.CDLL, namespace: int) -> None:
    if libc.setns(namespace, _CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"cannot enter a network namespace: {os.strerror(code)}")
