"""The link `minik-svc`: gives the node a route to the service range, and the cluster DNS its address.

A node without a default route could not send to a service address at all: the kernel looks for a route before
the rules translate the packet. So a link that leads nowhere carries a route for the whole range. With the rules in
place nothing is ever sent over it; without them, packets end there instead of leaving by the default route.

Interface: `ensure` and `remove`, both idempotent and blocking. Both raise OSError when the kernel refuses.
"""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Iterator
from pathlib import Path

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

LINK = "minik-svc"
LINK_KINDS = ("dummy", "bridge")
"""In order of preference. A bridge without ports leads nowhere just as well, on kernels built without dummy links."""

SYSCTLS = {"net/ipv4/ip_forward": "1"}
BRIDGE_NETFILTER = "net/bridge/bridge-nf-call-iptables"

_SYS = Path("/proc/sys")

log = logging.getLogger("link")


def ensure(*, service_cidr: str, dns_ip: str = "") -> None:
    """Make the link, its address and the route what they should be, and switch on forwarding."""
    for name, value in SYSCTLS.items():
        set_sysctl(name, value)
    with _kernel() as kernel:
        index = _link(kernel)
        kernel.link("set", index=index, state="up", arp=False)
        if dns_ip:
            kernel.addr("replace", index=index, address=dns_ip, prefixlen=32)
        for address in kernel.get_addr(index=index, family=socket.AF_INET):
            if address.get_attr("IFA_ADDRESS") != dns_ip:
                kernel.addr("del", index=index, address=address.get_attr("IFA_ADDRESS"), prefixlen=address["prefixlen"])
        kernel.route("replace", dst=service_cidr, oif=index, scope="link")


def remove() -> None:
    """Take the link away, and with it the address and the route."""
    with _kernel() as kernel:
        for index in kernel.link_lookup(ifname=LINK):
            kernel.link("del", index=index)


def bridge_netfilter() -> bool:
    """Whether packets between pods of one bridge pass the node's rules; switched on if the kernel can."""
    with contextlib.suppress(OSError):
        set_sysctl(BRIDGE_NETFILTER, "1")
    return (_SYS / BRIDGE_NETFILTER).exists() and (_SYS / BRIDGE_NETFILTER).read_text().strip() == "1"


def set_sysctl(name: str, value: str) -> None:
    """Set it unless it is so already: where /proc/sys is read-only it often is."""
    path = _SYS / name
    if path.read_text().strip() != value:
        path.write_text(value)


@contextlib.contextmanager
def _kernel() -> Iterator[IPRoute]:
    """A netlink socket whose refusals are OSErrors, like those of /proc/sys."""
    try:
        with IPRoute() as kernel:
            yield kernel
    except NetlinkError as error:
        raise OSError(error.code, str(error)) from error


def _link(kernel: IPRoute) -> int:
    """The index of the link, made if need be."""
    refusal: NetlinkError | None = None
    for kind in LINK_KINDS:
        found = kernel.link_lookup(ifname=LINK)
        if found:
            return int(found[0])
        try:
            kernel.link("add", ifname=LINK, kind=kind)
        except NetlinkError as error:
            log.debug("no %s link: %s", kind, error)
            refusal = error
    found = kernel.link_lookup(ifname=LINK)
    if not found:
        raise OSError(f"cannot make the link {LINK}: {refusal}")
    return int(found[0])
