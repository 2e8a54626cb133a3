"""One host of the lab: a network namespace with its cable, a disk folder, and (for nodes) a Docker engine.

What runs on it is started by bootstrap, exactly as on a real machine: `init` on the control host, `join` on nodes.
A Host has no state in memory; everything is looked up, so any process can act on any host.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from bootstrap import supervisor
from lab import cgroups, engine, netns, network, processes, state
from linux import mounts

T = TypeVar("T")


@dataclass(frozen=True)
class HostStatus:
    """A host as `minikctl node list` shows it. state: running, stopped, cut or paused; role: control or node."""

    name: str
    role: str
    address: str
    state: str


@dataclass(frozen=True)
class Host:
    """A host by its lab and name. address None: it is in no lab.json (leftovers being removed)."""

    lab: str
    name: str
    address: str | None = None
    prefix: int = 24

    @property
    def role(self) -> str:
        return "control" if state.is_control(self.name) else "node"

    @property
    def namespace(self) -> str:
        return f"{self.lab}-{self.name}"

    @property
    def directory(self) -> Path:
        return state.lab_dir(self.lab) / self.name

    @property
    def run_directory(self) -> Path:
        return state.run_dir(self.lab) / self.name

    @property
    def engine_directory(self) -> Path:
        return self.directory / "engine"

    @property
    def cgroup(self) -> str:
        return cgroups.name(self.lab, self.name)

    @property
    def docker_host(self) -> str:
        return f"unix://{engine.socket(self.run_directory)}"

    @property
    def owner(self) -> processes.Owner:
        return processes.Owner(
            netns.inode(self.namespace), self.cgroup, (f"{self.directory}/", f"{self.run_directory}/")
        )

    @property
    def services_directory(self) -> Path:
        """What bootstrap set up here, with run/ and logs/ of the components."""
        return self.directory / ("control-plane" if self.role == "control" else "node")

    @property
    def services(self) -> list[Path]:
        """The supervised directories of this host that exist: what an init system would start at boot."""
        candidates = (self.engine_directory, self.services_directory)
        return [each for each in candidates if (each / "supervisor.json").exists()]

    def call(self, function: Callable[[], T]) -> T:
        """Run a function inside the host's network namespace."""
        return netns.call(self.namespace, function)

    def run(self, argv: Sequence[str], *, capture: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a program inside the host's network namespace."""
        return self.call(lambda: subprocess.run(argv, capture_output=capture, text=True))

    def plug(self) -> None:
        network.plug(self.lab, self.name, self.namespace, f"{self.address}/{self.prefix}")

    def start_engine(self) -> None:
        self.call(
            lambda: engine.start(
                self.engine_directory,
                data=self.directory / "docker",
                run=self.run_directory,
                cgroup=self.cgroup,
                volumes=self.services_directory,
            )
        )

    def wait_engine(self) -> None:
        engine.wait_ready(self.engine_directory, self.run_directory)

    def boot(self) -> None:
        """Start what was set up on the host before, as its init system would after power came back."""
        self.plug()
        if self.engine_directory in self.services:
            self.start_engine()
        if self.services_directory in self.services:
            self.call(partial(supervisor.start, self.services_directory))

    def is_up(self) -> bool:
        """Whether every service of the host has its supervisor."""
        services = self.services
        return netns.exists(self.namespace) and bool(services) and all(map(supervisor.running, services))

    def status(self) -> HostStatus:
        return HostStatus(self.name, self.role, self.address or "", self._state())

    def _state(self) -> str:
        if not self.is_up():
            return "stopped"
        if processes.is_paused(self.owner):
            return "paused"
        return "cut" if network.cable_is_cut(self.lab, self.name) else "running"

    def pull_plug(self) -> None:
        """End everything at once, without telling anybody; the disk stays, memory and network are gone."""
        processes.kill([self.owner])
        self.clear_volatile()

    def clear_volatile(self) -> None:
        """Remove what a reboot would: mounts, cgroups, /run, the namespace with its links and rules."""
        for directory in (self.directory, self.run_directory):
            mounts.unmount_below(directory)
        shutil.rmtree(self.run_directory, ignore_errors=True)
        cgroups.remove(self.cgroup)
        network.unplug(self.lab, self.name, self.namespace)

    def destroy(self) -> None:
        """Remove the host, disk and all."""
        self.pull_plug()
        if self.directory.exists():
            shutil.rmtree(self.directory)
