"""What a disruption budget allows: how many pods there should be, how many are healthy, and on whom one waits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from lightkube.models.core_v1 import PodCondition, PodStatus
from lightkube.models.meta_v1 import LabelSelector, ObjectMeta
from lightkube.models.policy_v1 import PodDisruptionBudgetSpec, PodDisruptionBudgetStatus
from lightkube.resources.core_v1 import Pod
from lightkube.resources.policy_v1 import PodDisruptionBudget

from controllers.disruption import DELETION_TIMEOUT, Unknown, covers, failed, status_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WEB = {"app": "web"}


def pod(name: str, *, ready: bool = True, going: bool = False) -> Pod:
    metadata = ObjectMeta(name=name, namespace="ns", labels=WEB, deletionTimestamp=NOW if going else None)
    conditions = [PodCondition(type="Ready", status=str(ready))]
    return Pod(metadata=metadata, status=PodStatus(phase="Running", conditions=conditions))


def budget(*, disrupted: dict[str, datetime] | None = None, **spec) -> PodDisruptionBudget:
    status = PodDisruptionBudgetStatus(
        currentHealthy=0, desiredHealthy=0, disruptionsAllowed=0, expectedPods=0, disruptedPods=disrupted
    )
    return PodDisruptionBudget(
        metadata=ObjectMeta(name="web", namespace="ns", generation=3),
        spec=PodDisruptionBudgetSpec(selector=LabelSelector(matchLabels=WEB), **spec),
        status=status,
    )


def four(_: Pod) -> tuple[str, int]:
    return "deployment", 4


@pytest.mark.parametrize(
    ("spec", "ready", "numbers"),
    [
        # spec, ready pods of the four, (expected, desired, allowed)
        ({"minAvailable": 3}, 4, (4, 3, 1)),
        ({"minAvailable": 3}, 3, (4, 3, 0)),
        ({"minAvailable": 3}, 1, (4, 3, 0)),
        ({"minAvailable": "50%"}, 4, (4, 2, 2)),
        ({"minAvailable": "51%"}, 4, (4, 3, 1)),  # percentages of healthy pods are rounded up
        ({"maxUnavailable": 1}, 4, (4, 3, 1)),
        ({"maxUnavailable": "26%"}, 4, (4, 2, 2)),  # and so are those of missing ones
        ({"maxUnavailable": "100%"}, 4, (4, 0, 4)),
        ({"maxUnavailable": 9}, 2, (4, 0, 2)),
        ({}, 4, (4, 0, 4)),
    ],
)
def test_numbers(spec, ready, numbers):
    covered = [pod(f"p{n}", ready=n < ready) for n in range(4)]
    status, again = status_of(budget(**spec), covered, four, NOW)
    assert (status.expectedPods, status.desiredHealthy, status.disruptionsAllowed) == numbers
    assert (status.currentHealthy, status.observedGeneration, again) == (ready, 3, None)
    (condition,) = status.conditions
    allowed = numbers[2] > 0
    assert (condition.status, condition.reason) == (
        ("True", "SufficientPods") if allowed else ("False", "InsufficientPods")
    )


def test_pods_that_are_going_are_not_healthy():
    covered = [pod("a"), pod("b", going=True), pod("c")]
    noted = {"b": NOW, "c": NOW - timedelta(seconds=20), "gone": NOW}
    status, again = status_of(budget(minAvailable=1, disrupted=noted), covered, four, NOW)
    assert status.currentHealthy == 1
    assert list(status.disruptedPods) == ["c"], "of those who were evicted only this one has not begun to end"
    assert again == 100


def test_an_evicted_pod_that_stays_is_given_up():
    noted = {"a": NOW - DELETION_TIMEOUT}
    status, again = status_of(budget(minAvailable=1, disrupted=noted), [pod("a")], four, NOW)
    assert (status.currentHealthy, status.disruptedPods, again) == (1, None, None)


def test_a_pod_on_its_own_counts_for_a_number_only():
    alone = [pod("a"), pod("b")]
    status, _ = status_of(budget(minAvailable=1), alone, lambda pod: None, NOW)
    assert status.disruptionsAllowed == 1
    status, _ = status_of(budget(maxUnavailable=1), alone, lambda pod: None, NOW)
    assert (status.expectedPods, status.disruptionsAllowed) == (0, 0)


def test_on_doubt_nothing_is_allowed():
    def unknown(pod: Pod) -> None:
        raise Unknown("found no controllers")

    present = budget(maxUnavailable=1)
    present.status.disruptionsAllowed = 5
    with pytest.raises(Unknown):
        status_of(present, [pod("a")], unknown, NOW)
    status = failed(present, "found no controllers")
    assert (status.disruptionsAllowed, status.conditions[0].reason) == (0, "SyncFailed")


def test_no_selector_covers_nothing_and_an_empty_one_everything():
    present = budget()
    assert covers(present, pod("a"))
    present.spec.selector = LabelSelector()
    assert covers(present, pod("a"))
    present.spec.selector = None
    assert not covers(present, pod("a"))
