"""The lab's cables: a switch, a port for each host, and one for this machine.

    this machine               <lab>-switch                    <lab>-control, <lab>-node-1, ...
    <lab>-lab  .1  ---------   bridge `switch`  -------------   eth0  .10, .11, ...

The switch is a network namespace of its own, because bridge netfilter must be off in it (with it on, node-port packets
that leave by the node they came to are dropped), while nodes need it on.

Interface: create_switch, delete_switch, plug, unplug, set_cable, cable_is_cut.

Invariant: nothing for the pod and service ranges ever leaves this machine. Hosts have no default route, and while any
lab exists this machine has unreachable routes for both ranges. Their high metric lets real routes win.
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Iterator

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from bootstrap.options import POD_CIDR, SERVICE_CIDR
from lab import netns
from lab.errors import LabError
from linux import modules, sysctl

BRIDGE = "switch"
HOST_LINK = "eth0"
UPLINK = "uplink"
UNREACHABLE_METRIC = 4_000_000
MODULES = ("veth", "bridge", "br_netfilter", "vxlan", "overlay", "nf_tables", "fuse", "loop")
SWITCH_SYSCTLS = {
    "net/bridge/bridge-nf-call-iptables": "0",
    "net/bridge/bridge-nf-call-ip6tables": "0",
    "net/bridge/bridge-nf-call-arptables": "0",
    "net/ipv6/conf/all/disable_ipv6": "1",
}
HOST_SYSCTLS = {"net/ipv6/conf/all/disable_ipv6": "1", "net/ipv4/ip_forward": "1"}


def switch_name(lab: str) -> str:
    return f"{lab}-switch"


def root_link(lab: str) -> str:
    return f"{lab}-lab"


def load_modules() -> None:
    """Load what may not be built in."""
    modules.load(*MODULES)


def create_switch(lab: str, subnet: ipaddress.IPv4Network) -> None:
    """Make the switch and plug this machine into it. Nothing happens to what is there already."""
    name = switch_name(lab)
    netns.create(name)
    netns.call(name, _make_bridge)
    with IPRoute() as ip:
        if not ip.link_lookup(ifname=root_link(lab)):
            _check_subnet(ip, subnet)
            _cable(ip, here=root_link(lab), switch=name, port=UPLINK)
        index = ip.link_lookup(ifname=root_link(lab))[0]
        _address(ip, index, f"{subnet[1]}/{subnet.prefixlen}")
        ip.link("set", index=index, state="up")
        for cidr in (POD_CIDR, SERVICE_CIDR):
            ip.route("replace", dst=cidr, type="unreachable", priority=UNREACHABLE_METRIC)
    netns.call(name, lambda: _attach(UPLINK))


def delete_switch(lab: str, *, last: bool) -> None:
    """Remove the switch and this machine's link. last: no other lab needs the unreachable routes."""
    with IPRoute() as ip:
        for index in ip.link_lookup(ifname=root_link(lab)):
            ip.link("delete", index=index)
        for cidr in (POD_CIDR, SERVICE_CIDR) if last else ():
            with contextlib.suppress(NetlinkError):
                ip.route("delete", dst=cidr, type="unreachable", priority=UNREACHABLE_METRIC)
    netns.delete(switch_name(lab))


def plug(lab: str, port: str, namespace: str, address: str) -> None:
    """Make the host's namespace with its link to the switch. address: ADDRESS/PREFIX."""
    netns.create(namespace)

    def host_side() -> None:
        with IPRoute() as ip:
            if not ip.link_lookup(ifname=HOST_LINK):
                _cable(ip, here=HOST_LINK, switch=switch_name(lab), port=port)
            index = ip.link_lookup(ifname=HOST_LINK)[0]
            _address(ip, index, address)
            for each in (1, index):  # 1 is lo
                ip.link("set", index=each, state="up")
        sysctl.write_if_there(HOST_SYSCTLS)

    netns.call(namespace, host_side)
    netns.call(switch_name(lab), lambda: _attach(port))


def unplug(lab: str, port: str, namespace: str) -> None:
    """Remove the host's namespace and its link."""
    with contextlib.suppress(LabError):  # no switch: then there is no port either
        netns.call(switch_name(lab), lambda: _delete_link(port))
    netns.delete(namespace)


def set_cable(lab: str, port: str, *, connected: bool) -> None:
    """Pull the host's cable out of the switch, or put it back. The host sees its carrier go."""

    def change() -> None:
        with _port(port) as (ip, index):
            ip.link("set", index=index, state="up" if connected else "down")

    netns.call(switch_name(lab), change)


def cable_is_cut(lab: str, port: str) -> bool:
    def look() -> bool:
        with _port(port) as (ip, index):
            return str(ip.get_links(index)[0].get("state")) != "up"

    return netns.call(switch_name(lab), look)


@contextlib.contextmanager
def _port(port: str) -> Iterator[tuple[IPRoute, int]]:
    with IPRoute() as ip:
        if not (found := ip.link_lookup(ifname=port)):
            raise LabError(f"{port} is not plugged in")
        yield ip, found[0]


def _make_bridge() -> None:
    with IPRoute() as ip:
        if not ip.link_lookup(ifname=BRIDGE):
            ip.link("add", ifname=BRIDGE, kind="bridge", br_forward_delay=0)
        ip.link("set", index=ip.link_lookup(ifname=BRIDGE)[0], state="up")
    sysctl.write_if_there(SWITCH_SYSCTLS)


def _cable(ip: IPRoute, *, here: str, switch: str, port: str) -> None:
    """A veth pair: one end in the current namespace, the other a port of the switch."""
    with open(netns.path(switch)) as handle:
        ip.link("add", kind="veth", ifname=here, peer={"ifname": port, "net_ns_fd": handle.fileno()})


def _attach(port: str) -> None:
    with _port(port) as (ip, index):
        link = ip.get_links(index)[0]
        if link.get("master") is None:  # a new cable; one that was pulled out on purpose stays out
            ip.link("set", index=index, master=ip.link_lookup(ifname=BRIDGE)[0], state="up")


def _delete_link(port: str) -> None:
    with IPRoute() as ip:
        for index in ip.link_lookup(ifname=port):
            ip.link("delete", index=index)


def _address(ip: IPRoute, index: int, address: str) -> None:
    host, prefix = address.split("/")
    ip.addr("replace", index=index, address=host, prefixlen=int(prefix))


def _check_subnet(ip: IPRoute, subnet: ipaddress.IPv4Network) -> None:
    for route in ip.get_routes(family=2):
        destination, length = route.get("dst"), route["dst_len"]
        if destination and length and subnet.overlaps(ipaddress.ip_network(f"{destination}/{length}", strict=False)):
            raise LabError(f"this machine already has a route for {destination}/{length}; use another --subnet")
