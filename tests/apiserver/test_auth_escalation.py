"""Nobody hands out more than they have."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lightkube.models.rbac_v1 import PolicyRule

from apiserver.auth import Asked, escalation
from apiserver.auth.default_roles import paths, rule
from apiserver.auth.rbac import Matcher
from apiserver.auth.users import authenticated

CASES = [
    ([rule("*", "*", "*")], [rule("get", "", "pods")], True),
    ([rule("*", "*", "*")], [paths("get", "/metrics")], False),
    ([paths("*", "*")], [paths("get", "/metrics")], True),
    ([paths("get", "/logs/*")], [paths("get", "/logs/x")], True),
    ([paths("get", "/logs/*")], [paths("get", "/logs*")], False),
    ([rule("get list", "", "pods"), rule("get", "apps", "deployments")], [rule("get", ",apps", "pods")], False),
    ([rule("get list", "", "pods services")], [rule("list", "", "services")], True),
    ([rule("get", "", "pods"), rule("list", "", "pods")], [rule("get list", "", "pods")], True),
    ([rule("get", "", "pods")], [rule("*", "", "pods")], False),
    ([rule("get", "", "pods")], [rule("get", "", "*")], False),
    ([rule("get", "", "pods")], [rule("get", "*", "pods")], False),
    ([rule("get", "", "pods")], [rule("get", "", "pods/log")], False),
    ([rule("get", "", "*/scale")], [rule("get", "", "deployments/scale")], True),
    ([rule("get", "", "*/scale")], [rule("get", "", "deployments")], False),
    ([rule("get", "", "secrets", names="a")], [rule("get", "", "secrets", names="a")], True),
    ([rule("get", "", "secrets", names="a")], [rule("get", "", "secrets", names="a b")], False),
    ([rule("get", "", "secrets", names="a"), rule("get", "", "secrets", names="b")],
     [rule("get", "", "secrets", names="a b")], True),
    ([rule("get", "", "secrets", names="a")], [rule("get", "", "secrets")], False),
    ([rule("get", "", "secrets")], [rule("get", "", "secrets", names="a")], True),
    ([], [rule("get", "", "pods")], False),
    ([], [], True),
]  # fmt: skip


@pytest.mark.parametrize(("held", "wanted", "covered"), CASES)
def test_what_is_covered(held: list[PolicyRule], wanted: list[PolicyRule], covered: bool) -> None:
    assert (escalation.missing(held, wanted) == []) is covered


def _some(*words: str) -> Any:
    return st.lists(st.sampled_from(words), min_size=1, max_size=3, unique=True)


RULES = st.lists(
    st.builds(
        PolicyRule,
        verbs=_some("get", "list", "*"),
        apiGroups=_some("", "apps", "*"),
        resources=_some("pods", "pods/log", "*/log", "*"),
        resourceNames=st.one_of(st.none(), _some("a", "b")),
    ),
    max_size=3,
)


@given(RULES, RULES)
def test_what_is_covered_is_held_request_by_request(held: list[PolicyRule], wanted: list[PolicyRule]) -> None:
    def allowed(rules: list[PolicyRule], asked: Asked) -> bool:
        return any((names := Matcher(each).names(asked)) is not None and (not names or asked.name in names)
                   for each in rules)  # fmt: skip

    covered = not escalation.missing(held, wanted)
    for verb, group, resource, name in itertools.product(
        ("get", "list", "delete"),
        ("", "apps", "other"),
        ("pods", "pods/log", "nodes", "nodes/log"),
        ("", "a", "b", "c"),
    ):
        plural, _, subresource = resource.partition("/")
        asked = Asked(verb=verb, group=group, resource=plural, subresource=subresource, name=name)
        if covered and allowed(wanted, asked):
            assert allowed(held, asked), asked


def test_a_rule_of_ten_billion_combinations_is_not_taken_apart() -> None:
    words = " ".join(f"w{number}" for number in range(2000))
    huge = rule(words, "", words, names=words)
    assert escalation.missing([rule("get", "", "pods")] * 50, [huge] * 10) == [huge] * 10
    assert escalation.missing([rule("*", "*", "*")], [huge] * 10) == []


def test_the_complaint_is_kubernetes() -> None:
    wanted = [rule("get list", "", "secrets pods"), paths("get", "/metrics")]
    left = escalation.missing([rule("get list", "", "pods")], wanted)
    assert escalation.complaint(authenticated("alice", ("devs",)), left) == (
        'user "alice" (groups=["devs" "system:authenticated"]) is attempting to grant RBAC permissions not currently '
        'held:\n{APIGroups:[""], Resources:["secrets"], Verbs:["get" "list"]}\n'
        '{NonResourceURLs:["/metrics"], Verbs:["get"]}'
    )
