"""Snapshot, scores and ranking together: what the incremental ranking says must be what a look at all nodes says."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from lightkube.models.core_v1 import Affinity as PodAffinity
from lightkube.models.core_v1 import (
    Container,
    NodeAffinity,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    NodeSpec,
    NodeStatus,
    PodSpec,
    PreferredSchedulingTerm,
    ResourceRequirements,
    Taint,
)
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Node, Pod

from scheduler import filters, scores
from scheduler.facts import ClassBook, PodFacts, class_key
from scheduler.ranking import Ranking, Rankings
from scheduler.snapshot import Snapshot


def node(name: str, *, cpu: str = "4", closed: bool = False, taints: list[Taint] | None = None, **labels: str) -> Node:
    room = {"cpu": cpu, "memory": "8Gi", "pods": "5"}
    return Node(
        metadata=ObjectMeta(name=name, labels=labels),
        spec=NodeSpec(unschedulable=closed, taints=taints),
        status=NodeStatus(allocatable=room),
    )


def pod(app: str = "web", cpu: str = "100m", **spec) -> Pod:
    container = Container(name="c", resources=ResourceRequirements(requests={"cpu": cpu}))
    return Pod(
        metadata=ObjectMeta(name="p", namespace="ns", labels={"app": app}),
        spec=PodSpec(containers=[container], **spec),
    )


def snapshot_of(*nodes: Node) -> Snapshot:
    snapshot = Snapshot()
    for each in nodes:
        snapshot.put_node(each)
    return snapshot


def place(snapshot: Snapshot, facts: PodFacts, count: int) -> Counter[str | None]:
    rankings, where = Rankings(snapshot), Counter[str | None]()
    for number in range(count):
        name = rankings.of(facts).best()
        where[name] += 1
        if name is not None:
            snapshot.put_pod(f"{facts.group}-{number}", name, facts, assumed=True)
    return where


def test_equal_pods_are_one_class_and_names_do_not_matter() -> None:
    book = ClassBook()
    one, other = pod(), pod()
    other.metadata.name = "other"
    assert book.facts_of(one) is book.facts_of(other)
    assert class_key(pod(cpu="1")) != class_key(one)
    assert class_key(pod("db")) != class_key(one)


def test_equal_nodes_get_equal_shares_and_then_nothing_fits() -> None:
    snapshot = snapshot_of(node("a"), node("b"), node("c"))
    facts = ClassBook().facts_of(pod())
    assert place(snapshot, facts, 16) == {"a": 5, "b": 5, "c": 5, None: 1}
    assert Ranking(facts, snapshot).best() is None


def test_pods_of_one_group_spread_although_a_node_is_fuller() -> None:
    snapshot = snapshot_of(node("a"), node("b"))
    book = ClassBook()
    snapshot.put_pod("other", "a", book.facts_of(pod("db", cpu="500m")))
    assert place(snapshot, book.facts_of(pod()), 2) == {"a": 1, "b": 1}


def test_preferences_and_soft_taints_decide_between_equal_nodes() -> None:
    soft = Taint(key="k", effect="PreferNoSchedule")
    snapshot = snapshot_of(node("a", taints=[soft]), node("b"), node("c", disk="ssd"))
    term = NodeSelectorTerm(matchExpressions=[NodeSelectorRequirement(key="disk", operator="In", values=["ssd"])])
    preferred = PreferredSchedulingTerm(weight=10, preference=term)
    wants = PodAffinity(nodeAffinity=NodeAffinity(preferredDuringSchedulingIgnoredDuringExecution=[preferred]))
    assert Ranking(ClassBook().facts_of(pod(affinity=wants)), snapshot).best() == "c"
    assert Ranking(ClassBook().facts_of(pod()), snapshot).best() in ("b", "c")


def test_pods_without_requests_still_weigh_something() -> None:
    snapshot = snapshot_of(node("a"), node("b"))
    book = ClassBook()
    for number in range(4):
        facts = book.facts_of(
            Pod(
                metadata=ObjectMeta(name=f"p{number}", namespace="ns", labels={"n": str(number)}),
                spec=PodSpec(containers=[Container(name="c")]),
            )
        )
        snapshot.put_pod(str(number), Ranking(facts, snapshot).best() or "", facts)
    assert {info.pods for info in snapshot.nodes.values()} == {2}


def test_a_forgotten_pod_gives_its_room_back_but_a_confirmed_one_stays() -> None:
    snapshot = snapshot_of(node("a", cpu="1"))
    facts = ClassBook().facts_of(pod(cpu="1"))
    ranking = Ranking(facts, snapshot)
    snapshot.put_pod("u", "a", facts, assumed=True)
    assert ranking.best() is None
    assert ranking.explain() == "0/1 nodes are available: 1 Insufficient cpu."
    snapshot.forget("u")
    assert ranking.best() == "a"
    snapshot.put_pod("u", "a", facts, assumed=True)
    snapshot.put_pod("u", "a", facts)
    snapshot.forget("u")
    assert ranking.best() is None
    assert snapshot.remove_pod("u") == "a"
    assert ranking.best() == "a"


def test_pods_told_of_before_their_node_count_when_it_comes() -> None:
    snapshot = Snapshot()
    facts = ClassBook().facts_of(pod(cpu="3"))
    snapshot.put_pod("u", "a", facts)
    assert Ranking(facts, snapshot).best() is None
    assert snapshot.known_nodes == 0
    snapshot.put_node(node("a"))
    assert Ranking(facts, snapshot).best() is None
    snapshot.remove_node("a")
    assert Ranking(facts, snapshot).explain() == "no nodes available to schedule pods"


def test_a_status_that_changes_nothing_is_no_change() -> None:
    snapshot = snapshot_of(node("a"))
    assert snapshot.put_node(node("a")) is False
    assert snapshot.put_node(node("a", closed=True)) is True


NAMES = st.sampled_from(["a", "b", "c", "d"])
STEPS = st.one_of(
    st.tuples(st.just("node"), NAMES, st.sampled_from(["1", "2", "4"]), st.booleans()),
    st.tuples(st.just("gone"), NAMES),
    st.tuples(st.just("pod"), st.integers(0, 9), NAMES, st.booleans()),
    st.tuples(st.just("left"), st.integers(0, 9)),
    st.tuples(st.just("forget"), st.integers(0, 9)),
    st.tuples(st.just("look")),
)


@settings(max_examples=200)
@given(st.lists(STEPS, max_size=40))
def test_the_incremental_ranking_agrees_with_a_look_at_every_node(steps) -> None:
    snapshot, facts = Snapshot(), ClassBook().facts_of(pod(cpu="500m"))
    ranking = Ranking(facts, snapshot)
    for step in [*steps, ("look",)]:
        match step:
            case ("node", name, cpu, closed):
                snapshot.put_node(node(name, cpu=cpu, closed=closed))
            case ("gone", name):
                snapshot.remove_node(name)
            case ("pod", number, name, assumed):
                snapshot.put_pod(str(number), name, facts, assumed=assumed)
            case ("left", number):
                snapshot.remove_pod(str(number))
            case ("forget", number):
                snapshot.forget(str(number))
            case _:
                agree(snapshot, facts, ranking)


def agree(snapshot: Snapshot, facts: PodFacts, ranking: Ranking) -> None:
    known = [info for info in snapshot.nodes.values() if info.known]
    fitting = {i.name: scores.score(facts, i) for i in known if not filters.verdict(facts, i)}
    best = ranking.best()
    assert (best is None) == (not fitting)
    if best is not None:
        assert fitting[best] == max(fitting.values())
    assert len(ranking.reasons) == len(known) - len(fitting)
    assert snapshot.known_nodes == len(known)
    for info in snapshot.nodes.values():
        assert info.used_cpu_milli == 500 * info.pods
