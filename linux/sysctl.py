"""Kernel settings by their path under /proc/sys, such as `net/ipv4/ip_forward`, of the current network namespace."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from linux import modules

BRIDGE_NETFILTER = "net/bridge/bridge-nf-call-iptables"

_SYS = Path("/proc/sys")


def read(name: str) -> str:
    """Empty for a setting that this kernel does not have."""
    try:
        return (_SYS / name).read_text().strip()
    except FileNotFoundError:
        return ""


def write(name: str, value: str) -> None:
    """Set it unless it is so already: where /proc/sys is read-only it often is. Raises OSError."""
    if read(name) != value:
        (_SYS / name).write_text(value)


def write_if_there(values: Mapping[str, str]) -> None:
    """Set what this kernel has; what it lacks needs no setting."""
    for name, value in values.items():
        with contextlib.suppress(OSError):
            write(name, value)


def bridge_netfilter() -> bool:
    """Whether packets between ports of one bridge pass the node's rules; switched on if the kernel can."""
    if not read(BRIDGE_NETFILTER):
        modules.load("br_netfilter")
    write_if_there({BRIDGE_NETFILTER: "1"})
    return read(BRIDGE_NETFILTER) == "1"
