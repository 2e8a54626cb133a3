"""Who must go so that a more important pod can run: as few, as unimportant and as recent as possible."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from lightkube.models.core_v1 import Container, NodeSpec, NodeStatus, PodSpec, PodStatus, ResourceRequirements, Taint
from lightkube.models.meta_v1 import LabelSelector, ObjectMeta
from lightkube.models.policy_v1 import PodDisruptionBudgetSpec, PodDisruptionBudgetStatus
from lightkube.resources.core_v1 import Node, Pod
from lightkube.resources.policy_v1 import PodDisruptionBudget

from api import meta
from scheduler.facts import ClassBook
from scheduler.preemption import Candidate, Residents, choose
from scheduler.profile import DEFAULT
from scheduler.snapshot import Snapshot

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def node(name: str, *, cpu: str = "4", taints: list[Taint] | None = None) -> Node:
    room = {"cpu": cpu, "memory": "8Gi", "pods": "10"}
    return Node(metadata=ObjectMeta(name=name), spec=NodeSpec(taints=taints), status=NodeStatus(allocatable=room))


def pod(name: str, priority: int, cpu: str, *, on: str = "", app: str = "web", age: int = 100, **spec) -> Pod:
    container = Container(name="c", resources=ResourceRequirements(requests={"cpu": cpu}))
    return Pod(
        metadata=ObjectMeta(name=name, uid=name, namespace="ns", labels={"app": app}),
        spec=PodSpec(containers=[container], priority=priority, nodeName=on or None, **spec),
        status=PodStatus(phase="Running", startTime=NOW - timedelta(seconds=age)),
    )


def budget(app: str, allowed: int) -> PodDisruptionBudget:
    counts = {"currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1}
    return PodDisruptionBudget(
        metadata=ObjectMeta(name=app, namespace="ns"),
        spec=PodDisruptionBudgetSpec(selector=LabelSelector(matchLabels={"app": app})),
        status=PodDisruptionBudgetStatus(disruptionsAllowed=allowed, **counts),
    )


def chosen(
    wanted: Pod, running: list[Pod], nodes: list[Node], budgets: list[PodDisruptionBudget] | None = None
) -> tuple[str, list[str]] | None:
    snapshot, residents, book = Snapshot(), Residents(), ClassBook()
    for each in nodes:
        snapshot.put_node(each)
    for each in running:
        residents.changed(None, each)
        snapshot.put_pod(meta.uid(each), each.spec.nodeName, book.facts_of(each))
    before = {uid: snapshot.placement(uid) for uid in map(meta.uid, running)}
    used = snapshot.column(("used", "cpu")).tolist()
    facts = book.facts_of(wanted)
    assert DEFAULT.best(facts, snapshot) is None
    found: Candidate | None = choose(wanted, facts, snapshot, residents, profile=DEFAULT, budgets=budgets or [])
    assert {uid: snapshot.placement(uid) for uid in before} == before
    assert snapshot.column(("used", "cpu")).tolist() == used
    return (found.node, sorted(map(meta.name, found.victims))) if found else None


def test_only_as_many_as_needed_and_the_least_important_go():
    running = [pod("low", 0, "1", on="n"), pod("lower", -5, "1", on="n"), pod("mid", 50, "2", on="n")]
    assert chosen(pod("p", 100, "1"), running, [node("n")]) == ("n", ["lower"])
    assert chosen(pod("p", 100, "2"), running, [node("n")]) == ("n", ["low", "lower"])
    assert chosen(pod("p", 100, "3"), running, [node("n")]) == ("n", ["lower", "mid"])


def test_equal_and_higher_ones_stay():
    running = [pod("a", 100, "3", on="n"), pod("b", 200, "1", on="n")]
    assert chosen(pod("p", 100, "1"), running, [node("n")]) is None
    assert chosen(pod("p", 150, "4"), running, [node("n")]) is None
    assert chosen(pod("p", 150, "2"), running, [node("n")]) == ("n", ["a"])


def test_a_node_that_would_not_take_it_empty_is_no_candidate():
    running = [pod("a", 0, "4", on="closed"), pod("b", 0, "1", on="small")]
    nodes = [node("closed", taints=[Taint(key="k", effect="NoSchedule")]), node("small", cpu="1")]
    assert chosen(pod("p", 100, "2"), running, nodes) is None


def test_the_least_harm_is_chosen():
    nodes = [node("a", cpu="1"), node("b", cpu="1")]
    # The less important victim.
    assert chosen(pod("p", 9, "1"), [pod("x", 5, "1", on="a"), pod("y", 1, "1", on="b")], nodes) == ("b", ["y"])
    # Fewer of them.
    two = [pod("x", 1, "500m", on="a"), pod("y", 1, "500m", on="a")]
    assert chosen(pod("p", 9, "1"), [*two, pod("z", 1, "1", on="b")], nodes) == ("b", ["z"])
    # The one that has run for less time.
    aged = [pod("x", 1, "1", on="a", age=100), pod("y", 1, "1", on="b", age=10)]
    assert chosen(pod("p", 9, "1"), aged, nodes) == ("b", ["y"])


def test_budgets_are_respected_where_that_is_possible():
    nodes = [node("a", cpu="1"), node("b", cpu="1")]
    running = [pod("x", 1, "1", on="a", app="kept"), pod("y", 5, "1", on="b", app="free")]
    assert chosen(pod("p", 9, "1"), running, nodes, [budget("kept", 0)]) == ("b", ["y"])
    assert chosen(pod("p", 9, "1"), running, nodes, [budget("kept", 1)]) == ("a", ["x"])
    assert chosen(pod("p", 9, "1"), running[:1], nodes[:1], [budget("kept", 0)]) == ("a", ["x"]), "best effort"


def test_of_two_on_a_node_the_one_without_a_budget_goes():
    running = [pod("x", 1, "1", on="n", app="kept"), pod("y", 1, "1", on="n", app="free", age=500)]
    assert chosen(pod("p", 9, "1"), running, [node("n", cpu="2")], [budget("kept", 0)]) == ("n", ["y"])


def test_residents_are_counted_as_they_come_and_go():
    residents = Residents()
    first, second = pod("a", 1, "1", on="n"), pod("b", 7, "1", on="n")
    residents.changed(None, first)
    residents.changed(first, first)
    residents.changed(None, second)
    assert residents.any_below(2) and not residents.any_below(1)
    residents.changed(first, None)
    assert not residents.any_below(7) and residents.below("n", 8) == [second]
    ended = pod("b", 7, "1", on="n")
    ended.status.phase = "Succeeded"
    residents.changed(second, ended)
    assert not residents.on_node and not residents.any_below(100)
