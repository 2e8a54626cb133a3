"""What the processes of a control group use, cgroup v1 and v2 (https://docs.kernel.org/admin-guide/cgroup-v2.html).

Interface: `usage_of(pid)` for the group a process is in, `machine_usage()` for all there is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU time since the group was made, and memory now. The working set leaves out cache that could go at once."""

    cpu_nanoseconds: int
    memory_bytes: int
    working_set_bytes: int
    rss_bytes: int


def usage_of(pid: int) -> Usage | None:
    """The usage of the whole group that the process is in; None once it has ended."""
    try:
        groups = _groups((PROC / str(pid) / "cgroup").read_text())
        if "" in groups and "memory" not in groups:
            return _unified(ROOT / groups[""].lstrip("/"))
        memory, cpu = groups["memory"].lstrip("/"), groups["cpuacct"].lstrip("/")
        return _legacy(ROOT / "memory" / memory, ROOT / "cpuacct" / cpu)
    except (OSError, KeyError, ValueError):
        return None


def machine_usage() -> Usage:
    """The whole machine, from /proc: the root group of v2 counts no memory."""
    ticks = (PROC / "stat").read_text().splitlines()[0].split()[1:]
    # user nice system idle iowait irq softirq steal: what is neither idle nor waiting, in hundredths of a second
    busy = sum(int(ticks[place]) for place in (0, 1, 2, 5, 6))
    memory = {
        name: int(rest.split()[0]) * 1024
        for name, _, rest in (line.partition(":") for line in (PROC / "meminfo").read_text().splitlines())
    }
    used = memory["MemTotal"] - memory["MemFree"]
    working = memory["MemTotal"] - memory["MemAvailable"]
    return Usage(busy * 10_000_000, used, working, memory["AnonPages"])


def _groups(text: str) -> dict[str, str]:
    """controller -> path, as /proc/PID/cgroup lists them; the unified hierarchy's controller is the empty string."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            found[controller] = path
    return found


def _unified(group: Path) -> Usage:
    cpu, memory = _table(group / "cpu.stat"), _table(group / "memory.stat")
    used = int((group / "memory.current").read_text())
    return Usage(cpu["usage_usec"] * 1000, used, max(0, used - memory["inactive_file"]), memory["anon"])


def _legacy(memory: Path, cpu: Path) -> Usage:
    table = _table(memory / "memory.stat")
    used = int((memory / "memory.usage_in_bytes").read_text())
    return Usage(
        int((cpu / "cpuacct.usage").read_text()), used, max(0, used - table["total_inactive_file"]), table["total_rss"]
    )


def _table(path: Path) -> dict[str, int]:
    return {name: int(value) for name, value in (line.split() for line in path.read_text().splitlines())}
