from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lightkube.models.apps_v1 import (
    DeploymentSpec,
    DeploymentStrategy,
    ReplicaSetSpec,
    ReplicaSetStatus,
    RollingUpdateDeployment,
)
from lightkube.models.core_v1 import Container, PodSpec, PodTemplateSpec
from lightkube.models.meta_v1 import LabelSelector, ObjectMeta
from lightkube.resources.apps_v1 import Deployment, ReplicaSet

from controllers import deployment_status as statuses
from controllers import rollout, templates
from controllers.rollout import Limits

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)


def deployment(replicas: int = 4, surge=None, unavailable=None, *, kind: str = "RollingUpdate", **spec) -> Deployment:
    rolling = RollingUpdateDeployment(maxSurge=surge, maxUnavailable=unavailable)
    return Deployment(
        metadata=ObjectMeta(name="web", namespace="ns", uid="d", generation=1),
        spec=DeploymentSpec(
            replicas=replicas,
            strategy=DeploymentStrategy(type=kind, rollingUpdate=rolling if kind == "RollingUpdate" else None),
            selector=LabelSelector(matchLabels={"app": "web"}),
            template=template(),
            **spec,
        ),
    )


def template(image: str = "web:1") -> PodTemplateSpec:
    containers = [Container(name="c", image=image)]
    return PodTemplateSpec(metadata=ObjectMeta(labels={"app": "web"}), spec=PodSpec(containers=containers))


def replica_set(name: str, replicas: int, available: int | None = None, *, age: int = 0, **annotations) -> ReplicaSet:
    available = replicas if available is None else available
    return ReplicaSet(
        metadata=ObjectMeta(
            name=name, uid=name, creationTimestamp=BEGINNING - timedelta(seconds=age), annotations=annotations or None
        ),
        spec=ReplicaSetSpec(selector=LabelSelector(), replicas=replicas),
        status=ReplicaSetStatus(replicas=replicas, availableReplicas=available),
    )


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "expected"),
    [
        (4, None, None, (1, 1)),  # 25 % of 4
        (3, None, None, (1, 0)),  # surge rounds up, unavailable down
        (10, "30%", "0%", (3, 0)),
        (10, 2, 1, (2, 1)),
        (1, 0, 0, (0, 1)),  # or nothing would ever move
        (1, "0%", "50%", (0, 1)),
        (2, 0, 5, (0, 2)),
        (0, None, None, (0, 0)),
    ],
)
def test_limits(replicas: int, surge, unavailable, expected: tuple[int, int]) -> None:
    limit = rollout.limits(deployment(replicas, surge, unavailable))
    if replicas:
        assert (limit.surge, limit.unavailable) == expected
    assert limit.wanted == replicas


@pytest.mark.parametrize(
    ("limit", "new", "old", "size"),
    [
        (Limits(3, 1, 0), 0, [3], 1),
        (Limits(3, 1, 0), 1, [3], 1),
        (Limits(3, 1, 0), 1, [2], 2),
        (Limits(3, 0, 1), 0, [3], 0),
        (Limits(3, 5, 0), 0, [3], 3),
        (Limits(3, 1, 0), 5, [], 3),
        (Limits(3, 1, 0), 0, [], 3),
    ],
)
def test_the_new_set_grows_into_the_room_there_is(limit: Limits, new: int, old: list[int], size: int) -> None:
    others = [replica_set(f"o{i}", count) for i, count in enumerate(old)]
    assert rollout.scale_new(limit, replica_set("new", new), others) == size


