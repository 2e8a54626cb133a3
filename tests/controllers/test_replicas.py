"""ReplicaSet's pure parts: who is deleted first, who belongs to whom, expectations, the status."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from lightkube.models.apps_v1 import ReplicaSetSpec
from lightkube.models.core_v1 import (
    Container,
    ContainerStatus,
    PodCondition,
    PodSpec,
    PodStatus,
    PodTemplateSpec,
    ReplicationControllerSpec,
    ReplicationControllerStatus,
)
from lightkube.models.meta_v1 import LabelSelector, ObjectMeta, OwnerReference
from lightkube.resources.apps_v1 import ReplicaSet
from lightkube.resources.core_v1 import Pod, ReplicationController

from api import selectors
from controllers import ranking
from controllers.adoption import Claim, judge
from controllers.expectations import Expectations
from controllers.pod_control import selector_of
from controllers.replicaset import pod_from, status_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def pod(name: str = "p", *, node: str = "n", phase: str = "Running", ready: bool = True, age: int = 100, **more) -> Pod:
    since = NOW - timedelta(seconds=more.pop("ready_for", 50))
    restarts = more.pop("restarts", 0)
    statuses = [ContainerStatus(name="c", image="i", imageID="", ready=ready, restartCount=restarts)]
    conditions = [PodCondition(type="Ready", status=str(ready), lastTransitionTime=since)]
    return Pod(
        metadata=ObjectMeta(
            name=name, uid=name, namespace="ns", creationTimestamp=NOW - timedelta(seconds=age), **more
        ),
        spec=PodSpec(containers=[Container(name="c")], nodeName=node),
        status=PodStatus(phase=phase, conditions=conditions, containerStatuses=statuses),
    )


CHEAP = {"controller.kubernetes.io/pod-deletion-cost": "-1"}


@pytest.mark.parametrize(
    ("first", "crowd"),
    [
        (pod("x", node=""), []),
        (pod("x", phase="Pending"), []),
        (pod("x", ready=False), []),
        (pod("x", annotations=CHEAP), []),
        (pod("x", node="crowded"), [pod("y", node="crowded")]),
        (pod("x", ready_for=10), []),
        (pod("x", restarts=3), []),
        (pod("x", age=10), []),
    ],
)
def test_the_least_valuable_goes_first(first: Pod, crowd: list[Pod]) -> None:
    keep = pod("keep")
    assert ranking.to_delete([keep, first], 1, [keep, first, *crowd]) == [first]
    assert ranking.to_delete([first, keep], 1, [keep, first, *crowd]) == [first]


def test_unassigned_before_pending_before_not_ready() -> None:
    order = [pod("a", node="", ready=False), pod("b", phase="Pending", ready=False), pod("c", ready=False), pod("d")]
    assert ranking.to_delete(order[::-1], 3, order) == order[:3]


def owner(*, going: bool = False) -> ReplicaSet:
    labels = {"app": "web"}
    return ReplicaSet(
        metadata=ObjectMeta(
            name="web", namespace="ns", uid="rs", generation=3, deletionTimestamp=NOW if going else None
        ),
        spec=ReplicaSetSpec(
            replicas=2,
            selector=LabelSelector(matchLabels=labels),
            template=PodTemplateSpec(
                metadata=ObjectMeta(labels=labels, annotations={"a": "b"}),
                spec=PodSpec(containers=[Container(name="c")]),
            ),
        ),
    )


def reference(uid: str) -> list[OwnerReference]:
    return [OwnerReference(apiVersion="apps/v1", kind="ReplicaSet", name="web", uid=uid, controller=True)]


@pytest.mark.parametrize(
    ("given", "labels", "refs", "claim"),
    [
        (owner(), {"app": "web"}, reference("rs"), Claim.OWN),
        (owner(), {"app": "x"}, reference("rs"), Claim.RELEASE),
        (owner(going=True), {"app": "x"}, reference("rs"), Claim.IGNORE),
        (owner(), {"app": "web"}, reference("other"), Claim.IGNORE),
        (owner(), {"app": "web"}, None, Claim.ADOPT),
        (owner(), {"app": "x"}, None, Claim.IGNORE),
        (owner(going=True), {"app": "web"}, None, Claim.IGNORE),
    ],
)
def test_judge(given: ReplicaSet, labels: dict[str, str], refs, claim: Claim) -> None:
    selector = selectors.from_label_selector(given.spec.selector)
    assert judge(given, selector, pod(labels=labels, ownerReferences=refs)) is claim


def test_a_pod_that_is_going_is_not_adopted() -> None:
    selector = selectors.from_label_selector(owner().spec.selector)
    assert judge(owner(), selector, pod(labels={"app": "web"}, deletionTimestamp=NOW)) is Claim.IGNORE


def test_a_pod_is_made_from_the_template_and_shares_nothing_with_it() -> None:
    given = owner()
    made = pod_from(given)
    assert (made.metadata.generateName, made.metadata.namespace) == ("web-", "ns")
    assert (made.metadata.labels, made.metadata.annotations) == ({"app": "web"}, {"a": "b"})
    assert [(ref.uid, ref.controller, ref.blockOwnerDeletion) for ref in made.metadata.ownerReferences] == [
        ("rs", True, True)
    ]
    made.spec.containers[0].image = "changed"
    assert given.spec.template.spec.containers[0].image is None


def test_status_counts_and_reports_failures() -> None:
    given = owner()
    active = [pod("a", labels={"app": "web"}), pod("b", ready=False)]
    found = status_of(given, active, ValueError("quota"))
    assert (found.replicas, found.readyReplicas, found.availableReplicas, found.fullyLabeledReplicas) == (2, 1, 1, 1)
    assert found.observedGeneration == 3
    (condition,) = found.conditions
    assert (condition.type, condition.reason, condition.message) == ("ReplicaFailure", "FailedDelete", "quota")
    given.status = found
    assert status_of(given, active[:1], ValueError("quota")).conditions[0].reason == "FailedCreate"
    assert status_of(given, active, None).conditions is None


def test_a_replication_controller_is_a_replica_set_with_a_plain_selector() -> None:
    spec = ReplicationControllerSpec(replicas=3, selector={"app": "web"})
    given = ReplicationController(metadata=ObjectMeta(name="web", namespace="ns", uid="rc", generation=2), spec=spec)
    selector = selector_of(given)
    assert selector is not None
    assert selector.matches({"app": "web", "more": "labels"})
    assert not selector.matches({"app": "other"})
    found = status_of(given, [pod("a")], ValueError("quota"))
    assert isinstance(found, ReplicationControllerStatus)
    assert (found.replicas, found.readyReplicas, found.observedGeneration) == (1, 1, 2)
    assert found.conditions[0].reason == "FailedCreate"
    assert pod_from(given).metadata.ownerReferences[0].kind == "ReplicationController"
    assert not selector_of(ReplicationController(spec=ReplicationControllerSpec()))


async def test_expectations_hold_until_the_watch_told_everything() -> None:
    book = Expectations()
    assert book.satisfied("k")
    book.expect("k", "one", is_done=lambda: False)
    book.expect("k", "two", is_done=lambda: False)
    book.expect("k", "three", is_done=lambda: True)
    book.observe("k", "one")
    book.observe("other", "two")
    assert not book.satisfied("k")
    assert book.satisfied("other")
    book.observe("k", "two")
    assert book.satisfied("k")
    book.expect("k", "four", is_done=lambda: False)
    book.forget("k")
    assert book.satisfied("k")
