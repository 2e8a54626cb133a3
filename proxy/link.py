"""The link `minik-svc`: gives the node a route to the service range, and the cluster DNS its address.

A node without a default route could not send to a service address at all: the kernel looks for a route before
the rules translate the packet. So a link that leads nowhere carries a route for the whole range. With the rules in
place nothing is ever sent over it; without them, packets end there instead of leaving by the default route.

Interface: `ensure` and `remove`, both idempotent and blocking. Both raise OSError when the kernel refuses.
"""

from __future__ import annotations

import logging

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from linux import netlink, sysctl

LINK = "minik-svc"
LINK_KINDS = ("dummy", "bridge")
"""In order of preference. A bridge without ports leads nowhere just as well, on kernels built without dummy links."""

log = logging.getLogger("link")


def ensure(*, service_cidr: str, dns_ip: str = "") -> None:
    """Make the link, its address and the route what they should be, and switch on forwarding."""
    sysctl.write("net/ipv4/ip_forward", "1")
    with netlink.kernel() as kernel:
        index = _link(kernel)
        kernel.link("set", index=index, state="up", arp=False)
        netlink.set_address(kernel, index, dns_ip, 32)
        kernel.route("replace", dst=service_cidr, oif=index, scope="link")


def remove() -> None:
    """Take the link away, and with it the address and the route."""
    with netlink.kernel() as kernel:
        netlink.delete(kernel, LINK)


def _link(kernel: IPRoute) -> int:
    """The index of the link, made if need be."""
    refusal: NetlinkError | None = None
    for kind in LINK_KINDS:
        try:
            return netlink.make(kernel, LINK, kind=kind)
        except NetlinkError as error:
            log.debug("no %s link: %s", kind, error)
            refusal = error
    # Somebody else may have made it meanwhile.
    if found := netlink.find(kernel, LINK):
        return found
    raise OSError(f"cannot make the link {LINK}: {refusal}")