@pytest.mark.parametrize(
    ("limit", "new", "old", "sizes"),
    [
        # (replicas, available) of each
        (Limits(3, 1, 0), (1, 0), [(3, 3)], {}),
        (Limits(3, 1, 0), (1, 1), [(3, 3)], {"o0": 2}),
        (Limits(3, 0, 1), (0, 0), [(3, 3)], {"o0": 2}),
        (Limits(4, 1, 1), (2, 0), [(3, 3)], {}),
        # What is not available goes first, and does not count against availability.
        (Limits(4, 1, 1), (1, 0), [(4, 2)], {"o0": 3}),
        (Limits(4, 1, 1), (1, 1), [(2, 0), (2, 2)], {"o0": 0}),
        (Limits(3, 1, 0), (3, 3), [(1, 1)], {"o0": 0}),
        # A status that lags behind a scale-down promises pods that are going.
        (Limits(3, 1, 0), (2, 1), [(2, 3)], {}),
        (Limits(0, 0, 0), (0, 0), [(3, 3)], {"o0": 0}),
    ],
)
def test_old_sets_give_up_what_is_not_needed(limit: Limits, new, old, sizes: dict[str, int]) -> None:
    others = [replica_set(f"o{i}", *counts, age=10 - i) for i, counts in enumerate(old)]
    assert rollout.scale_old(limit, replica_set("new", *new), others) == sizes


COUNTS = st.integers(0, 6).flatmap(lambda size: st.tuples(st.just(size), st.integers(0, size)))


@given(st.integers(0, 8), st.integers(0, 3), st.integers(0, 3), COUNTS, st.lists(COUNTS, max_size=3))
def test_a_step_keeps_within_the_limits(wanted, surge, unavailable, new, old) -> None:
    limit = Limits(wanted, surge, min(wanted, unavailable if surge or unavailable else 1))
    others = [replica_set(f"o{i}", *counts, age=i) for i, counts in enumerate(old)]
    current = replica_set("new", *new)
    size = rollout.scale_new(limit, current, others)
    total = size + rollout.total_replicas(others)
    assert total <= max(limit.most, new[0] + rollout.total_replicas(others))
    available = min(new[1], size) + sum(count for _, count in old)
    grown = replica_set("new", size, min(new[1], size))
    scales = rollout.scale_old(limit, grown, others)
    left = min(new[1], size) + sum(min(a, scales.get(f"o{i}", r)) for i, (r, a) in enumerate(old))
    assert left >= min(available, limit.least_available)
    assert all(0 <= value < rollout.replicas_of(others[int(name[1:])]) for name, value in scales.items())


def test_every_rollout_comes_to_its_end() -> None:
    for limit in (Limits(3, 1, 0), Limits(3, 0, 1), Limits(10, 3, 2), Limits(1, 1, 0), Limits(5, 5, 5)):
        new, old = 0, limit.wanted
        for _ in range(60):
            new = rollout.scale_new(limit, replica_set("new", new), [replica_set("old", old)])
            old = rollout.scale_old(limit, replica_set("new", new), [replica_set("old", old)]).get("old", old)
        assert (new, old) == (limit.wanted, 0)


@pytest.mark.parametrize(
    ("limit", "sets", "sizes"),
    [
        # 10 + surge 3 were 8 and 5; now 15 + surge 3 are wanted, as in Kubernetes' documentation
        (Limits(15, 3, 2), [("old", 8, 13), ("new", 5, 13)], {"old": 11, "new": 7}),
        (Limits(5, 1, 0), [("old", 8, 13), ("new", 5, 13)], {"old": 4, "new": 2}),
        (Limits(0, 0, 0), [("old", 3, 4), ("new", 1, 4)], {"old": 0, "new": 0}),
        (Limits(10, 3, 2), [("old", 8, 13), ("new", 5, 13)], {}),
    ],
)
def test_scaled_in_the_middle_both_sides_get_their_share(limit: Limits, sets, sizes: dict[str, int]) -> None:
    found = [replica_set(name, size, **{templates.MAX_REPLICAS: str(most)}) for name, size, most in sets]
    assert rollout.scale_proportionally(limit, found) == sizes


def test_the_earliest_empty_sets_are_cleaned_up() -> None:
    sets = [replica_set(f"r{i}", 0, **{templates.REVISION: str(i)}) for i in range(1, 5)]
    sets[0] = replica_set("r1", 1, **{templates.REVISION: "1"})
    assert [each.metadata.name for each in rollout.to_clean_up(sets, 2)] == ["r2"]
    assert rollout.to_clean_up(sets, 10) == []


