"""Find every process of a lab host, without having been told about any of them.

A process belongs to a host if it is in the host's network namespace (engine, kubelet, shims, host-network pods), in the
host's cgroup (every container), or runs one of our programs on the host's directories (which still finds them when the
namespace has lost its name). So any shell, also after a crash, can stop all of it.

Interface: find, kill, pause, resume, is_paused.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lab import limits
from lab.errors import LabError

ENGINE_PROGRAMS = frozenset({"etcd", "dockerd", "containerd", "containerd-shim", "containerd-shim-runc-v2"})
_SUPERVISOR = "bootstrap.supervisor"


@dataclass(frozen=True)
class Owner:
    """How to recognise a host's processes. namespace: inode of its network namespace, if it has one."""

    namespace: int | None
    cgroup: str
    directories: tuple[str, ...]


@dataclass(frozen=True)
class Process:
    """One process as /proc shows it."""

    pid: int
    state: str
    argv: tuple[str, ...]

    @property
    def is_supervisor(self) -> bool:
        return _SUPERVISOR in self.argv


def find(owners: Iterable[Owner]) -> list[Process]:
    """The living processes of the hosts, supervisors first: nothing is to restart what is about to be stopped."""
    wanted = list(owners)
    found = [process for pid in _pids() if (process := _read(pid, wanted))]
    return sorted(found, key=lambda process: (not process.is_supervisor, process.pid))


def kill(owners: Iterable[Owner]) -> None:
    """SIGKILL all of them, until none is left. Raises LabError if the kernel does not let go of one."""
    wanted = list(owners)
    deadline = time.monotonic() + limits.KILL_DEADLINE
    while alive := find(wanted):
        for process in alive:
            _send(process.pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise LabError(f"process {alive[0].pid} ({' '.join(alive[0].argv[:1])}) cannot be killed")
        time.sleep(limits.RECHECK)


def pause(owners: Iterable[Owner]) -> None:
    """SIGSTOP all of them, until a look finds none that runs (a process may have been starting another).

    One in an uninterruptible sleep stops when it wakes: it may be waiting for a child that was stopped before its exec.
    """
    wanted = list(owners)
    told: set[int] = set()
    deadline = time.monotonic() + limits.KILL_DEADLINE
    while awake := [
        each for each in find(wanted) if each.state not in "Tt" and (each.state != "D" or each.pid not in told)
    ]:
        told |= {process.pid for process in awake}
        for process in awake:
            _send(process.pid, signal.SIGSTOP)
        if time.monotonic() > deadline:
            raise LabError(f"process {awake[0].pid} cannot be paused")
        time.sleep(limits.RECHECK)


def resume(owners: Iterable[Owner]) -> None:
    """SIGCONT all of them, supervisors last: they are to find their children awake."""
    for process in reversed(find(owners)):
        _send(process.pid, signal.SIGCONT)


def is_paused(owner: Owner) -> bool:
    supervisors = [process for process in find([owner]) if process.is_supervisor]
    return bool(supervisors) and all(process.state in "Tt" for process in supervisors)


def _pids() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit() and int(entry) != os.getpid()]


def _read(pid: int, owners: list[Owner]) -> Process | None:
    """The process if it is alive and belongs to one of the owners."""
    base = Path("/proc") / str(pid)
    try:
        namespace = os.stat(base / "ns" / "net").st_ino
        cgroups = [line.split(":", 2)[2] for line in (base / "cgroup").read_text().splitlines()]
        argv = tuple((base / "cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0"))
        state = (base / "stat").read_text().rpartition(") ")[2][:1]
    except (OSError, IndexError):
        return None  # it ended meanwhile, or is a kernel thread
    if state in "ZX" or not any(_belongs(owner, namespace, cgroups, argv) for owner in owners):
        return None
    return Process(pid, state, argv)


def _belongs(owner: Owner, namespace: int, cgroups: Iterable[str], argv: tuple[str, ...]) -> bool:
    if namespace == owner.namespace:
        return True
    if any(cgroup == owner.cgroup or cgroup.startswith(f"{owner.cgroup}/") for cgroup in cgroups):
        return True
    return _is_ours(argv) and any(directory in word for directory in owner.directories for word in argv)


def _is_ours(argv: tuple[str, ...]) -> bool:
    """Only our own programs are recognised by their arguments: not somebody's `tail` of a log."""
    return os.path.basename(argv[0]) in ENGINE_PROGRAMS or argv[1:3] == ("-P", "-m")


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
