"""Role-based access control: who is bound to which role, and so may do what.

    Role, ClusterRole         rules: verbs on resources of API groups (or on paths)
    RoleBinding               gives a role's rules to users and groups in its namespace
    ClusterRoleBinding        the same everywhere
    https://kubernetes.io/docs/reference/access-authn-authz/rbac/

Interface: `Roles.follow(cache)`, then `Roles.of(user) -> Grants`; `Grants.allows(asked)`, and for those who want to
know: `reason`, `problems`, `rules`.

Invariants
- The index is fed by the watch cache and never behind it: a binding that is gone grants nothing to the next request.
- A decision costs two dictionary lookups: the user's grants, and in them the answer to this question. Both are
  remembered until any role or binding changes; nothing grows without bound.
- Users and groups are different subjects even when they have the same name.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.models.rbac_v1 import PolicyRule, RoleRef, Subject

from apiserver.auth.attributes import Attributes, resource_with_subresource
from apiserver.auth.users import SERVICE_ACCOUNT_PREFIX, User
from apiserver.storage.base import resource_key, split_key
from apiserver.storage.cache import Entry, Follower

GROUP = "rbac.authorization.k8s.io"
ROLES, CLUSTER_ROLES = f"roles.{GROUP}", f"clusterroles.{GROUP}"
ROLE_BINDINGS, CLUSTER_ROLE_BINDINGS = f"rolebindings.{GROUP}", f"clusterrolebindings.{GROUP}"
EVERY = "*"

REMEMBERED_USERS = 4096
REMEMBERED_ANSWERS = 4096  # of one user


class Cache(Protocol):
    """The part of the watch cache that is needed here."""

    def follow(self, resource: str, follower: Follower) -> None: ...


class _Role(msgspec.Struct):
    rules: list[PolicyRule] | None = None


class _Binding(msgspec.Struct):
    roleRef: RoleRef
    metadata: ObjectMeta
    subjects: list[Subject] | None = None


_decode_role = msgspec.json.Decoder(_Role).decode
_decode_binding = msgspec.json.Decoder(_Binding).decode


@dataclass(frozen=True, slots=True)
class Binding:
    """A binding as decisions need it; `namespace` is empty for one that holds everywhere."""

    name: str
    namespace: str
    role: RoleRef

    @property
    def role_key(self) -> str:
        return role_key(self.role, self.namespace)

    def explains(self, subject: str) -> str:
        """The reason of a yes, as Kubernetes words it."""
        if self.namespace:
            kind, called = "RoleBinding", f"{self.name}/{self.namespace}"
        else:
            kind, called = "ClusterRoleBinding", self.name
        return f'RBAC: allowed by {kind} "{called}" of {self.role.kind} "{self.role.name}" to {subject}'


def role_key(role: RoleRef, namespace: str) -> str:
    """The storage key of the role that a binding in `namespace` refers to."""
    if role.kind == "ClusterRole":
        return resource_key(CLUSTER_ROLES, "", role.name)
    return resource_key(ROLES, namespace, role.name)


def subject_name(subject: Subject, namespace: str) -> tuple[str, str]:
    """(User or Group, name): a service account is a user with a long name."""
    if subject.kind == "ServiceAccount":
        return "User", f"{SERVICE_ACCOUNT_PREFIX}{subject.namespace or namespace}:{subject.name}"
    return subject.kind, subject.name


# --- matching ---------------------------------------------------------------------------------------------------


class Matcher:
    """A rule with its words as sets."""

    __slots__ = ("_groups", "_names", "_paths", "_prefixes", "_resources", "_verbs", "rule")

    def __init__(self, rule: PolicyRule) -> None:
        self.rule = rule
        self._verbs = frozenset(rule.verbs)
        self._groups = frozenset(rule.apiGroups or ())
        self._resources = frozenset(rule.resources or ())
        self._names = frozenset(rule.resourceNames or ())
        urls = rule.nonResourceURLs or ()
        self._paths = frozenset(urls)
        self._prefixes = tuple(each[:-1] for each in urls if each.endswith(EVERY))

    def names(self, asked: Attributes) -> frozenset[str] | None:
        """The object names for which this rule allows what is asked; None: not at all; empty: every name."""
        if asked.verb not in self._verbs and EVERY not in self._verbs:
            return None
        if not asked.is_resource:
            return _ANY if asked.path in self._paths or asked.path.startswith(self._prefixes) else None
        if asked.group not in self._groups and EVERY not in self._groups:
            return None
        resources = self._resources
        if EVERY in resources or resource_with_subresource(asked) in resources:
            return self._names
        return self._names if asked.subresource and f"*/{asked.subresource}" in resources else None


_ANY: frozenset[str] = frozenset()
_NOBODY: frozenset[str] = frozenset(("",))


class Grants:
    """All that one user is granted, with the answers given so far."""

    __slots__ = ("_answers", "_rules", "_unknown")

    def __init__(self) -> None:
        self._rules: dict[str, list[tuple[Matcher, Binding, str]]] = {}  # by namespace; "" is everywhere
        self._unknown: dict[str, list[str]] = {}  # roles that are bound but do not exist
        self._answers: dict[tuple[str, ...], frozenset[str]] = {}

    def allows(self, asked: Attributes) -> bool:
        question: tuple[str, ...]
        if asked.is_resource:
            question = (asked.verb, asked.group, asked.resource, asked.subresource, asked.namespace)
        else:
            question = (asked.verb, asked.path)
        names = self._answers.get(question)
        if names is None:
            if len(self._answers) >= REMEMBERED_ANSWERS:
                self._answers.clear()
            names = self._answers[question] = self._find(asked)
        return not names or (asked.name in names and bool(asked.name))

    def _find(self, asked: Attributes) -> frozenset[str]:
        """The names allowed; empty for all of them."""
        found = _NOBODY
        for matcher, _, _ in self._of(asked.namespace if asked.is_resource else ""):
            names = matcher.names(asked)
            if names is not None:
                if not names:
                    return names
                found |= names
        return found

    def _of(self, namespace: str) -> Iterable[tuple[Matcher, Binding, str]]:
        everywhere = self._rules.get("", ())
        return itertools.chain(everywhere, self._rules.get(namespace, ())) if namespace else everywhere

    def reason(self, asked: Attributes) -> str:
        """Which binding allows it."""
        for matcher, binding, subject in self._of(asked.namespace if asked.is_resource else ""):
            names = matcher.names(asked)
            if names is not None and (not names or asked.name in names):
                return binding.explains(subject)
        return ""

    def problems(self, namespace: str) -> str:
        """What may be wrong with a no: roles that are bound but missing."""
        found = [*self._unknown.get("", ()), *(self._unknown.get(namespace, ()) if namespace else ())]
        text = ", ".join(dict.fromkeys(found))
        return f"RBAC: {f'[{text}]' if len(found) > 1 else text}" if found else ""

    def rules(self, namespace: str) -> Iterator[PolicyRule]:
        """Everything granted in a namespace, what is granted everywhere first."""
        for matcher, _, _ in self._of(namespace):
            yield matcher.rule

    def add(self, binding: Binding, subject: str, rules: list[Matcher] | None) -> None:
        if rules is None:
            kind = binding.role.kind.lower()
            self._unknown.setdefault(binding.namespace, []).append(f'{kind}.{GROUP} "{binding.role.name}" not found')
            return
        self._rules.setdefault(binding.namespace, []).extend((rule, binding, subject) for rule in rules)


class Roles:
    """The index of roles and bindings; see the module."""

    def __init__(self) -> None:
        self._rules: dict[str, list[Matcher]] = {}  # by the storage key of the role
        self._bound: dict[tuple[str, str], dict[str, Binding]] = {}  # subject -> storage key of the binding -> it
        self._grants: dict[tuple[str, tuple[str, ...]], Grants] = {}

    def follow(self, cache: Cache) -> None:
        for resource in (ROLES, CLUSTER_ROLES, ROLE_BINDINGS, CLUSTER_ROLE_BINDINGS):
            cache.follow(resource, self.changed)

    def of(self, user: User) -> Grants:
        """What a user, and every group the user is in, is granted."""
        identity = user.name, user.groups
        grants = self._grants.get(identity)
        if grants is None:
            if len(self._grants) >= REMEMBERED_USERS:
                self._grants.clear()
            grants = self._grants[identity] = self._compile(user)
        return grants

    def role(self, role: RoleRef, namespace: str) -> list[PolicyRule] | None:
        """The rules of a role, as a binding in `namespace` would refer to it; None when there is no such role."""
        found = self._rules.get(role_key(role, namespace))
        return None if found is None else [each.rule for each in found]

    def _compile(self, user: User) -> Grants:
        grants = Grants()
        for kind, name in (("User", user.name), *(("Group", group) for group in dict.fromkeys(user.groups))):
            for binding in self._bound.get((kind, name), {}).values():
                grants.add(binding, _called(kind, name), self._rules.get(binding.role_key))
        return grants

    def changed(self, old: Entry | None, new: Entry | None) -> None:
        """A follower of all four kinds. What was known is forgotten first: what cannot be read grants nothing."""
        self._grants.clear()
        if old is not None:
            self._forget(old)
        if new is not None:
            self._learn(new)

    def _forget(self, entry: Entry) -> None:
        if split_key(entry.key)[0] in (ROLES, CLUSTER_ROLES):
            self._rules.pop(entry.key, None)
            return
        for subject in _subjects(entry):
            bound = self._bound.get(subject, {})
            bound.pop(entry.key, None)
            if not bound:
                self._bound.pop(subject, None)

    def _learn(self, entry: Entry) -> None:
        if split_key(entry.key)[0] in (ROLES, CLUSTER_ROLES):
            self._rules[entry.key] = [Matcher(rule) for rule in _decode_role(entry.value).rules or ()]
            return
        binding = Binding(entry.name, entry.namespace, _decode_binding(entry.value).roleRef)
        for subject in _subjects(entry):
            self._bound.setdefault(subject, {})[entry.key] = binding


def _subjects(entry: Entry) -> set[tuple[str, str]]:
    subjects = _decode_binding(entry.value).subjects or ()
    return {subject_name(each, entry.namespace) for each in subjects}


def _called(kind: str, name: str) -> str:
    """A subject in a reason: `ServiceAccount "web/shop"`."""
    if kind == "User" and name.startswith(SERVICE_ACCOUNT_PREFIX):
        namespace, _, account = name.removeprefix(SERVICE_ACCOUNT_PREFIX).partition(":")
        return f'ServiceAccount "{account}/{namespace}"'
    return f'{kind} "{name}"'


# --- what a review of rules shows -------------------------------------------------------------------------------


def described(rules: Iterable[PolicyRule]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(rules on resources, rules on paths), as SelfSubjectRulesReview lists them, each once."""
    resources: list[dict[str, Any]] = []
    paths: list[dict[str, Any]] = []
    for rule in rules:
        plain = msgspec.to_builtins(rule)
        if rule.nonResourceURLs:
            entry, where = {key: plain[key] for key in ("verbs", "nonResourceURLs")}, paths
        else:
            keys = ("verbs", "apiGroups", "resources", "resourceNames")
            entry, where = {key: plain[key] for key in keys if plain.get(key)}, resources
        if entry not in where:
            where.append(entry)
    return resources, paths
