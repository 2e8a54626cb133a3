"""HorizontalPodAutoscalers: how many replicas, how fast, and how steady."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from lightkube.models.autoscaling_v2 import HPAScalingPolicy, HPAScalingRules, MetricTarget
from lightkube.models.core_v1 import Container, PodCondition, PodSpec, PodStatus, ResourceRequirements
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Pod

from controllers import hpa_plan
from controllers.hpa_plan import DOWN, UP, Memory, MetricError, PodUsage

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
HALF = MetricTarget(type="Utilization", averageUtilization=50)


def pod(name: str, *, request: str | None = "100m", phase: str = "Running", ready: bool = True, **more) -> Pod:
    started = NOW - timedelta(seconds=more.pop("age", 3600))
    since = NOW - timedelta(seconds=more.pop("ready_for", 3500))
    requests = {"cpu": request} if request else None
    return Pod(
        metadata=ObjectMeta(name=name, namespace="ns", **more),
        spec=PodSpec(containers=[Container(name="c", resources=ResourceRequirements(requests=requests))]),
        status=PodStatus(
            phase=phase,
            startTime=started,
            conditions=[PodCondition(type="Ready", status=str(ready), lastTransitionTime=since)],
        ),
    )


def used(*milli: int) -> dict[str, PodUsage]:
    return {f"p{n}": PodUsage({"c": value}, NOW, timedelta(seconds=5)) for n, value in enumerate(milli)}


def wanted(owned: list[Pod], usage: dict[str, PodUsage], *, current: int | None = None, target=HALF) -> int:
    count = len(owned) if current is None else current
    return hpa_plan.by_resource(count, target, "cpu", owned, usage, now=NOW).replicas


def three() -> list[Pod]:
    return [pod(f"p{n}") for n in range(3)]


@pytest.mark.parametrize(
    ("milli", "replicas"),
    [
        ((50, 50, 50), 3),
        ((54, 54, 54), 3),  # within a tenth
        ((100, 100, 100), 6),
        ((60, 60, 60), 4),
        ((10, 10, 10), 1),
        ((0, 0, 0), 0),
    ],
)
def test_usage_against_requests(milli: tuple[int, ...], replicas: int) -> None:
    assert wanted(three(), used(*milli)) == replicas


def test_average_values_need_no_requests() -> None:
    owned = [pod("p0", request=None), pod("p1", request=None)]
    target = MetricTarget(type="AverageValue", averageValue="100m")
    assert wanted(owned, used(300, 100), target=target) == 4


def test_a_utilisation_of_nothing_is_an_error() -> None:
    with pytest.raises(MetricError, match="missing request for cpu in container c of Pod p1"):
        wanted([pod("p0"), pod("p1", request=None)], used(10, 10))
    with pytest.raises(MetricError, match="did not receive metrics"):
        wanted(three(), {})


def test_missing_pods_only_dampen() -> None:
    assert wanted(three(), used(100, 100)) == 4  # two at twice the target and one idle
    assert wanted(three(), used(10, 10)) == 3  # going down, the silent one is taken to be fully used
    assert wanted(three(), used(60, 60)) == 3  # up by two of three, down with the third: nothing happens


def test_pods_that_start_do_not_count_as_load() -> None:
    starting = [pod("p0"), pod("p1"), pod("p2", age=20, ready=False, ready_for=20)]
    assert wanted(starting, used(100, 100, 1000)) == 4
    just_ready = [pod("p0"), pod("p1"), pod("p2", age=20, ready_for=2)]
    assert wanted(just_ready, used(50, 50, 1000)) == 3


def test_deleted_and_failed_pods_are_nobody() -> None:
    owned = [pod("p0"), pod("p1", phase="Failed"), pod("p2", deletionTimestamp=NOW)]
    assert wanted(owned, used(50, 500, 500), current=1) == 1


def test_the_way_down_is_steady() -> None:
    memory = Memory()
    assert hpa_plan.stabilized(8, 4, memory, UP, DOWN, NOW) == 8
    later = NOW + timedelta(seconds=100)
    assert hpa_plan.stabilized(2, 8, memory, UP, DOWN, later) == 8
    much_later = NOW + timedelta(seconds=301)
    assert hpa_plan.stabilized(2, 8, memory, UP, DOWN, much_later) == 2


def test_the_way_up_can_be_made_steady() -> None:
    careful = HPAScalingRules(stabilizationWindowSeconds=60)
    memory = Memory()
    hpa_plan.stabilized(3, 3, memory, careful, DOWN, NOW)
    assert hpa_plan.stabilized(9, 3, memory, careful, DOWN, NOW + timedelta(seconds=30)) == 3
    assert hpa_plan.stabilized(9, 3, memory, careful, DOWN, NOW + timedelta(seconds=91)) == 9


def test_default_pace() -> None:
    assert hpa_plan.paced(50, 1, Memory(), UP, DOWN, NOW) == 5  # four more, or twice as many: whichever is more
    assert hpa_plan.paced(50, 10, Memory(), UP, DOWN, NOW) == 20
    raised = Memory(raised=[(NOW - timedelta(seconds=5), 10)])
    assert hpa_plan.paced(50, 20, raised, UP, DOWN, NOW) == 20
    assert hpa_plan.paced(1, 20, Memory(), UP, DOWN, NOW) == 1


def test_policies_of_ones_own() -> None:
    one = HPAScalingRules(selectPolicy="Max", policies=[HPAScalingPolicy(60, "Pods", 1)])
    never = HPAScalingRules(selectPolicy="Disabled", policies=one.policies)
    assert hpa_plan.paced(1, 5, Memory(), UP, one, NOW) == 4
    assert hpa_plan.paced(1, 5, Memory(lowered=[(NOW, 1)]), UP, one, NOW) == 5
    assert hpa_plan.paced(1, 5, Memory(), UP, never, NOW) == 5
    both = [HPAScalingPolicy(60, "Pods", 1), HPAScalingPolicy(60, "Percent", 50)]
    least = HPAScalingRules(selectPolicy="Min", policies=both)
    assert hpa_plan.paced(1, 10, Memory(), UP, least, NOW) == 9
