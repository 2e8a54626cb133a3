"""What checks see of a cluster, and when they hold."""

from __future__ import annotations

from typing import Any

import pytest

from workshop.checks import evaluate, holds, judge
from workshop.exercise import Check, Exercise
from workshop.facts import LISTS, Facts
from workshop.history.recorder import revision
from workshop.history.store import Revision

START = 1000.0


def a_pod(name: str, *, ready: bool = True, owner: str = "", node: str = "node-1") -> dict[str, Any]:
    owners = [{"kind": "ReplicaSet", "name": owner, "uid": owner, "controller": True}] if owner else []
    meta = {"name": name, "namespace": "ns", "uid": name, "resourceVersion": "1", "ownerReferences": owners}
    conditions = [{"type": "Ready", "status": str(ready)}]
    return {"kind": "Pod", "metadata": meta, "spec": {"nodeName": node}, "status": {"conditions": conditions}}


def at(seconds: float, verb: str, obj: dict[str, Any]) -> Revision:
    made = revision(verb, obj["kind"], obj, "somebody")
    return Revision(**{**vars(made), "at": START + seconds})


def facts(*history: Revision, pods: Any = (), answers: Any = None, faults: Any = ()) -> Facts:
    live: dict[str, Any] = {name: [] for name in (*LISTS, "nodes")}
    live["pods"] = list(pods)
    live["configmaps"] = [{"kind": "ConfigMap", "metadata": {"name": "answers"}, "data": answers}] if answers else []
    return Facts(live=live, history=history, faults=faults, start=START, at=START + 60)


def an_exercise(*checks: Check) -> Exercise:
    return Exercise(
        id="x", title="X", objectives=[], concepts=[], minutes=1, difficulty=1, settled="true", checks=checks, hints=[]
    )


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("pods.filter(p, p.ready).map(p, p.name)", ["a"]),
        ("pods.map(p, p.owner)", ["ReplicaSet/web", ""]),
        ("history.filter(h, h.verb == 'DELETED').map(h, h.name)", ["gone"]),
        ("history[0].at", 2.0),
        ("history[0].writer", "somebody"),
        ("answers.size() == 1 && answers['code'] == '3'", True),
        ("faults.exists(f, f.what == 'cut' && f.at < now)", True),
        ("services.size()", 0),
    ],
)
def test_expressions_see_objects_history_faults_and_answers(expression: str, value: Any) -> None:
    pods = [a_pod("a", owner="web"), a_pod("b", ready=False)]
    values = facts(
        at(-5, "ADDED", a_pod("old")),
        at(2, "DELETED", a_pod("gone")),
        pods=pods,
        answers={"code": "3"},
        faults=[{"at": START + 1, "host": "node-1", "what": "cut"}, {"at": START - 1, "host": "x", "what": "stop"}],
    ).now()
    assert evaluate(expression, values) == value


def test_what_is_not_there_is_false_and_says_so() -> None:
    values = facts(pods=[a_pod("a")]).now()
    assert not holds("pods[0].metadata.labels.app == 'web'", values)
    assert "labels" in evaluate("pods[0].metadata.labels.app", values)


def test_a_check_waits_for_the_one_before_it() -> None:
    first = Check("first", 60, "First", "it", "'nothing'", holds="false")
    second = Check("second", 40, "Second", "it", "'x'", needs=["first"])
    assert [(each.points, each.seen) for each in judge(an_exercise(first, second), facts())] == [
        (0, "nothing"),
        (0, "comes after: First"),
    ]


ALWAYS = Check(
    "two",
    100,
    "Two",
    "two",
    "string(pods.size()) + ' pods'",
    always="pods.size() >= 2",
    since="pods.exists(p, p.name == 'b')",
    until="pods.exists(p, p.name == 'end')",
)


def test_what_has_to_hold_at_every_revision_names_the_first_at_which_it_does_not() -> None:
    begin = [at(1, "ADDED", a_pod("a")), at(2, "ADDED", a_pod("b"))]
    gone = at(3, "DELETED", a_pod("a"))
    back = at(4, "ADDED", a_pod("c"))
    assert judge(an_exercise(ALWAYS), facts(*begin, back))[0].passed
    result = judge(an_exercise(ALWAYS), facts(*begin, gone, back))[0]
    assert (result.passed, result.seen) == (False, "1 pods (3.0 s after the start, when Pod a was deleted)")
    ended = [*begin, at(2.5, "ADDED", a_pod("end")), at(2.6, "DELETED", a_pod("end"))]
    assert judge(an_exercise(ALWAYS), facts(*ended, gone))[0].passed


def test_what_never_began_does_not_pass() -> None:
    result = judge(an_exercise(ALWAYS), facts(at(1, "ADDED", a_pod("a"))))[0]
    assert (result.passed, result.seen) == (False, "0 pods")
