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
    ([rule("*", "*", "*")], [rule("get", "core", "pods")], True),
    ([rule("*", "*", "*")], [paths("get", "/metrics")], False),
    ([paths("*", "*")], [paths("get", "/metrics")], True),
    ([paths("get", "/logs/*")], [paths("get", "/logs/x")], True),
    ([paths("get", "/logs/*")], [paths("get", "/logs*")], False),
    ([rule("get list", "core", "pods"), rule("get", "apps", "deployments")], [rule("get", "core apps", "pods")], False),
    ([rule("get list", "core", "pods services")], [rule("list", "core", "services")], True),
    ([rule("get", "core", "pods"), rule("list", "core", "pods")], [rule("get list", "core", "pods")], True),
    ([rule("get", "core", "pods")], [rule("*", "core", "pods")], False),
    ([rule("get", "core", "pods")], [rule("get", "core", "*")], False),
    ([rule("get", "core", "pods")], [rule("get", "*", "pods")], False),
    ([rule("get", "core", "pods")], [rule("get", "core", "pods/log")], False),
    ([rule("get", "core", "*/scale")], [rule("get", "core", "deployments/scale")], True),
    ([rule("get", "core", "*/scale")], [rule("get", "core", "deployments")], False),
    ([rule("get", "core", "secrets", names="a")], [rule("get", "core", "secrets", names="a")], True),
    ([rule("get", "core", "secrets", names="a")], [rule("get", "core", "secrets", names="a b")], False),
    ([rule("get", "core", "secrets", names="a"), rule("get", "core", "secrets", names="b")],
     [rule("get", "core", "secrets", names="a b")], True),
    ([rule("get", "core", "secrets", names="a")], [rule("get", "core", "secrets")], False),
    ([rule("get", "core", "secrets")], [rule("get", "core", "secrets", names="a")], True),
    ([], [rule("get", "core", "pods")], False),
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
    assert escalation.missing([rule("get", "core", "pods")] * 50, [huge] * 10) == [huge] * 10
    assert escalation.missing([rule("*", "*", "*")], [huge] * 10) == []


def test_the_complaint_is_kubernetes() -> None:
    wanted = [rule("get list", "core", "secrets pods"), paths("get", "/metrics")]
    left = escalation.missing([rule("get list", "core", "pods")], wanted)
    assert escalation.complaint(authenticated("alice", ("devs",)), left) == (
        'user "alice" (groups=["devs" "system:authenticated"]) is attempting to grant RBAC permissions not currently '
        'held:\n{APIGroups:[""], Resources:["secrets"], Verbs:["get" "list"]}\n'
        '{NonResourceURLs:["/metrics"], Verbs:["get"]}'
    )
