"""What the kubelet tells of usage: rates between samples, sums of pods, both forms."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Pod

from kubelet.runtime.base import Observed, PodRef
from kubelet.stats import Sample, Stats
from linux import cgroups
from linux.cgroups import Usage

NOW = datetime(2026, 1, 1, tzinfo=UTC)
POD = Pod(metadata=ObjectMeta(name="p", namespace="ns", uid="u"))


def container(name: str, pid: int) -> Observed:
    return Observed(name, PodRef("ns", "p", "u"), name, 0, "running", NOW, pid=pid, started_at=NOW)


def test_a_rate_is_between_two_samples() -> None:
    first = Sample.after(None, Usage(10**9, 0, 0, 0), NOW)
    assert first.nano_cores is None
    second = Sample.after(first, Usage(3 * 10**9, 0, 0, 0), NOW + timedelta(seconds=4))
    assert second.nano_cores == 5 * 10**8


def test_usage_is_read_from_the_kernel() -> None:
    before = cgroups.usage_of(os.getpid())
    assert before is not None and before.memory_bytes >= before.working_set_bytes > 0
    sum(range(2_000_000))
    after = cgroups.usage_of(os.getpid())
    assert after is not None and after.cpu_nanoseconds > before.cpu_nanoseconds
    whole = cgroups.machine_usage()
    assert whole.memory_bytes > 0 and whole.cpu_nanoseconds > 0


def test_an_ended_process_uses_nothing() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert cgroups.usage_of(child.pid) is None


def test_summary_and_exposition() -> None:
    containers = [container("a", os.getpid()), container("b", os.getpid())]
    stats = Stats("n1", lambda: [(POD, containers)])
    assert stats.summary() == {"node": {"nodeName": "n1"}, "pods": []}
    assert stats.exposition() == ""
    stats.sample()
    stats.sample()
    (pod,) = stats.summary()["pods"]
    assert pod["podRef"] == {"name": "p", "namespace": "ns", "uid": "u"}
    assert [each["name"] for each in pod["containers"]] == ["a", "b"]
    both = sum(each["memory"]["workingSetBytes"] for each in pod["containers"])
    assert pod["memory"]["workingSetBytes"] == both > 0
    assert "usageNanoCores" in pod["cpu"]
    text = stats.exposition()
    assert "# TYPE container_cpu_usage_seconds_total counter" in text
    assert 'container_memory_working_set_bytes{container="b",namespace="ns",pod="p"} ' in text


def test_a_restarted_container_begins_anew() -> None:
    running = [container("a", os.getpid())]
    stats = Stats("n1", lambda: [(POD, running)])
    stats.sample()
    running[:] = [container("a2", os.getpid())]
    stats.sample()
    assert "usageNanoCores" not in stats.summary()["pods"][0]["containers"][0]["cpu"]
