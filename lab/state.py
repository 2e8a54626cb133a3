"""What a lab remembers on disk, and where everything of it is. Any shell can act on a lab from this alone.

    /var/lib/minik/lab/<lab>/lab.json        subnet, hosts and their numbers, kubeconfigs written
    /var/lib/minik/lab/<lab>/images/         docker-archives every kubelet loads
    /var/lib/minik/lab/<lab>/<host>/        the host's disk: control-plane/ or node/, engine/, docker/; survives `stop`
    /run/minik/<lab>/<host>/                 the host's /run: engine socket and pids; gone after `stop`, as in a reboot

Pure apart from load, save and lock.
"""

from __future__ import annotations

import fcntl
import ipaddress
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bootstrap.options import DATA_DIR
from client.files import write_atomic
from lab.errors import LabError

LABS = DATA_DIR / "lab"
RUN = Path("/run/minik")
CONTROL = "control"
CONTROL_NUMBER = 10  # the first control plane is .10, the second .9, the third .8; node i is .10+i
MOST_CONTROLS = 7
RESERVED = ("switch", "uplink", "images", "recorder")  # ports, folders and namespaces are called so
CONTROL_NAME = re.compile(rf"{CONTROL}(-[2-{MOST_CONTROLS}])?")
NAME = re.compile(r"[a-z][a-z0-9]{0,9}")  # names of links are limited to 15 characters
HOST_NAME = re.compile(r"[a-z]([-a-z0-9]{0,12}[a-z0-9])?")


@dataclass
class LabState:
    """The content of lab.json. nodes: name -> number, from which the address follows."""

    name: str
    subnet: str
    nodes: dict[str, int] = field(default_factory=dict)
    kubeconfigs: list[str] = field(default_factory=list)
    control_planes: int = 1

    @property
    def network(self) -> ipaddress.IPv4Network:
        return ipaddress.IPv4Network(self.subnet)

    @property
    def hosts(self) -> list[str]:
        return [*self.controls, *self.nodes]

    @property
    def controls(self) -> list[str]:
        return [CONTROL, *(f"{CONTROL}-{number}" for number in range(2, self.control_planes + 1))]

    def address(self, host: str) -> str:
        number = -self.controls.index(host) if host in self.controls else self.nodes[host]
        return str(self.network[CONTROL_NUMBER + number])

    def add(self, name: str | None = None) -> str:
        """Note a new node; numbers are not used twice while a lab lives. Raises LabError."""
        number = max(self.nodes.values(), default=0) + 1
        name = name or f"node-{number}"
        if name in self.hosts:
            raise LabError(f"there is a host {name} already")
        if name in RESERVED:
            raise LabError(f"{name} is a name of the lab's own")
        if is_control(name):
            raise LabError(f"{name} is the name of a control plane")
        if not HOST_NAME.fullmatch(name):
            raise LabError(f"{name!r} is no host name: at most 14 of a-z, 0-9 and -, beginning with a letter")
        if CONTROL_NUMBER + number >= self.network.num_addresses - 1:
            raise LabError(f"the subnet {self.subnet} has no address left")
        self.nodes[name] = number
        return name


def is_control(host: str) -> bool:
    """Whether the host is a control plane, by its name alone: also what a crash left behind has one."""
    return CONTROL_NAME.fullmatch(host) is not None


def check(name: str, subnet: str) -> None:
    """Raise LabError for a name or subnet that cannot work."""
    if not NAME.fullmatch(name):
        raise LabError(f"{name!r} is no lab name: at most 10 of a-z and 0-9, beginning with a letter")
    try:
        network = ipaddress.IPv4Network(subnet)
    except ValueError as error:
        raise LabError(f"{subnet!r} is no IPv4 subnet: {error}") from None
    if network.num_addresses < 32:
        raise LabError(f"the subnet {subnet} is too small; it must hold at least 32 addresses")


def lab_dir(lab: str) -> Path:
    return LABS / lab


def run_dir(lab: str) -> Path:
    return RUN / lab


def load(lab: str) -> LabState | None:
    """The state on disk, or None if there is no such lab."""
    try:
        return LabState(**json.loads((lab_dir(lab) / "lab.json").read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        raise LabError(f"{lab_dir(lab)}/lab.json is damaged; remove the lab with: minikctl down") from None


def save(state: LabState) -> None:
    write_atomic(lab_dir(state.name) / "lab.json", json.dumps(asdict(state), indent=2) + "\n", mode=0o644)


@contextmanager
def lock(lab: str) -> Iterator[None]:
    """One change of a lab at a time, over all shells. The lock ends with the process, however that ends."""
    RUN.mkdir(parents=True, exist_ok=True)
    path = RUN / f"{lab}.lock"
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        fcntl.flock(handle, fcntl.LOCK_EX)
        if path.exists() and os.fstat(handle).st_ino == path.stat().st_ino:
            break
        os.close(handle)  # `down` removed the file while we waited for it
    try:
        yield
    finally:
        os.close(handle)
