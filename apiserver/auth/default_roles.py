"""The roles and bindings every cluster has, out of default_roles.yaml, which says how they are written there.

Interface: `objects()` gives (resource, namespace, object) for all of them; `rules_of(role)` those of one;
`rule` and `paths` make one rule.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from lightkube.models.meta_v1 import LabelSelector, ObjectMeta
from lightkube.models.rbac_v1 import AggregationRule, PolicyRule, RoleRef, Subject
from lightkube.resources.rbac_authorization_v1 import ClusterRole, ClusterRoleBinding, Role, RoleBinding

from apiserver.auth.rbac import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, GROUP, ROLE_BINDINGS, ROLES

BOOTSTRAPPING = {"kubernetes.io/bootstrapping": "rbac-defaults"}
AUTOUPDATE = "rbac.authorization.kubernetes.io/autoupdate"
AGGREGATE = "rbac.authorization.k8s.io/aggregate-to-"

MANAGER = "system:kube-controller-manager"
VERBS = {"READ": "get list watch", "WRITE": "create delete deletecollection patch update"}

Default = tuple[str, str, Any]


@cache
def _data() -> dict[str, Any]:
    return dict(yaml.load(Path(__file__).with_suffix(".yaml").read_bytes(), yaml.CSafeLoader))


def rule(verbs: str, groups: str, resources: str, names: str = "") -> PolicyRule:
    return PolicyRule(
        verbs=_verbs(verbs),
        apiGroups=["" if each == "core" else each for each in groups.split()],
        resources=resources.split(),
        resourceNames=names.split() or None,
    )


def paths(verbs: str, urls: str) -> PolicyRule:
    return PolicyRule(verbs=_verbs(verbs), nonResourceURLs=urls.split())


def rules_of(role: str) -> list[PolicyRule]:
    return _rules(_data()["roles"][role])


def objects() -> Iterator[Default]:
    """(resource, namespace, object) of every default role and binding; roles before their bindings."""
    data = _data()
    yield from _people(data["people"])
    for name, rows in data["roles"].items():
        yield CLUSTER_ROLES, "", _cluster_role(name, rows)
    for controller, rows in data["controllers"].items():
        name = f"system:controller:{controller}"
        yield CLUSTER_ROLES, "", _cluster_role(name, rows)
        yield CLUSTER_ROLE_BINDINGS, "", _cluster_binding(name, f"kube-system/{controller} {MANAGER}", name)
    for full_name, role in data["namespaced"].items():
        namespace, _, name = full_name.partition("/")
        yield ROLES, namespace, Role(metadata=_metadata(name, namespace), rules=_rules(role["may"]))
        binding = RoleBinding(RoleRef("Role", name, GROUP), metadata=_metadata(name, namespace))
        binding.subjects = _subjects(role["to"])
        yield ROLE_BINDINGS, namespace, binding
    for name, (subjects, *other) in data["bindings"].items():
        yield CLUSTER_ROLE_BINDINGS, "", _cluster_binding(name, subjects, *other or [name])


def _people(people: dict[str, Any]) -> Iterator[Default]:
    names = [*people]
    for name, next_name in zip(names, [*names[1:], None], strict=True):
        gathered = LabelSelector(matchLabels={AGGREGATE + name: "true"})
        more = {AGGREGATE + next_name: "true"} if next_name else {}  # the next one has it too
        yield (
            CLUSTER_ROLES,
            "",
            ClusterRole(metadata=_metadata(name, labels=more), aggregationRule=AggregationRule([gathered])),
        )
        yield CLUSTER_ROLES, "", _cluster_role(f"system:aggregate-to-{name}", people[name], {AGGREGATE + name: "true"})


def _metadata(name: str, namespace: str | None = None, labels: dict[str, str] | None = None) -> ObjectMeta:
    labels = BOOTSTRAPPING | (labels or {})
    return ObjectMeta(name=name, namespace=namespace, labels=labels, annotations={AUTOUPDATE: "true"})


def _cluster_role(name: str, rows: list[Any], labels: dict[str, str] | None = None) -> ClusterRole:
    return ClusterRole(metadata=_metadata(name, labels=labels), rules=_rules(rows))


def _cluster_binding(name: str, subjects: str, role: str) -> ClusterRoleBinding:
    return ClusterRoleBinding(
        RoleRef("ClusterRole", role, GROUP), metadata=_metadata(name), subjects=_subjects(subjects)
    )


def _rules(rows: list[list[str]]) -> list[PolicyRule]:
    return [paths(*row) if len(row) == 2 else rule(*row) for row in rows]


def _verbs(text: str) -> list[str]:
    return [verb for word in text.split() for verb in VERBS.get(word, word).split()]


def _subjects(text: str) -> list[Subject] | None:
    return [_subject(each) for each in text.split()] or None


def _subject(text: str) -> Subject:
    if text.startswith("@"):
        return Subject("Group", text[1:], GROUP)
    namespace, slash, account = text.partition("/")
    return Subject("ServiceAccount", account, namespace=namespace) if slash else Subject("User", text, GROUP)
