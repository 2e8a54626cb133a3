"""Bridge, veth pairs, VXLAN, routes: this node's side of the pod network, through netlink. Blocking; one thread's.

Every function may be repeated: it makes what is missing and leaves what is right.
"""

from __future__ import annotations

import hashlib
import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass

from pyroute2 import IPRoute

from linux import namespaces, netlink
from linux.netlink import settled

BRIDGE = "minik0"
VXLAN = "minik.vxlan"
VXLAN_ID = 1
VXLAN_PORT = 8472
VXLAN_OVERHEAD_BYTES = 50
POD_LINK = "eth0"
POD_LINK_PREFIX = "minik"
"""Of the node's ends; with ten hex digits it is as long as a link's name may be."""

_NUD_PERMANENT = 0x80
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

    def close(self) -> None:
        self._netlink.close()

    # The node

    def make_bridge(self, gateway: str, prefix: int) -> None:
        made = netlink.make(self._netlink, BRIDGE, kind="bridge", address=mac_of("0a:58", gateway), mtu=self._mtu)
        netlink.set_address(self._netlink, made, gateway, prefix)
        self._netlink.link("set", index=made, mtu=self._mtu, state="up")

    def make_vxlan(self, address: str) -> None:
        index = netlink.make(
            self._netlink,
            VXLAN,
            kind="vxlan",
            vxlan_id=VXLAN_ID,
            vxlan_local=self._node_ip,
            vxlan_port=VXLAN_PORT,
            vxlan_learning=False,
            address=vtep_mac(self._node_ip),
            mtu=self._mtu,
        )
        netlink.set_address(self._netlink, index, address, 32)
        self._netlink.link("set", index=index, mtu=self._mtu, state="up")

    def set_peers(self, peers: Iterable[Peer]) -> None:
        """Route the pods of exactly these nodes through the VXLAN."""
        index = netlink.index(self._netlink, VXLAN)
        wanted = {str(ipaddress.IPv4Network(each.pod_cidr)): each for each in peers}
        for cidr in self._routes(index) - wanted.keys():
            settled(self._netlink.route, "del", dst=cidr, oif=index)
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
                settled(self._netlink.neigh, "del", dst=address, ifindex=index)
        macs = {vtep_mac(node_ip): node_ip for node_ip in vteps.values()}
        for each in self._netlink.fdb("dump", ifindex=index):
            mac, destination = each.get_attr("NDA_LLADDR"), each.get_attr("NDA_DST")
            if destination and macs.get(mac) != destination:
                settled(self._netlink.fdb, "del", ifindex=index, lladdr=mac, dst=destination)
        for address, node_ip in vteps.items():
            mac = vtep_mac(node_ip)
            self._netlink.neigh("replace", dst=address, lladdr=mac, ifindex=index, state=_NUD_PERMANENT)
            settled(self._netlink.fdb, "add", ifindex=index, lladdr=mac, dst=node_ip, state=_NUD_PERMANENT)

    # Pods

    def attach(self, uid: str, pid: int, *, ip: str, prefix: int, gateway: str) -> None:
        """Give the network namespace of the process an eth0 on the bridge."""
        name = host_link(uid)
        self.delete(name)
        peer = {"ifname": POD_LINK, "net_ns_pid": pid, "mtu": self._mtu, "address": mac_of("0a:58", ip)}
        self._netlink.link("add", ifname=name, kind="veth", mtu=self._mtu, peer=peer)
        self.plug_in(name)
        with netlink.kernel(namespaces.of_process(pid)) as inside:
            loopback, link = netlink.index(inside, "lo"), netlink.index(inside, POD_LINK)
            inside.link("set", index=loopback, state="up")
            inside.addr("add", index=link, address=ip, prefixlen=prefix)
            inside.link("set", index=link, state="up")
            inside.route("add", dst="default", gateway=gateway)

    def plug_in(self, name: str) -> None:
        """Make the node's end of a pod's pair a port of the bridge."""
        index = netlink.index(self._netlink, name)
        bridge = netlink.index(self._netlink, BRIDGE)
        self._netlink.link("set", index=index, master=bridge, state="up")
        # A pod that calls its own Service has to be answered through the port it came from.
        self._netlink.brport("set", index=index, mode=1)

    def pod_links(self) -> set[str]:
        """Names of the nodes' ends that exist."""
        names = {each.get_attr("IFLA_IFNAME") for each in self._netlink.get_links(kind="veth")}
        return {name for name in names if name.startswith(POD_LINK_PREFIX)}

    def delete(self, name: str) -> None:
        netlink.delete(self._netlink, name)

    def _underlay_mtu(self) -> int:
        """Of the link that has the node's address."""
        for each in self._netlink.get_addr(family=socket.AF_INET):
            if each.get_attr("IFA_ADDRESS") == self._node_ip:
                return int(next(iter(self._netlink.get_links(each["index"]))).get_attr("IFLA_MTU"))
        return 1500
