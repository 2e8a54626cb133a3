"""Looks at the machine before init and join change it, and finds its addresses. Each check raises one line."""

from __future__ import annotations

import errno
import ipaddress
import itertools
import os
import shutil
import socket
import stat
from collections.abc import Iterable, Mapping

from bootstrap.errors import PreflightError
from linux import netlink

NODE_LINKS = ("minik0", "minik.vxlan", "minik-svc")  # what kubelet and proxy make
MAIN_TABLE, UNICAST = 254, 1  # of routes: RT_TABLE_MAIN, RTN_UNICAST
APT_PACKAGES = {
    "etcd": "etcd-server",
    "nft": "nftables",
    "dockerd": "docker.io",
    "ip": "iproute2",
    "nbdfuse": "libnbd-bin",
    "mkfs.ext4": "e2fsprogs",
    "losetup": "mount",
}


def require_root(verb: str) -> None:
    if os.geteuid() != 0:
        raise PreflightError(f"{verb} must run as root; try: sudo minikctl {verb}")


def require_programs(names: Iterable[str]) -> None:
    for name in names:
        if shutil.which(name) is None:
            package = APT_PACKAGES.get(name, name)
            raise PreflightError(f"{name} is not installed; on Debian and Ubuntu: apt-get install {package}")


def require_free_port(port: int, *, address: str, purpose: str) -> None:
    """Raise if something listens on the TCP port. address 0.0.0.0 covers every local address."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PreflightError(f"port {port} ({purpose}) is in use by another process") from None
            raise PreflightError(f"cannot use {address}:{port} ({purpose}): {error.strerror}") from None


def require_free_range(cidr: str, *, purpose: str, flag: str) -> None:
    """Raise if this machine reaches something else by addresses of the range. What minik itself made does not count."""
    wanted = ipaddress.ip_network(cidr)
    with netlink.kernel() as kernel:
        own = {netlink.find(kernel, name) for name in NODE_LINKS} - {0}
        for route in kernel.get_routes(family=socket.AF_INET, table=MAIN_TABLE, type=UNICAST):
            destination, length = route.get("dst"), route["dst_len"]
            if not destination or not length or route.get("oif") in own:
                continue
            present = ipaddress.ip_network(f"{destination}/{length}", strict=False)
            if present.overlaps(wanted):
                raise PreflightError(
                    f"{cidr} ({purpose}) is in use: this machine has a route for {present}; see {flag}"
                )


def require_separate(ranges: Mapping[str, str]) -> None:
    """Raise if two of the ranges overlap: what they are for, and which they are."""
    for (one, first), (other, second) in itertools.combinations(ranges.items(), 2):
        if ipaddress.ip_network(first).overlaps(ipaddress.ip_network(second)):
            raise PreflightError(f"{first} ({one}) and {second} ({other}) overlap")


def require_docker(docker_host: str) -> None:
    """Raise unless something answers on the Docker engine's socket."""
    path = docker_host.removeprefix("unix://")
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise PreflightError(f"{path} is not a socket; is --docker-host right?")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(5)
            probe.connect(path)
    except FileNotFoundError:
        raise PreflightError(f"there is no Docker engine at {path}; install and start docker.io") from None
    except OSError as error:
        raise PreflightError(f"the Docker engine at {path} does not answer: {error.strerror}") from None


def default_address() -> str:
    """The address of the interface of the default route."""
    try:
        return address_towards("192.0.2.1")  # never sent to: connecting a UDP socket only looks at routes
    except OSError:
        raise PreflightError("this machine has no default route; name its address with --advertise-address") from None


def address_towards(host: str, port: int = 9) -> str:
    """The local address packets to `host` leave from."""
    family, _, _, _, target = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect(target)
        return str(probe.getsockname()[0])


def split_endpoint(endpoint: str, *, default_port: int) -> tuple[str, int]:
    """HOST[:PORT], [V6]:PORT or an https URL -> (host, port). Raises PreflightError."""
    text = endpoint.removeprefix("https://").rstrip("/")
    host, separator, port = text.rpartition(":") if not text.endswith("]") else (text, "", "")
    if not separator:
        host, port = text, str(default_port)
    if not host.strip("[]") or not port.isdigit() or not 0 < int(port) < 65536:
        raise PreflightError(f"{endpoint!r} is not HOST:PORT")
    return host.strip("[]"), int(port)