# Templates


def test_the_hash_depends_on_the_template_alone_and_is_a_name() -> None:
    hashed = templates.template_hash(template(), 0)
    assert hashed == templates.template_hash(template(), 0)
    assert len({hashed, templates.template_hash(template("web:2"), 0), templates.template_hash(template(), 1)}) == 3
    assert len(hashed) == 10
    assert set(hashed) <= set(templates.SAFE_ALPHABET)


def test_a_set_is_found_by_its_template_whatever_its_hash() -> None:
    wanted = deployment()
    made = templates.new_replica_set(wanted, replicas=2, collisions=0)
    assert made.metadata.labels["pod-template-hash"] == made.metadata.name.removeprefix("web-")
    assert made.spec.selector.matchLabels == {"app": "web", **{"pod-template-hash": made.metadata.name[4:]}}
    made.spec.template.metadata.labels["pod-template-hash"] = "from-elsewhere"
    assert templates.find(wanted, [made]) is made
    made.spec.template.spec.containers[0].image = "other"
    assert templates.find(wanted, [made]) is None
    assert wanted.spec.template == template()


def test_annotations_carry_the_revisions() -> None:
    owner = deployment()
    owner.metadata.annotations = {"kubernetes.io/change-cause": "why", templates.LAST_APPLIED: "{}"}
    made = replica_set("r", 0, **{templates.REVISION: "2"})
    wanted = templates.annotations_for(owner, made, number=5)
    assert wanted == {
        "kubernetes.io/change-cause": "why",
        templates.REVISION: "5",
        templates.REVISION_HISTORY: "2",
    }


# Status


def status(owner: Deployment, new: ReplicaSet, *others: ReplicaSet, now: datetime = BEGINNING):
    counted = statuses.counts(owner, new, [new, *others], collisions=0)
    return statuses.with_conditions(owner, counted, new, [new, *others], now=now)


def reasons(found) -> dict[str, tuple[str, str]]:
    return {each.type: (each.status, each.reason) for each in found.conditions}


def test_a_rollout_from_beginning_to_end() -> None:
    owner, new, old = deployment(2, 1, 0), replica_set("new", 1, 0), replica_set("old", 2)
    owner.status = status(owner, new, old)
    assert reasons(owner.status) == {
        "Available": ("True", "MinimumReplicasAvailable"),
        "Progressing": ("True", "ReplicaSetUpdated"),
    }
    owner.status = status(owner, replica_set("new", 2), now=BEGINNING + timedelta(seconds=5))
    assert reasons(owner.status)["Progressing"] == ("True", "NewReplicaSetAvailable")
    assert owner.status.availableReplicas == 2
    # A pod that restarts later is no rollout.
    later = status(owner, replica_set("new", 2, 1), now=BEGINNING + timedelta(hours=1))
    assert reasons(later) == {
        "Available": ("False", "MinimumReplicasUnavailable"),
        "Progressing": ("True", "NewReplicaSetAvailable"),
    }


def test_without_progress_the_deadline_passes() -> None:
    owner, new = deployment(2, progressDeadlineSeconds=10), replica_set("new", 2, 0)
    owner.status = status(owner, new)
    soon = BEGINNING + timedelta(seconds=9)
    assert statuses.seconds_to_deadline(owner, owner.status, soon) == 1
    assert reasons(status(owner, new, now=soon))["Progressing"] == ("True", "ReplicaSetUpdated")
    owner.status = status(owner, new, now=BEGINNING + timedelta(seconds=10))
    assert reasons(owner.status)["Progressing"] == ("False", "ProgressDeadlineExceeded")
    owner.status = status(owner, replica_set("new", 2), now=BEGINNING + timedelta(seconds=60))
    assert reasons(owner.status)["Progressing"] == ("True", "NewReplicaSetAvailable")
