"""What this machine is and has: the facts behind the Node object. Reads /proc and /etc; changes nothing."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

from kubelet import limits

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True, slots=True)
class Pressure:
    memory: bool
    disk: bool
    pids: bool


def architecture() -> str:
    return _ARCHITECTURES.get(platform.machine(), platform.machine())


def cpus() -> int:
    return os.cpu_count() or 1


def memory_bytes() -> int:
    return _meminfo("MemTotal")


def disk_bytes(data_dir: Path) -> int:
    """Of the file system that holds the pods' directories."""
    return shutil.disk_usage(data_dir).total


def pressure(data_dir: Path) -> Pressure:
    """What is about to run out."""
    disk = shutil.disk_usage(data_dir)
    limit = int(read("/proc/sys/kernel/pid_max") or 32768)
    running = int((read("/proc/loadavg") or "0 0 0 1/1 1").split()[3].partition("/")[2])
    return Pressure(
        memory=_meminfo("MemAvailable") < limits.MEMORY_PRESSURE_BYTES,
        disk=disk.free < disk.total * limits.DISK_PRESSURE_SHARE,
        pids=limit - running < limit * limits.PID_PRESSURE_SHARE,
    )


def operating_system() -> str:
    for line in read("/etc/os-release").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip('"')
    return "Linux"


def read(path: str) -> str:
    """The file's text without surrounding space; empty if it cannot be read."""
    with contextlib.suppress(OSError):
        return Path(path).read_text().strip()
    return ""


def negative_oom_scores_allowed() -> bool:
    """Whether processes may be shielded from the OOM killer here; without CAP_SYS_RESOURCE they may not."""
    path = Path("/proc/self/oom_score_adj")
    before = path.read_text()
    try:
        path.write_text("-999")
        path.write_text(before)
    except OSError:
        return False
    return True


def _meminfo(name: str) -> int:
    for line in read("/proc/meminfo").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0
