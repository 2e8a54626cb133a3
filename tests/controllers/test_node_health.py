from __future__ import annotations

from datetime import UTC, datetime

import pytest
from lightkube.models.core_v1 import NodeCondition, NodeSpec, NodeStatus, Taint
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Node

from controllers import node_health
from controllers.node_health import NOT_READY, UNREACHABLE, Observations
from controllers.node_ipam import Ranges

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def node(ready: str | None = "True", *, unschedulable: bool = False, **conditions: str) -> Node:
    given = {**({"Ready": ready} if ready else {}), **conditions}
    status = NodeStatus(conditions=[NodeCondition(type=key, status=value) for key, value in given.items()])
    return Node(metadata=ObjectMeta(name="n"), spec=NodeSpec(unschedulable=unschedulable), status=status)


@pytest.mark.parametrize(
    ("given", "evict", "taints"),
    [
        (node(), True, set()),
        (node("False"), True, {(NOT_READY, "NoSchedule"), (NOT_READY, "NoExecute")}),
        (node("Unknown"), True, {(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")}),
        (node("Unknown"), False, {(UNREACHABLE, "NoSchedule")}),
        (node(None), True, {(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")}),
        (node(unschedulable=True), True, {(node_health.UNSCHEDULABLE, "NoSchedule")}),
        (node(DiskPressure="True"), True, {("node.kubernetes.io/disk-pressure", "NoSchedule")}),
        (node(DiskPressure="Unknown"), True, set()),
    ],
)
def test_wanted_taints(given: Node, evict: bool, taints: set[tuple[str, str]]) -> None:
    assert node_health.wanted_taints(given, evict=evict) == taints


def test_only_managed_taints_are_touched_and_their_time_is_kept() -> None:
    own = Taint(key="mine", effect="NoExecute")
    since = Taint(key=UNREACHABLE, effect="NoExecute", timeAdded=NOW)
    both = frozenset({(UNREACHABLE, "NoExecute"), (UNREACHABLE, "NoSchedule")})
    later = NOW.replace(year=2027)
    tainted = node_health.with_taints([own, since], both, later)
    assert tainted == [own, since, Taint(key=UNREACHABLE, effect="NoSchedule", timeAdded=later)]
    assert node_health.with_taints(tainted, both, later) is None
    assert node_health.with_taints(tainted, frozenset(), later) == [own]
    assert node_health.with_taints(None, frozenset(), later) is None


def test_lost_conditions() -> None:
    found = node_health.lost_conditions(node("True", DiskPressure="Unknown", Own="True"), NOW)
    told = {each.type: (each.status, each.reason) for each in found}
    assert told["Ready"] == ("Unknown", "NodeStatusUnknown")
    assert told["DiskPressure"] == ("Unknown", None)
    assert told["MemoryPressure"] == ("Unknown", "NodeStatusNeverUpdated")
    assert told["Own"] == ("True", None)


class Clock:
    """Seconds, moved by the test. Our own heartbeat comes round every second while `hears`."""

    def __init__(self) -> None:
        self.now = 100.0
        self.seen = Observations(lambda: self.now, period=1)
        self.seen.hear_ourselves()
        self.hears = True

    def advance(self, seconds: int) -> None:
        for _ in range(seconds):
            self.now += 1
            if self.hears:
                self.seen.hear_ourselves()


def test_silence_is_counted_since_the_last_change() -> None:
    clock = Clock()
    clock.seen.see("n", lease="1", heartbeat=NOW)
    clock.advance(3)
    clock.seen.see("n", lease="1", heartbeat=NOW)
    assert clock.seen.silent_for("n") == 3
    clock.seen.see("n", lease="2", heartbeat=NOW)
    assert clock.seen.silent_for("n") == 0
    clock.advance(2)
    clock.seen.see("n", lease="2", heartbeat=NOW.replace(year=2020))  # a clock set back is a sign of life too
    assert clock.seen.silent_for("n") == 0
    clock.seen.forget("n")
    assert clock.seen.silent_for("n") == 0


def test_while_we_cannot_hear_no_time_passes_for_the_nodes() -> None:
    clock = Clock()
    clock.seen.see("n", lease="1", heartbeat=None)
    clock.hears = False
    clock.advance(1000)
    assert clock.seen.silent_for("n") <= 2
    clock.hears = True
    clock.now += 1
    assert clock.seen.hear_ourselves()
    assert clock.seen.silent_for("n") == 0
    clock.advance(5)
    assert clock.seen.silent_for("n") == 5


def test_a_standby_that_waited_long_starts_at_zero() -> None:
    now = [0.0]
    seen = Observations(lambda: now[0], period=1)
    seen.see("n", lease="1", heartbeat=None)
    now[0] = 1000.0
    assert seen.silent_for("n") == 0
    assert not seen.hear_ourselves()
    assert seen.silent_for("n") == 0


def test_ranges_are_given_once_and_come_back() -> None:
    ranges = Ranges("10.244.0.0/22", 24)
    ranges.occupy("old", ["10.244.1.0/24"])
    assert ranges.allocate("a") == "10.244.0.0/24"
    assert ranges.allocate("a") == "10.244.0.0/24"
    assert ranges.allocate("b") == "10.244.2.0/24"
    assert ranges.allocate("c") == "10.244.3.0/24"
    assert ranges.allocate("d") is None
    ranges.release("old")
    assert ranges.allocate("d") == "10.244.1.0/24"


def test_a_mask_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        Ranges("10.244.0.0/24", 16)
