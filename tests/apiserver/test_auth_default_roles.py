"""The default roles and bindings: what they are, and what becomes of those that are already there."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from lightkube.models.rbac_v1 import RoleRef, Subject

from apiserver.auth import default_roles
from apiserver.auth.default_roles import AUTOUPDATE, rule
from apiserver.auth.rbac import GROUP
from apiserver.auth.reconcile import OtherRole, reconciled

ALL = {(resource, obj.metadata.name): obj for resource, _, obj in default_roles.objects()}
ROLES, BINDINGS = f"clusterroles.{GROUP}", f"clusterrolebindings.{GROUP}"


def test_every_binding_refers_to_a_role_that_is_there_and_comes_later() -> None:
    seen: set[tuple[str, str]] = set()
    for resource, _, obj in default_roles.objects():
        assert (resource, obj.metadata.name) not in seen
        if hasattr(obj, "roleRef"):
            assert (f"{obj.roleRef.kind.lower()}s.{GROUP}", obj.roleRef.name) in seen
        seen.add((resource, obj.metadata.name))


def test_they_are_kubernetes() -> None:
    assert ALL[BINDINGS, "cluster-admin"].subjects == [Subject("Group", "system:masters", GROUP)]
    assert ALL[BINDINGS, "system:node"].subjects is None
    scheduler = ALL[BINDINGS, "system:kube-scheduler"]
    assert scheduler.metadata.labels == {"kubernetes.io/bootstrapping": "rbac-defaults"}
    assert scheduler.metadata.annotations == {AUTOUPDATE: "true"}
    aggregates = {name: ALL[ROLES, name].aggregationRule.clusterRoleSelectors for name in ("admin", "edit", "view")}
    assert {name: [each.matchLabels for each in selectors] for name, selectors in aggregates.items()} == {
        name: [{f"rbac.authorization.k8s.io/aggregate-to-{name}": "true"}] for name in aggregates
    }
    assert ALL[ROLES, "view"].metadata.labels["rbac.authorization.k8s.io/aggregate-to-edit"] == "true"
    assert ALL[ROLES, "edit"].metadata.labels["rbac.authorization.k8s.io/aggregate-to-admin"] == "true"


def test_nobody_but_administrators_and_the_aggregation_may_escalate_bind_or_impersonate_at_large() -> None:
    strong = {"escalate", "bind", "impersonate", "*"}
    found = {
        name
        for (resource, name), obj in ALL.items()
        if resource == ROLES and any(strong & {*each.verbs} for each in obj.rules or ())
    }
    assert found == {
        "cluster-admin",
        "system:controller:clusterrole-aggregation-controller",
        "system:kubelet-api-admin",  # nodes/proxy
        "system:aggregate-to-edit",  # service accounts of the namespace
    }


@pytest.fixture(params=[(ROLES, "system:node-proxier"), (ROLES, "admin"), (BINDINGS, "system:kube-scheduler")])
def wanted(request: pytest.FixtureRequest) -> Any:
    return ALL[request.param]


def test_what_is_as_it_should_be_is_not_written(wanted: Any) -> None:
    assert reconciled(wanted, copy.deepcopy(wanted)) is None


def test_labels_come_back(wanted: Any) -> None:
    present = copy.deepcopy(wanted)
    present.metadata.labels = {"mine": "stays"}
    changed = reconciled(wanted, present)
    assert changed is not None and changed.metadata.labels == {"mine": "stays", **wanted.metadata.labels}


def test_who_says_so_is_left_alone(wanted: Any) -> None:
    present = copy.deepcopy(wanted)
    present.metadata.annotations = {AUTOUPDATE: "false"}
    present.rules = present.subjects = None if hasattr(wanted, "subjects") else []
    assert reconciled(wanted, present) is None


def test_rules_come_back_and_those_that_were_added_stay() -> None:
    wanted = ALL[ROLES, "system:node-proxier"]
    present = copy.deepcopy(wanted)
    present.rules = [*present.rules[1:], rule("get", "core", "configmaps")]
    changed = reconciled(wanted, present)
    assert changed is not None and rule("get", "core", "configmaps") in changed.rules
    assert (
        rule("list watch", "core", "endpoints") in changed.rules
        and rule("list watch", "core", "services") in changed.rules
    )
    assert reconciled(wanted, changed) is None


def test_the_rules_of_an_aggregated_role_are_not_ours() -> None:
    present = copy.deepcopy(ALL[ROLES, "admin"])
    present.rules = [rule("get", "core", "pods")]
    assert reconciled(ALL[ROLES, "admin"], present) is None


def test_subjects_come_back_and_another_role_is_told() -> None:
    wanted = ALL[BINDINGS, "system:kube-scheduler"]
    present = copy.deepcopy(wanted)
    present.subjects = [Subject("User", "other", GROUP)]
    changed = reconciled(wanted, present)
    assert changed is not None and changed.subjects == [Subject("User", "other", GROUP), *wanted.subjects]
    present.roleRef = RoleRef("ClusterRole", "view", GROUP)
    with pytest.raises(OtherRole):
        reconciled(wanted, present)
