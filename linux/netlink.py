"""Links, addresses and routes through netlink (pyroute2); refusals are OSErrors, like those of the rest of the kernel.

A netlink socket belongs to the network namespace it was made in, wherever its thread goes later.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from linux import namespaces

_SETTLED = (errno.EEXIST, errno.ENOENT, errno.ESRCH, errno.ENODEV, errno.EADDRNOTAVAIL)
"""It is there already, or gone already."""


@contextlib.contextmanager
def os_errors() -> Iterator[None]:
    """What the kernel refuses inside is an OSError with its number."""
    try:
        yield
    except NetlinkError as error:
        raise OSError(error.code, str(error)) from error


@contextlib.contextmanager
def kernel(namespace: str | os.PathLike[str] = "") -> Iterator[IPRoute]:
    """A socket in the current network namespace, or in that of a file."""
    with os_errors():
        with namespaces.entered(namespace) if namespace else contextlib.nullcontext():
            netlink = IPRoute()
        with netlink:
            yield netlink


def find(netlink: IPRoute, name: str) -> int:
    """The link's index; 0 when there is none."""
    return next(iter(netlink.link_lookup(ifname=name)), 0)


def index(netlink: IPRoute, name: str) -> int:
    """Raises OSError when there is no such link."""
    if not (found := find(netlink, name)):
        raise OSError(errno.ENODEV, f"no link {name}")
    return found


def make(netlink: IPRoute, name: str, **options: Any) -> int:
    """The index of the link, made if it is not there."""
    if not (found := find(netlink, name)):
        netlink.link("add", ifname=name, **options)
        found = index(netlink, name)
    return found


def set_address(netlink: IPRoute, link: int, address: str, prefix: int) -> None:
    """Exactly this IPv4 address; an empty one for none."""
    there = False
    for each in netlink.get_addr(family=socket.AF_INET, index=link):
        if (each.get_attr("IFA_ADDRESS"), each["prefixlen"]) == (address, prefix):
            there = True
        else:
            stale = each.get_attr("IFA_ADDRESS")
            settled(netlink.addr, "del", index=link, address=stale, prefixlen=each["prefixlen"])
    if address and not there:
        settled(netlink.addr, "add", index=link, address=address, prefixlen=prefix)


def settled(call: Callable[..., Any], *args: Any, **options: Any) -> None:
    """Call, for what may be there, or gone, already."""
    try:
        call(*args, **options)
    except NetlinkError as error:
        if error.code not in _SETTLED:
            raise


def delete(netlink: IPRoute, name: str) -> None:
    if found := find(netlink, name):
        settled(netlink.link, "del", index=found)
