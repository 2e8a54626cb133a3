"""What pods and their node use: sampled from the kernel every few seconds, told as Kubernetes' kubelet tells it.

Interface: `Stats.run()` samples; `summary()` is the body of /stats/summary, `exposition()` that of /metrics/resource.
Kubernetes: k8s.io/kubelet/pkg/apis/stats/v1alpha1, and KEP-727 for the second.

Invariant: a rate is of one container between two samples, never across a restart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from lightkube.resources.core_v1 import Pod

from api import meta
from kubelet.runtime.base import Observed
from linux import cgroups
from linux.cgroups import Usage

SAMPLE_SECONDS = 5.0

Running = Callable[[], Iterable[tuple[Pod, list[Observed]]]]
"""The pods of this node with their running containers, sandboxes left out."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A usage, when it was read, and the CPU rate (billionths of a core) since the sample before it."""

    at: datetime
    usage: Usage
    nano_cores: int | None = None

    @classmethod
    def after(cls, before: Sample | None, usage: Usage, now: datetime) -> Sample:
        if before is None or (seconds := (now - before.at).total_seconds()) <= 0:
            return cls(now, usage)
        return cls(now, usage, max(0, int((usage.cpu_nanoseconds - before.usage.cpu_nanoseconds) / seconds)))


class Stats:
    """The latest samples of a node."""

    def __init__(self, node_name: str, running: Running) -> None:
        self._node_name = node_name
        self._running = running
        self._containers: dict[str, Sample] = {}
        self._node: Sample | None = None

    async def run(self) -> None:
        while True:
            self.sample()
            await asyncio.sleep(SAMPLE_SECONDS)

    def sample(self) -> None:
        """Read everything once: three small files of the kernel's a container."""
        now, seen = datetime.now(UTC), {}
        self._node = Sample.after(self._node, cgroups.machine_usage(), now)
        for _, containers in self._running():
            for each in containers:
                usage = cgroups.usage_of(each.pid)
                if usage is not None:
                    seen[each.id] = Sample.after(self._containers.get(each.id), usage, now)
        self._containers = seen

    def _sampled(self) -> Iterator[tuple[Pod, list[tuple[Observed, Sample]]]]:
        for pod, containers in self._running():
            found = [(each, self._containers[each.id]) for each in containers if each.id in self._containers]
            if found:
                yield pod, found

    def summary(self) -> dict[str, Any]:
        pods = []
        for pod, containers in self._sampled():
            reference = {"name": meta.name(pod), "namespace": meta.namespace(pod), "uid": meta.uid(pod)}
            told = [{"name": each.name, "startTime": _time(each.started_at), **_told(s)} for each, s in containers]
            pods.append({"podRef": reference, "startTime": _time(_started(pod)), "containers": told, **_sum(told)})
        node: dict[str, Any] = {"nodeName": self._node_name}
        if self._node is not None:
            node |= _told(self._node)
        return {"node": node, "pods": pods}

    def exposition(self) -> str:
        """Prometheus' text format, with Kubernetes' names."""
        if self._node is None:
            return ""
        cpu = [("node_cpu_usage_seconds_total", "", self._node)]
        memory = [("node_memory_working_set_bytes", "", self._node)]
        for pod, containers in self._sampled():
            for each, sample in containers:
                labels = f'container="{each.name}",namespace="{meta.namespace(pod)}",pod="{meta.name(pod)}"'
                cpu.append(("container_cpu_usage_seconds_total", f"{{{labels}}}", sample))
                memory.append(("container_memory_working_set_bytes", f"{{{labels}}}", sample))
        lines: list[str] = []
        for family, type_ in ((cpu, "counter"), (memory, "gauge")):
            named = ""
            for name, labels, sample in family:
                if name != named:
                    lines.append(f"# TYPE {name} {type_}")
                    named = name
                seconds = sample.usage.cpu_nanoseconds / 1e9
                value = f"{seconds:.6f}" if type_ == "counter" else str(sample.usage.working_set_bytes)
                lines.append(f"{name}{labels} {value} {int(sample.at.timestamp() * 1000)}")
        return "\n".join(lines) + "\n"


def _told(sample: Sample) -> dict[str, Any]:
    usage, time = sample.usage, _time(sample.at)
    cpu: dict[str, Any] = {"time": time, "usageCoreNanoSeconds": usage.cpu_nanoseconds}
    if sample.nano_cores is not None:
        cpu["usageNanoCores"] = sample.nano_cores
    memory = {
        "time": time,
        "usageBytes": usage.memory_bytes,
        "workingSetBytes": usage.working_set_bytes,
        "rssBytes": usage.rss_bytes,
    }
    return {"cpu": cpu, "memory": memory}


def _sum(told: list[dict[str, Any]]) -> dict[str, Any]:
    """A pod's usage is that of its containers together; its rate is known when all of theirs are."""
    result: dict[str, Any] = {"cpu": {"time": told[0]["cpu"]["time"]}, "memory": {"time": told[0]["memory"]["time"]}}
    for part in ("cpu", "memory"):
        for name in told[0][part]:
            if name != "time" and all(name in each[part] for each in told):
                result[part][name] = sum(each[part][name] for each in told)
    return result


def _started(pod: Pod) -> datetime | None:
    return pod.status.startTime if pod.status else None


def _time(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z") if moment else None
