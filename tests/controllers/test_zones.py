"""The brake on eviction: how many lost nodes are given up, and how fast."""

from __future__ import annotations

import pytest
from lightkube.models.core_v1 import NodeCondition, NodeStatus
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Node

from api import meta
from controllers.zones import Brake, EvictionLimits, ZoneState

FOREVER = float("inf")


def nodes(ready: int, lost: int, zone: str = "a") -> list[Node]:
    return [
        Node(
            metadata=ObjectMeta(name=f"{zone}{number}", labels={"topology.kubernetes.io/zone": zone}),
            status=NodeStatus(conditions=[NodeCondition(type="Ready", status=str(number >= lost))]),
        )
        for number in range(ready + lost)
    ]


def given_up(brake: Brake, lost: list[Node], clock: list[float], seconds: int) -> int:
    """How many nodes get their turn within so many seconds."""
    waiting = list(lost)
    for _ in range(seconds * 10):
        waiting = [node for node in waiting if brake.seconds_until(node) > 0]
        clock[0] += 0.1
    return len(lost) - len(waiting)


@pytest.mark.parametrize(
    ("ready", "lost", "state"),
    [
        (3, 0, ZoneState.NORMAL),
        (2, 1, ZoneState.NORMAL),
        (1, 2, ZoneState.NORMAL),
        (0, 1, ZoneState.FULL),
        (2, 3, ZoneState.PARTIAL),
        (3, 3, ZoneState.NORMAL),
        (45, 55, ZoneState.PARTIAL),
        (46, 54, ZoneState.NORMAL),
        (0, 100, ZoneState.FULL),
    ],
)
def test_the_state_of_a_zone(ready: int, lost: int, state: ZoneState) -> None:
    assert EvictionLimits().state(ready=ready, lost=lost) is state


@pytest.mark.parametrize(
    ("ready", "lost", "expected"),
    [
        (2, 1, 1),  # one node of three: at once
        (60, 40, 11),  # many: the first at once, then one in ten seconds
        (1, 99, 2),  # a large zone in partial disruption: one in a hundred seconds
        (1, 9, 0),  # a small one: none
        (0, 3, 0),  # nowhere to go
    ],
)
def test_how_many_nodes_are_given_up_in_105_seconds(ready: int, lost: int, expected: int) -> None:
    clock = [1000.0]
    brake = Brake(lambda: clock[0], EvictionLimits())
    everything = nodes(ready, lost)
    brake.survey(everything)
    assert given_up(brake, everything[:lost], clock, 105) == expected


def test_a_zone_that_is_gone_moves_to_the_others() -> None:
    clock = [0.0]
    brake = Brake(lambda: clock[0], EvictionLimits())
    gone, alive = nodes(0, 3, "gone"), nodes(3, 0, "alive")
    assert brake.survey([*gone, *alive]) == {"/gone": ZoneState.FULL}
    assert not brake.stopped
    assert given_up(brake, gone, clock, 15) == 2
    brake.survey([*gone, *nodes(0, 3, "alive")])
    assert brake.stopped
    assert {brake.seconds_until(node) for node in gone} == {FOREVER}


def test_a_turn_is_kept_until_the_node_is_back() -> None:
    clock = [0.0]
    brake = Brake(lambda: clock[0], EvictionLimits())
    first, second, *ready = nodes(3, 2)
    brake.survey([first, second, *ready])
    assert brake.seconds_until(first) == 0
    assert brake.seconds_until(first) == 0, "a write that failed is tried again"
    assert brake.seconds_until(second) == pytest.approx(10)
    first.status.conditions[0].status = "True"
    brake.survey([first, second, *ready])
    first.status.conditions[0].status = "False"
    brake.survey([first, second, *ready])
    assert brake.seconds_until(first) == pytest.approx(10)
    assert meta.name(first) == "a0"
