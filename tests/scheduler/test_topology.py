"""Pods near pods, pods apart from pods, pods spread over domains."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lightkube.resources.core_v1 import Node, Pod

from scheduler.facts import ClassBook, read
from scheduler.profile import DEFAULT
from scheduler.snapshot import Snapshot

ZONE, HOST = "topology.kubernetes.io/zone", "kubernetes.io/hostname"
AFFINITY = "node(s) didn't match pod affinity rules"
ANTI = "node(s) didn't match pod anti-affinity rules"
EXISTING = "node(s) didn't satisfy existing pods anti-affinity rules"
SPREAD = "node(s) didn't match pod topology spread constraints"


def cluster(*zones: str) -> Snapshot:
    """A node for each letter: n0 in the zone of the first, ..."""
    nodes = Snapshot()
    for number, zone in enumerate(zones):
        labels = {HOST: f"n{number}", **({ZONE: zone} if zone else {})}
        room = {"cpu": "8", "memory": "8Gi", "pods": "100"}
        document = {"metadata": {"name": f"n{number}", "labels": labels}, "status": {"allocatable": room}}
        nodes.put_node(msgspec.convert(document, Node))
    return nodes


def pod(app: str = "web", namespace: str = "default", **spec: Any) -> Pod:
    spec = {"containers": [{"name": "c"}], **spec}
    document = {"metadata": {"name": "p", "namespace": namespace, "labels": {"app": app}}, "spec": spec}
    return msgspec.convert(document, Pod)


def term(app: str, key: str = ZONE, **fields: Any) -> dict[str, Any]:
    return {"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": key, **fields}


def required(**kinds: dict[str, Any]) -> dict[str, Any]:
    return {"affinity": {k: {"requiredDuringSchedulingIgnoredDuringExecution": [t]} for k, t in kinds.items()}}


def preferred(kind: str, wanted: dict[str, Any]) -> dict[str, Any]:
    weighted = [{"weight": 50, "podAffinityTerm": wanted}]
    return {"affinity": {kind: {"preferredDuringSchedulingIgnoredDuringExecution": weighted}}}


def spread(skew: int = 1, key: str = ZONE, what: str = "DoNotSchedule", **fields: Any) -> dict[str, Any]:
    constraint = {"maxSkew": skew, "topologyKey": key, "whenUnsatisfiable": what, **fields}
    return {"topologySpreadConstraints": [{"labelSelector": {"matchLabels": {"app": "web"}}, **constraint}]}


NUMBERS = itertools.count()


def put(nodes: Snapshot, where: str, wanted: Pod) -> None:
    nodes.put_pod(f"u{next(NUMBERS)}", where, read(wanted))


def refusals(nodes: Snapshot, wanted: Pod) -> dict[str, str]:
    return {name: ", ".join(reasons) for name, reasons in DEFAULT.verdicts(read(wanted), nodes)}


def test_affinity_wants_the_domain_of_a_pod_that_matches() -> None:
    nodes = cluster("a", "a", "b", "")
    wanted = pod("web", **required(podAffinity=term("db")))
    assert refusals(nodes, wanted) == dict.fromkeys(["n0", "n1", "n2", "n3"], AFFINITY)
    put(nodes, "n0", pod("db"))
    assert refusals(nodes, wanted) == {"n2": AFFINITY, "n3": AFFINITY}
    put(nodes, "n2", pod("db", namespace="other"))
    assert refusals(nodes, wanted) == {"n2": AFFINITY, "n3": AFFINITY}
    for fields in ({"namespaces": ["other"]}, {"namespaceSelector": {}}):
        assert "n2" not in refusals(nodes, pod("web", **required(podAffinity=term("db", **fields))))


def test_the_first_of_pods_that_seek_their_own_kind_may_go_where_there_is_a_domain() -> None:
    nodes = cluster("a", "b", "")
    wanted = pod("web", **required(podAffinity=term("web")))
    assert refusals(nodes, wanted) == {"n2": AFFINITY}
    put(nodes, "n1", wanted)
    assert refusals(nodes, wanted) == {"n0": AFFINITY, "n2": AFFINITY}


def test_anti_affinity_holds_both_ways_until_the_pod_is_gone() -> None:
    nodes = cluster("a", "a", "b", "")
    lonely = pod("web", **required(podAntiAffinity=term("web")))
    assert refusals(nodes, lonely) == {}
    nodes.put_pod("lonely", "n0", read(lonely))
    assert refusals(nodes, lonely) == {"n0": ANTI, "n1": ANTI}
    assert refusals(nodes, pod("web")) == {"n0": EXISTING, "n1": EXISTING}
    assert refusals(nodes, pod("db")) == {}
    nodes.remove_pod("lonely")
    assert refusals(nodes, pod("web")) == {} == refusals(nodes, lonely)


def test_replicas_with_anti_affinity_go_to_a_node_each_and_then_nowhere() -> None:
    nodes = cluster("a", "a", "b")
    facts = ClassBook().facts_of(pod("web", **required(podAntiAffinity=term("web", HOST))))
    chosen = []
    for number in range(4):
        chosen.append(DEFAULT.best(facts, nodes))
        if chosen[-1]:
            nodes.put_pod(str(number), chosen[-1], facts, assumed=True)
    assert sorted(chosen[:3]) == ["n0", "n1", "n2"] and chosen[3] is None
    assert DEFAULT.explain(facts, nodes) == f"0/3 nodes are available: 3 {ANTI}."


@pytest.mark.parametrize(("kind", "best"), [("podAffinity", {"n0", "n1"}), ("podAntiAffinity", {"n2"})])
def test_preferences_decide_where_nothing_is_required(kind: str, best: set[str]) -> None:
    nodes = cluster("a", "a", "b")
    put(nodes, "n0", pod("db"))
    assert DEFAULT.best(read(pod("web", **preferred(kind, term("db")))), nodes) in best


def test_pods_that_are_there_have_preferences_too() -> None:
    nodes = cluster("a", "b")
    put(nodes, "n0", pod("db", **preferred("podAntiAffinity", term("web", HOST))))
    assert DEFAULT.best(read(pod("web")), nodes) == "n1"


def test_no_domain_gets_ahead_of_the_emptiest() -> None:
    nodes = cluster("a", "a", "b", "")
    wanted = pod("web", **spread())
    put(nodes, "n0", pod("web"))
    missing = f"{SPREAD} (missing required label)"
    assert refusals(nodes, wanted) == {"n0": SPREAD, "n1": SPREAD, "n3": missing}
    assert refusals(nodes, pod("web", **spread(2))) == {"n3": missing}
    assert refusals(nodes, pod("db", **spread())) == {"n3": missing}, "it is not of those that are counted"
    assert refusals(nodes, pod("web", namespace="other", **spread())) == {"n3": missing}
    # With fewer domains than there should be, the emptiest is one that does not exist.
    put(nodes, "n2", pod("web"))
    few = refusals(nodes, pod("web", **spread(minDomains=3)))
    assert few == {"n0": SPREAD, "n1": SPREAD, "n2": SPREAD, "n3": missing}


def test_a_domain_the_pod_may_not_be_in_is_not_the_emptiest() -> None:
    nodes = cluster("a", "b")
    put(nodes, "n0", pod("web"))
    only = {"nodeSelector": {ZONE: "a"}}
    assert "n0" not in refusals(nodes, pod("web", **only, **spread()))
    assert refusals(nodes, pod("web", **only, **spread(nodeAffinityPolicy="Ignore")))["n0"] == SPREAD


def test_a_soft_constraint_prefers_the_emptier_domain() -> None:
    nodes = cluster("a", "a", "b")
    put(nodes, "n0", pod("web"))
    put(nodes, "n2", pod("db"))
    assert DEFAULT.best(read(pod("web", **spread(what="ScheduleAnyway"))), nodes) == "n2"


def test_a_selector_of_namespaces_is_refused_and_not_ignored() -> None:
    facts = read(pod("web", **required(podAffinity=term("db", namespaceSelector={"matchLabels": {"a": "b"}}))))
    nodes = cluster("a")
    assert DEFAULT.best(facts, nodes) is None
    assert "namespaceSelector" in DEFAULT.explain(facts, nodes)


@settings(max_examples=60)
@given(st.lists(st.sampled_from("aabbc"), min_size=1, max_size=6), st.integers(1, 3), st.integers(1, 12))
def test_spread_pods_never_differ_by_more_than_the_skew(zones: list[str], skew: int, count: int) -> None:
    nodes, facts = cluster(*zones), read(pod("web", **spread(skew)))
    found: Counter[str] = Counter(dict.fromkeys(zones, 0))
    for number in range(count):
        name = DEFAULT.best(facts, nodes)
        assert name is not None
        nodes.put_pod(str(number), name, facts)
        found[zones[int(name[1:])]] += 1
        assert max(found.values()) - min(found.values()) <= skew
