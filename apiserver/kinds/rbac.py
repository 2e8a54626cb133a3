"""Roles and their bindings: what may be done, and by whom.

What they mean is in auth/rbac.py; that nobody grants more than they have, in admission/escalation.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lightkube.resources.rbac_authorization_v1 import ClusterRole, ClusterRoleBinding, Role, RoleBinding

from api.errors import FieldError, forbidden, invalid, not_supported
from api.errors import required as missing
from api.selectors import SelectorError, from_label_selector
from apiserver.admission.escalation import NoEscalation
from apiserver.auth.rbac import GROUP
from apiserver.registry import names, rules
from apiserver.registry.columns import AGE, NAME, Column, Object, at
from apiserver.registry.kind import Kind

ACCOUNT = "ServiceAccount"
SUBJECTS = (ACCOUNT, "User", "Group")

# --- roles ------------------------------------------------------------------------------------------------------------


def _rules_wrong(role: Any, *, namespaced: bool) -> Iterator[FieldError]:
    for index, rule in enumerate(role.rules or ()):
        path = f"rules[{index}]"
        if not rule.verbs:
            yield missing(f"{path}.verbs", "verbs must contain at least one value")
        if rule.nonResourceURLs:
            if namespaced:
                why = "namespaced rules cannot apply to non-resource URLs"
                yield invalid(f"{path}.nonResourceURLs", rules.shown(rule.nonResourceURLs), why)
            if rule.apiGroups or rule.resources or rule.resourceNames:
                why = "rules cannot apply to both regular resources and non-resource URLs"
                yield invalid(f"{path}.nonResourceURLs", rules.shown(rule.nonResourceURLs), why)
            continue
        if not rule.apiGroups:
            yield missing(f"{path}.apiGroups", "resource rules must supply at least one api group")
        if not rule.resources:
            yield missing(f"{path}.resources", "resource rules must supply at least one resource")


def _aggregation_wrong(role: Any) -> Iterator[FieldError]:
    if role.aggregationRule is None:
        return
    path = "aggregationRule.clusterRoleSelectors"
    if not role.aggregationRule.clusterRoleSelectors:
        yield missing(path, "at least one clusterRoleSelector required if aggregationRule is non-nil")
    for index, selector in enumerate(role.aggregationRule.clusterRoleSelectors or ()):
        try:
            from_label_selector(selector)
        except SelectorError as error:
            yield invalid(f"{path}[{index}]", rules.shown(selector), str(error))


_CREATED = Column("Created At", at("metadata.creationTimestamp", ""), "date")

ROLE = Kind(
    Role,
    name_rule=names.path_segment,
    columns=(NAME, _CREATED),
    rules=(lambda role: _rules_wrong(role, namespaced=True),),
    admission=(NoEscalation(),),
)
CLUSTER_ROLE = Kind(
    ClusterRole,
    name_rule=names.path_segment,
    columns=(NAME, _CREATED),
    rules=(lambda role: _rules_wrong(role, namespaced=False), _aggregation_wrong),
    admission=(NoEscalation(),),
)

# --- bindings ---------------------------------------------------------------------------------------------------------


def _binding_defaults(binding: Any) -> None:
    binding.roleRef.apiGroup = binding.roleRef.apiGroup or GROUP
    for subject in binding.subjects or ():
        if subject.kind in ("User", "Group"):
            subject.apiGroup = subject.apiGroup or GROUP


def _role_wrong(*kinds: str) -> rules.Rule:
    def rule(binding: Any) -> Iterator[FieldError]:
        role = binding.roleRef
        if role.apiGroup != GROUP:
            yield not_supported("roleRef.apiGroup", role.apiGroup, [GROUP])
        if role.kind not in kinds:
            yield not_supported("roleRef.kind", role.kind, kinds)
        if not role.name:
            yield missing("roleRef.name")
        for why in names.path_segment(role.name):
            yield invalid("roleRef.name", role.name, why)

    return rule


def _subjects_wrong(binding: Any) -> Iterator[FieldError]:
    namespaced = bool(binding.metadata.namespace)
    for index, subject in enumerate(binding.subjects or ()):
        path = f"subjects[{index}]"
        if not subject.name:
            yield missing(f"{path}.name")
        if subject.kind not in SUBJECTS:
            yield not_supported(f"{path}.kind", subject.kind, SUBJECTS)
        elif subject.kind == ACCOUNT:
            if subject.name:
                yield from names.check(f"{path}.name", subject.name, names.dns_subdomain)
            if subject.apiGroup:
                yield not_supported(f"{path}.apiGroup", subject.apiGroup, [""])
            if not subject.namespace and not namespaced:
                yield missing(f"{path}.namespace")
        else:
            if subject.apiGroup != GROUP:
                yield not_supported(f"{path}.apiGroup", subject.apiGroup, [GROUP])
            if subject.namespace:
                yield forbidden(f"{path}.namespace", f"a {subject.kind} has no namespace")


def _same_role(new: Any, old: Any) -> Iterator[FieldError]:
    if new.roleRef != old.roleRef:
        yield invalid("roleRef", rules.shown(new.roleRef), "cannot change roleRef")


def _role(binding: Object) -> str:
    role = binding.get("roleRef") or {}
    return f"{role.get('kind', '')}/{role.get('name', '')}"


def _subjects(kind: str) -> Any:
    def cell(binding: Object) -> str:
        found = [each for each in binding.get("subjects") or () if each.get("kind") == kind]
        return ", ".join("/".join(filter(None, (each.get("namespace"), each.get("name")))) for each in found)

    return cell


_COLUMNS = (
    NAME,
    Column("Role", _role),
    AGE,
    Column("Users", _subjects("User"), wide=True),
    Column("Groups", _subjects("Group"), wide=True),
    Column("ServiceAccounts", _subjects(ACCOUNT), wide=True),
)

ROLE_BINDING = Kind(
    RoleBinding,
    name_rule=names.path_segment,
    columns=_COLUMNS,
    defaults=_binding_defaults,
    rules=(_role_wrong("Role", "ClusterRole"), _subjects_wrong),
    change_rules=(_same_role,),
    admission=(NoEscalation(),),
)
CLUSTER_ROLE_BINDING = Kind(
    ClusterRoleBinding,
    name_rule=names.path_segment,
    columns=_COLUMNS,
    defaults=_binding_defaults,
    rules=(_role_wrong("ClusterRole"), _subjects_wrong),
    change_rules=(_same_role,),
    admission=(NoEscalation(),),
)
