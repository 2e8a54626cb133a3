"""What became of every key of a Compose file: exact, approximate or ignored, with file and line.

Report            collects; `findings` in the order of the file
Keys              a mapping being converted. What nobody asks it for is ignored: no key is forgotten by accident
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from compose.document import NOWHERE, Map, Mark

EXACT, APPROXIMATE, IGNORED = "exact", "approximate", "ignored"


class Finding(NamedTuple):
    mark: Mark
    path: str
    grade: str
    why: str = ""

    def __str__(self) -> str:
        place = f"{self.mark}: " if self.mark.file else ""
        return f"{place}{self.path}: {self.grade}" + (f": {self.why}" if self.why else "")


class Report:
    def __init__(self) -> None:
        self._noted: dict[str, Finding] = {}
        self._keys: list[Keys] = []

    def note(self, finding: Finding) -> None:
        """The first word about a key counts, unless a later one is worse."""
        known = self._noted.get(finding.path)
        if known is None or (known.grade, finding.grade) == (APPROXIMATE, IGNORED):
            self._noted[finding.path] = finding

    def watch(self, keys: Keys) -> None:
        self._keys.append(keys)

    def findings(self, below: str = "") -> list[Finding]:
        """What became of each key, or of those below a path."""
        for keys in self._keys:
            for finding in keys.left():
                self.note(finding)
        found = [each for path, each in self._noted.items() if not below or f"{path}.".startswith(f"{below}.")]
        return sorted(found, key=lambda each: (each.mark.file, each.mark.line))


@dataclass
class Keys:
    """A mapping that notes which of its keys were asked for."""

    data: Map
    path: str
    report: Report
    mark: Mark = NOWHERE

    def __post_init__(self) -> None:
        self._used: set[str] = set()
        self._subs: dict[str, Keys] = {}
        self.report.watch(self)

    def get(self, key: str, default: Any = None) -> Any:
        self._used.add(key)
        value = self.data.get(key)
        return default if value is None else value

    def __contains__(self, key: str) -> bool:
        return self.data.get(key) is not None

    def sub(self, key: str) -> Keys:
        """The mapping below a key; an empty one if there is none."""
        if key not in self._subs:
            found = self.get(key)
            data = found if isinstance(found, Map) else Map()
            self._subs[key] = Keys(data, f"{self.path}.{key}", self.report, self.data.mark(key, self.mark))
        return self._subs[key]

    def items(self, key: str) -> list[Keys]:
        """The mappings of a list below a key."""
        mark = self.data.mark(key, self.mark)
        found = self.get(key, [])
        return [
            Keys(each, f"{self.path}.{key}[{index}]", self.report, next(iter(each.marks.values()), mark))
            for index, each in enumerate(found)
        ]

    def approximate(self, key: str, why: str) -> None:
        self._note(key, APPROXIMATE, why)

    def ignored(self, key: str, why: str) -> None:
        self._note(key, IGNORED, why)

    def _note(self, key: str, grade: str, why: str) -> None:
        self._used.add(key)
        path = f"{self.path}.{key}" if key else self.path
        self.report.note(Finding(self.data.mark(key, self.mark), path, grade, why))

    def left(self) -> Iterator[Finding]:
        """The keys nobody asked for are ignored, the others exact as far as nothing else was said."""
        for key, value in self.data.items():
            if key.startswith("x-") or value is None:
                continue
            mark, path = self.data.mark(key, self.mark), f"{self.path}.{key}"
            if key not in self._used:
                yield Finding(mark, path, IGNORED, WHY_NOT.get(key, "no counterpart in Kubernetes"))
            elif key in self.data.marks and key not in self._subs:
                yield Finding(mark, path, EXACT)


WHY_NOT = {
    "attach": "logs are followed with: minikctl compose logs -f",
    "blkio_config": "Kubernetes does not limit block devices",
    "cgroup_parent": "the kubelet's to decide",
    "cpu_shares": "follows from deploy.resources.reservations.cpus",
    "develop": "for docker compose watch",
    "devices": "needs a device plugin, or privileged: true",
    "domainname": "pods have their Service's domain",
    "driver": "the cluster's network and its storage class decide",
    "external_links": "what is outside of the file is reached by its Service's name",
    "gpus": "needs a device plugin",
    "ipam": "the cluster gives addresses",
    "ipv4_address": "the cluster gives addresses; use the service's name",
    "ipv6_address": "the cluster gives addresses; use the service's name",
    "logging": "the kubelet keeps the logs: minikctl logs",
    "mac_address": "the cluster's network decides",
    "memswap_limit": "follows from the memory limit",
    "oom_kill_disable": "Kubernetes has no such switch",
    "oom_score_adj": "follows from requests and limits",
    "pids_limit": "a setting of the kubelet, not of a pod",
    "provider": "an external program; see its own documentation",
    "rollback_config": "minikctl rollout undo goes back by the rules of update_config",
    "runtime": "make a RuntimeClass and name it by hand",
    "stop_signal": "the image's STOPSIGNAL is sent",
    "ulimits": "Kubernetes has none; set them in the image's entrypoint, or for the node's engine",
    "userns_mode": "no counterpart in Kubernetes but hostUsers: false",
}
