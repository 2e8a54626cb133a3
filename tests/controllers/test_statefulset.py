"""StatefulSets: the order in which pods come, go and are replaced; names, claims, status."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from lightkube.models.apps_v1 import (
    RollingUpdateStatefulSetStrategy,
    StatefulSetOrdinals,
    StatefulSetPersistentVolumeClaimRetentionPolicy,
    StatefulSetSpec,
    StatefulSetStatus,
    StatefulSetUpdateStrategy,
)
from lightkube.models.core_v1 import (
    Container,
    PersistentVolumeClaimSpec,
    PodCondition,
    PodSpec,
    PodStatus,
    PodTemplateSpec,
    Volume,
)
from lightkube.models.meta_v1 import LabelSelector, ObjectMeta
from lightkube.resources.apps_v1 import StatefulSet
from lightkube.resources.core_v1 import PersistentVolumeClaim, Pod

from controllers import statefulset_plan as plans
from controllers.history import REVISION_LABEL

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OLD_TO_NEW = plans.Revision("old", "new")
SAME = plans.Revision("new", "new")


def stateful_set(replicas: int = 3, *, current: int | None = None, **spec) -> StatefulSet:
    labels = {"app": "db"}
    return StatefulSet(
        metadata=ObjectMeta(name="db", namespace="ns", uid="set"),
        spec=StatefulSetSpec(
            replicas=replicas,
            serviceName="db",
            selector=LabelSelector(matchLabels=labels),
            template=PodTemplateSpec(
                metadata=ObjectMeta(labels=labels),
                spec=PodSpec(containers=[Container(name="c")], volumes=[Volume(name="data"), Volume(name="other")]),
            ),
            **spec,
        ),
        status=StatefulSetStatus(replicas=0, currentReplicas=current),
    )


def pod(place: int, *, ready: bool = True, phase: str = "Running", revision: str = "new", **more) -> Pod:
    since = NOW - timedelta(seconds=more.pop("ready_for", 100))
    return Pod(
        metadata=ObjectMeta(name=f"db-{place}", uid=f"u{place}", labels={REVISION_LABEL: revision}, **more),
        status=PodStatus(
            phase=phase, conditions=[PodCondition(type="Ready", status=str(ready), lastTransitionTime=since)]
        ),
    )


def step(given: StatefulSet, *owned: Pod, revision: plans.Revision = SAME) -> tuple[list[int], list[str]]:
    actions = plans.plan(given, list(owned), revision, NOW)
    return [place for place, _ in actions.create], [each.metadata.name for each in actions.delete]


def test_pods_come_one_after_the_other() -> None:
    given = stateful_set()
    assert step(given) == ([0], [])
    assert step(given, pod(0, ready=False)) == ([], [])
    assert step(given, pod(0)) == ([1], [])
    assert step(given, pod(0), pod(1), pod(2)) == ([], [])
    assert step(stateful_set(minReadySeconds=200), pod(0)) == ([], [])


def test_parallel_pods_come_and_go_together() -> None:
    given = stateful_set(podManagementPolicy="Parallel")
    assert step(given) == ([0, 1, 2], [])
    assert step(given, pod(0, ready=False)) == ([1, 2], [])
    assert step(given, *(pod(place) for place in range(5))) == ([], ["db-4", "db-3"])


def test_ordinals_may_start_anywhere() -> None:
    given = stateful_set(2, ordinals=StatefulSetOrdinals(start=5))
    assert step(given) == ([5], [])
    assert step(given, pod(4), pod(5), pod(6)) == ([], ["db-4"])


def test_pods_go_from_the_last_and_only_while_the_others_are_well() -> None:
    given = stateful_set(1)
    assert step(given, pod(0), pod(1), pod(2)) == ([], ["db-2"])
    assert step(given, pod(0), pod(1), pod(2, deletionTimestamp=NOW)) == ([], [])
    assert step(given, pod(0, ready=False), pod(1), pod(2)) == ([], [])
    assert step(given, pod(0), pod(1, ready=False), pod(2)) == ([], [])
    assert step(given, pod(0), pod(1), pod(2, ready=False)) == ([], ["db-2"])


def test_a_failed_pod_makes_room_for_its_successor() -> None:
    assert step(stateful_set(), pod(0), pod(1, phase="Failed", ready=False)) == ([], ["db-1"])
    assert step(stateful_set(), pod(0), pod(1, phase="Failed", deletionTimestamp=NOW)) == ([], [])


def test_updates_go_from_the_last_to_the_first() -> None:
    given = stateful_set()
    assert step(given, *(pod(n, revision="old") for n in range(3)), revision=OLD_TO_NEW) == ([], ["db-2"])
    assert step(given, pod(0, revision="old"), pod(1, revision="old"), pod(2), revision=OLD_TO_NEW) == ([], ["db-1"])
    waiting = [pod(0, revision="old"), pod(1, revision="old"), pod(2, ready=False)]
    assert step(given, *waiting, revision=OLD_TO_NEW) == ([], [])


def test_below_the_partition_pods_stay_and_come_back_old() -> None:
    rolling = RollingUpdateStatefulSetStrategy(partition=2)
    given = stateful_set(updateStrategy=StatefulSetUpdateStrategy(type="RollingUpdate", rollingUpdate=rolling))
    assert step(given, pod(0, revision="old"), pod(1, revision="old"), pod(2), revision=OLD_TO_NEW) == ([], [])
    lost = plans.plan(given, [pod(0, revision="old")], OLD_TO_NEW, NOW)
    assert lost.create == [(1, "old")]
    lost = plans.plan(given, [pod(0, revision="old"), pod(1, revision="old")], OLD_TO_NEW, NOW)
    assert lost.create == [(2, "new")]


def test_a_pod_lost_in_the_middle_of_an_update_comes_back_as_what_it_was() -> None:
    given = stateful_set(current=2)
    assert plans.plan(given, [], OLD_TO_NEW, NOW).create == [(0, "old")]
    both = [pod(0, revision="old"), pod(1, revision="old")]
    assert plans.plan(given, both, OLD_TO_NEW, NOW).create == [(2, "new")]


def test_on_delete_waits_for_somebody_to_delete() -> None:
    given = stateful_set(updateStrategy=StatefulSetUpdateStrategy(type="OnDelete"))
    assert step(given, *(pod(n, revision="old") for n in range(3)), revision=OLD_TO_NEW) == ([], [])


def test_identity() -> None:
    template = PersistentVolumeClaim(metadata=ObjectMeta(name="data"), spec=PersistentVolumeClaimSpec())
    given = stateful_set(volumeClaimTemplates=[template])
    made = plans.pod_from(given, given.spec.template, 1, "new")
    assert (made.metadata.name, made.spec.hostname, made.spec.subdomain) == ("db-1", "db-1", "db")
    assert made.metadata.labels == {
        "app": "db",
        "statefulset.kubernetes.io/pod-name": "db-1",
        "apps.kubernetes.io/pod-index": "1",
        REVISION_LABEL: "new",
    }
    volumes = {
        each.name: each.persistentVolumeClaim and each.persistentVolumeClaim.claimName for each in made.spec.volumes
    }
    assert volumes == {"other": None, "data": "data-db-1"}
    (claim,) = plans.claims_of(given, 1)
    assert (claim.metadata.name, claim.metadata.labels) == ("data-db-1", {"app": "db"})
    assert [plans.ordinal(given, Pod(metadata=ObjectMeta(name=name))) for name in ("db-10", "db-01", "db-x", "db")] == [
        10,
        None,
        None,
        None,
    ]


def test_claims_go_when_the_policy_says_so() -> None:
    claim, last = PersistentVolumeClaim(metadata=ObjectMeta(name="c")), pod(2)
    kept = stateful_set()
    assert plans.claim_owners(kept, claim, last, is_condemned=True) == []
    policy = StatefulSetPersistentVolumeClaimRetentionPolicy(whenDeleted="Delete", whenScaled="Delete")
    given = stateful_set(persistentVolumeClaimRetentionPolicy=policy)
    assert [ref.uid for ref in plans.claim_owners(given, claim, last, is_condemned=False)] == ["set"]
    assert [ref.uid for ref in plans.claim_owners(given, claim, last, is_condemned=True)] == ["u2"]


def test_status_moves_the_current_revision_when_the_update_is_through() -> None:
    given = stateful_set()
    half = plans.status_of(given, [pod(0, revision="old"), pod(1, revision="old"), pod(2)], OLD_TO_NEW, NOW)
    assert (half.currentRevision, half.currentReplicas, half.updatedReplicas, half.readyReplicas) == ("old", 2, 1, 3)
    done = plans.status_of(given, [pod(0), pod(1), pod(2)], OLD_TO_NEW, NOW)
    assert (done.currentRevision, done.currentReplicas, done.updatedReplicas) == ("new", 3, 3)
