"""Pod addresses of this node, as files: a restarted kubelet hands every pod the address it had.

One file an address under the directory, its content says which pod has it and, once the pod's network is complete, for
which sandbox. Invariant: a file is written whole or not at all, and an address has at most one pod.
The node's ports that lead to the pod are written beside it.
"""

from __future__ import annotations

import ipaddress
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kubelet.network.host_ports import HostPort


class NoAddressLeft(Exception):
    """Every address of the node's pod CIDR is taken."""


@dataclass(frozen=True, slots=True)
class Lease:
    uid: str
    ip: str
    sandbox_id: str = ""
    """The sandbox whose network was completed with this address."""
    ports: tuple[HostPort, ...] = ()
    """Ports of the node that lead to it."""


class AddressPool:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._directory.mkdir(parents=True, exist_ok=True)
        self._network: ipaddress.IPv4Network | None = None
        self._last = 0
        self._leases = {lease.uid: lease for lease in _read(directory)}

    def configure(self, cidr: str) -> None:
        """Hand out addresses of this range; those of another one are forgotten."""
        self._network = ipaddress.IPv4Network(cidr)
        for lease in list(self._leases.values()):
            if ipaddress.IPv4Address(lease.ip) not in self._network:
                self.release(lease.uid)

    def lease(self, uid: str) -> Lease | None:
        return self._leases.get(uid)

    def leases(self) -> list[Lease]:
        return list(self._leases.values())

    def allocate(self, uid: str) -> str:
        """The pod's address, the same one until it is released. Raises NoAddressLeft."""
        if uid in self._leases:
            return self._leases[uid].ip
        taken = {lease.ip for lease in self._leases.values()}
        for index, ip in self._candidates():
            if ip not in taken:
                self._last = index
                self._write(Lease(uid, ip))
                return ip
        raise NoAddressLeft(f"no free address in {self._network}")

    def _candidates(self) -> Iterator[tuple[int, str]]:
        """From the one after the last given, so an address rests before it is used again. .0 and .1 are the node's."""
        assert self._network is not None, "configure first"
        usable = self._network.num_addresses - 3
        for step in range(usable):
            index = (self._last + step) % usable + 1
            yield index, str(self._network.network_address + index + 1)

    def complete(self, uid: str, sandbox_id: str, ports: tuple[HostPort, ...] = ()) -> None:
        """Note that the sandbox's network is whole."""
        self._write(Lease(uid, self._leases[uid].ip, sandbox_id, ports))

    def release(self, uid: str) -> None:
        lease = self._leases.pop(uid, None)
        if lease is not None:
            (self._directory / lease.ip).unlink(missing_ok=True)

    def _write(self, lease: Lease) -> None:
        path = self._directory / lease.ip
        scratch = path.with_suffix(".new")
        scratch.write_text(json.dumps({"uid": lease.uid, "sandbox": lease.sandbox_id, "ports": lease.ports}))
        os.replace(scratch, path)
        self._leases[lease.uid] = lease


def _read(directory: Path) -> Iterator[Lease]:
    for path in directory.iterdir():
        try:
            content = json.loads(path.read_text())
            ports = tuple(HostPort(*each) for each in content.get("ports", ()))
            yield Lease(content["uid"], str(ipaddress.IPv4Address(path.name)), content.get("sandbox", ""), ports)
        except (ValueError, KeyError, TypeError):
            path.unlink()  # half-written when a machine lost its power
