"""What a workshop does to a node: plug out, plug in, cable out, cable in, freeze, and killing single processes.

The cluster is not told about any of it; it has to find out.
"""

from __future__ import annotations

import contextlib
import os
import signal

from bootstrap import supervisor
from lab import network, processes
from lab.errors import LabError
from lab.host import Host


def stop(host: Host) -> None:
    """Pull the plug: every process is killed, engine and containers included; memory is lost, the disk stays."""
    host.pull_plug()


def start(host: Host) -> None:
    """Put the plug back in: the host boots."""
    host.boot()


def cut(host: Host) -> None:
    """Pull the network cable: everything goes on running, alone."""
    network.set_cable(host.lab, host.name, connected=False)


def heal(host: Host) -> None:
    """Put the cable back, wake what was paused."""
    network.set_cable(host.lab, host.name, connected=True)
    processes.resume([host.owner])


def pause(host: Host) -> None:
    """Freeze every process, as a suspended VM or a machine in trouble: connections stay open, nothing answers."""
    processes.pause([host.owner])


def resume(host: Host) -> None:
    processes.resume([host.owner])


def kill(host: Host, component: str) -> int:
    """kill -9 one supervised process of the host; returns its pid. Raises LabError if there is none."""
    names = []
    for directory in host.services:
        for child in supervisor.status(directory):
            names.append(child.name)
            if child.name == component and child.pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child.pid, signal.SIGKILL)
                return child.pid
    raise LabError(f"{host.name} runs no {component}; it has {', '.join(names) or 'nothing'}")
