"""Snapshot, filters and scores together."""

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

from scheduler.facts import ClassBook, PodFacts, class_key
from scheduler.profile import DEFAULT
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
    where = Counter[str | None]()
    for number in range(count):
        name = DEFAULT.best(facts, snapshot)
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
    assert DEFAULT.best(facts, snapshot) is None


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
    assert DEFAULT.best(ClassBook().facts_of(pod(affinity=wants)), snapshot) == "c"
    assert DEFAULT.best(ClassBook().facts_of(pod()), snapshot) in ("b", "c")


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
        snapshot.put_pod(str(number), DEFAULT.best(facts, snapshot) or "", facts)
    assert list(snapshot.column("pods")) == [2, 2]


def test_a_forgotten_pod_gives_its_room_back_but_a_confirmed_one_stays() -> None:
    snapshot = snapshot_of(node("a", cpu="1"))
    facts = ClassBook().facts_of(pod(cpu="1"))
    snapshot.put_pod("u", "a", facts, assumed=True)
    assert DEFAULT.best(facts, snapshot) is None
    assert DEFAULT.explain(facts, snapshot) == "0/1 nodes are available: 1 Insufficient cpu."
    snapshot.forget("u")
    assert DEFAULT.best(facts, snapshot) == "a"
    snapshot.put_pod("u", "a", facts, assumed=True)
    snapshot.put_pod("u", "a", facts)
    snapshot.forget("u")
    assert DEFAULT.best(facts, snapshot) is None
    assert snapshot.remove_pod("u") == "a"
    assert DEFAULT.best(facts, snapshot) == "a"


def test_pods_told_of_before_their_node_count_when_it_comes() -> None:
    snapshot = Snapshot()
    facts = ClassBook().facts_of(pod(cpu="3"))
    snapshot.put_pod("u", "a", facts)
    assert DEFAULT.best(facts, snapshot) is None
    assert snapshot.known_nodes == 0
    snapshot.put_node(node("a"))
    assert DEFAULT.best(facts, snapshot) is None
    snapshot.remove_node("a")
    assert DEFAULT.explain(facts, snapshot) == "no nodes available to schedule pods"


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
def test_the_columns_are_what_is_on_the_nodes(steps) -> None:
    """Whatever comes and goes, in whatever order: rows are used again, and nobody finds what another left."""
    snapshot, facts = Snapshot(), ClassBook().facts_of(pod(cpu="500m"))
    nodes: dict[str, tuple[int, bool]] = {}
    where: dict[str, tuple[str, bool]] = {}
    for step in [*steps, ("look",)]:
        match step:
            case ("node", name, cpu, closed):
                snapshot.put_node(node(name, cpu=cpu, closed=closed))
                nodes[name] = (int(cpu), closed)
            case ("gone", name):
                snapshot.remove_node(name)
                nodes.pop(name, None)
            case ("pod", number, name, assumed):
                snapshot.put_pod(str(number), name, facts, assumed=assumed)
                same = where.get(str(number), ("", False))[0] == name
                confirmed = same and not where[str(number)][1]
                where[str(number)] = (name, assumed and not confirmed)
            case ("left", number):
                snapshot.remove_pod(str(number))
                where.pop(str(number), None)
            case ("forget", number):
                snapshot.forget(str(number))
                if where.get(str(number), ("", False))[1]:
                    del where[str(number)]
            case _:
                agree(snapshot, facts, nodes, Counter(name for name, _ in where.values()))


def agree(snapshot: Snapshot, facts: PodFacts, nodes: dict[str, tuple[int, bool]], used: Counter[str]) -> None:
    fitting = {n for n, (cpu, closed) in nodes.items() if not closed and used[n] < 5 and used[n] + 1 <= 2 * cpu}
    best = DEFAULT.best(facts, snapshot)
    assert (best in fitting) if fitting else (best is None)
    if best is not None and len({nodes[each] for each in fitting}) == 1:
        assert used[best] == min(used[each] for each in fitting), "pods of a group spread over nodes that are alike"
    assert {name for name, _ in DEFAULT.verdicts(facts, snapshot)} == nodes.keys() - fitting
    assert snapshot.known_nodes == len(nodes)
    assert {name for name, info in snapshot.nodes.items() if info.known} == nodes.keys()
    for name, info in snapshot.nodes.items():
        assert snapshot.column("pods")[info.row] == used[name]
        assert snapshot.column(("used", "cpu"))[info.row] == 500 * used[name]
