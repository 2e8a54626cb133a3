"""DaemonSets: which nodes want a pod, and how an update moves over them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from lightkube.models.apps_v1 import DaemonSetSpec, DaemonSetUpdateStrategy, RollingUpdateDaemonSet
from lightkube.models.core_v1 import (
    Container,
    NodeSpec,
    PodCondition,
    PodSpec,
    PodStatus,
    PodTemplateSpec,
    Taint,
    Toleration,
)
from lightkube.models.meta_v1 import LabelSelector, ObjectMeta
from lightkube.resources.apps_v1 import DaemonSet
from lightkube.resources.core_v1 import Node, Pod

from controllers import daemonset_plan as plans
from controllers.history import REVISION_LABEL

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def daemon_set(*, update: RollingUpdateDaemonSet | None = None, **pod_spec) -> DaemonSet:
    return DaemonSet(
        metadata=ObjectMeta(name="agent", namespace="ns", uid="set"),
        spec=DaemonSetSpec(
            selector=LabelSelector(matchLabels={"app": "agent"}),
            template=PodTemplateSpec(
                metadata=ObjectMeta(labels={"app": "agent"}),
                spec=PodSpec(containers=[Container(name="c")], **pod_spec),
            ),
            updateStrategy=DaemonSetUpdateStrategy(type="RollingUpdate", rollingUpdate=update),
        ),
    )


def node(name: str, *taints: Taint, **labels: str) -> Node:
    return Node(metadata=ObjectMeta(name=name, labels=labels), spec=NodeSpec(taints=list(taints)))


def pod(name: str, on: str, *, ready: bool = True, phase: str = "Running", revision: str = "new", **more) -> Pod:
    condition = PodCondition(
        type="Ready", status=str(ready), lastTransitionTime=NOW - timedelta(seconds=more.pop("ready_for", 100))
    )
    return Pod(
        metadata=ObjectMeta(name=name, uid=name, namespace="ns", labels={REVISION_LABEL: revision}, **more),
        spec=PodSpec(containers=[Container(name="c")], nodeName=on),
        status=PodStatus(phase=phase, conditions=[condition]),
    )


NODES = [node("n1"), node("n2"), node("n3")]
CORDON = Taint(key="node.kubernetes.io/unschedulable", effect="NoSchedule")
CONTROL = Taint(key="node-role.kubernetes.io/control-plane", effect="NoSchedule")
EVICTING = Taint(key="mine", value="x", effect="NoExecute")


@pytest.mark.parametrize(
    ("given", "where", "wanted"),
    [
        (daemon_set(), node("n"), (True, True)),
        (daemon_set(), node("n", CORDON), (True, True)),
        (daemon_set(), node("n", CONTROL), (False, True)),
        (daemon_set(), node("n", EVICTING), (False, False)),
        (daemon_set(tolerations=[Toleration(operator="Exists")]), node("n", CONTROL, EVICTING), (True, True)),
        (daemon_set(nodeSelector={"disk": "ssd"}), node("n"), (False, False)),
        (daemon_set(nodeSelector={"disk": "ssd"}), node("n", disk="ssd"), (True, True)),
    ],
)
def test_which_nodes_want_a_pod(given: DaemonSet, where: Node, wanted: tuple[bool, bool]) -> None:
    assert plans.wants(given, where) == wanted


def test_one_pod_for_each_node_and_none_elsewhere() -> None:
    given = daemon_set()
    assert plans.place(given, NODES, [pod("a", "n1")], "new", NOW).create == ["n2", "n3"]
    several = [pod("a", "n1"), pod("b", "n1"), pod("c", "n2"), pod("d", "n3")]
    assert [p.metadata.name for p in plans.place(given, NODES, several, "new", NOW).delete] == ["b"]
    picky = daemon_set(nodeSelector={"disk": "ssd"})
    assert [p.metadata.name for p in plans.place(picky, NODES, [pod("a", "n1")], "new", NOW).delete] == ["a"]


def test_a_pod_waiting_for_its_node_is_known_by_its_pin() -> None:
    given = daemon_set()
    waiting = plans.pod_from(given, "n2", "new")
    assert plans.node_of(waiting) == "n2"
    assert plans.place(given, NODES, [waiting], "new", NOW).create == ["n1", "n3"]
    # Its node was removed before the scheduler came to it.
    assert plans.place(given, NODES[:1], [waiting], "new", NOW).delete == [waiting]


def test_failed_pods_are_replaced() -> None:
    failed = pod("a", "n1", phase="Failed")
    actions = plans.place(daemon_set(), NODES[:1], [failed], "new", NOW)
    assert (actions.delete, actions.failed, actions.create) == ([failed], [failed], [])


def names(actions: plans.Actions) -> list[str]:
    return [each.metadata.name for each in actions.delete]


def test_an_update_takes_one_node_at_a_time() -> None:
    given, old = daemon_set(), [pod(f"p{n}", f"n{n}", revision="old") for n in (1, 2, 3)]
    assert names(plans.update(given, NODES, old, "new", NOW)) == ["p1"]
    half = [pod("x", "n1", ready=False), *old[1:]]
    assert names(plans.update(given, NODES, half, "new", NOW)) == []
    assert names(plans.update(given, NODES, [pod("x", "n1"), *old[1:]], "new", NOW)) == ["p2"]
    two = daemon_set(update=RollingUpdateDaemonSet(maxUnavailable="50%"))
    assert names(plans.update(two, NODES, old, "new", NOW)) == ["p1", "p2"]


def test_what_does_not_work_is_replaced_without_waiting() -> None:
    owned = [pod("p1", "n1", revision="old", ready=False), pod("p2", "n2", revision="old"), pod("p3", "n3")]
    assert names(plans.update(daemon_set(), NODES, owned, "new", NOW)) == ["p1"]


def test_a_surge_starts_the_new_one_first() -> None:
    given = daemon_set(update=RollingUpdateDaemonSet(maxSurge=1, maxUnavailable=0))
    old = [pod(f"p{n}", f"n{n}", revision="old") for n in (1, 2, 3)]
    assert plans.update(given, NODES, old, "new", NOW).create == ["n1"]
    waiting = [*old, pod("x", "n1", ready=False)]
    assert plans.update(given, NODES, waiting, "new", NOW).create == []
    assert names(plans.place(given, NODES, waiting, "new", NOW)) == []
    assert names(plans.place(given, NODES, [*old, pod("x", "n1")], "new", NOW)) == ["p1"]


def test_status() -> None:
    owned = [pod("a", "n1"), pod("b", "n2", ready=False, revision="old"), pod("c", "n9")]
    nodes = [*NODES, node("n9", EVICTING)]
    status = plans.status_of(daemon_set(), nodes, owned, "new", NOW)
    assert (status.desiredNumberScheduled, status.currentNumberScheduled, status.numberMisscheduled) == (3, 2, 1)
    assert (status.numberReady, status.numberAvailable, status.numberUnavailable) == (1, 1, 2)
    assert status.updatedNumberScheduled == 1
