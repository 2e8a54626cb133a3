"""Nobody hands out more than they have: the check on writes of roles and bindings. Pure.

Kubernetes: k8s.io/component-helpers/auth/rbac/validation (Covers) and pkg/registry/rbac (ConfirmNoEscalation).

Interface: `missing(held, wanted)` is what of `wanted` is not covered by `held`; `complaint(user, missing)` says so.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lightkube.models.rbac_v1 import PolicyRule

from apiserver.auth.users import User

MOST_PARTS = 10_000
"""A rule of more combinations than this is covered by one rule as a whole, or not at all: taking it apart would hold up
the server (1,000 verbs on 1,000 resources fit into one small object)."""
EVERY = "*"


@dataclass(frozen=True, slots=True)
class _Part:
    """One verb on one thing."""

    verb: str
    group: str = ""
    resource: str = ""
    name: str = ""
    path: str = ""

    def rule(self) -> PolicyRule:
        if self.path:
            return PolicyRule(verbs=[self.verb], nonResourceURLs=[self.path])
        names = [self.name] if self.name else None
        return PolicyRule(verbs=[self.verb], apiGroups=[self.group], resources=[self.resource], resourceNames=names)


def missing(held: Sequence[PolicyRule], wanted: Sequence[PolicyRule]) -> list[PolicyRule]:
    """The smallest rules of `wanted` that nothing in `held` covers; empty: all is covered."""
    left = [rule for rule in wanted if not any(_covers(each, rule) for each in held)]
    gone: list[PolicyRule] = []
    budget = MOST_PARTS
    for rule in left:
        budget -= _size(rule)
        if budget < 0:
            gone.append(rule)
            continue
        gone += [part.rule() for part in _parts(rule) if not any(_covers(each, part.rule()) for each in held)]
    return gone


def _size(rule: PolicyRule) -> int:
    things = math.prod(max(1, len(each or ())) for each in (rule.apiGroups, rule.resources, rule.resourceNames))
    return len(rule.verbs) * (things + len(rule.nonResourceURLs or ()))


def _parts(rule: PolicyRule) -> Iterable[_Part]:
    for verb in dict.fromkeys(rule.verbs):
        for path in rule.nonResourceURLs or ():
            yield _Part(verb, path=path)
        for group, resource, name in itertools.product(
            rule.apiGroups or (), rule.resources or (), rule.resourceNames or ("",)
        ):
            yield _Part(verb, group, resource, name)


def _covers(held: PolicyRule, wanted: PolicyRule) -> bool:
    """Whether one rule allows all that another does."""
    if not _all_in(wanted.verbs, held.verbs):
        return False
    if not all(_path_covered(each, held.nonResourceURLs or ()) for each in wanted.nonResourceURLs or ()):
        return False
    if not wanted.resources and not wanted.apiGroups:
        return True
    if not _all_in(wanted.apiGroups or (), held.apiGroups or ()):
        return False
    if not all(_resource_covered(each, held.resources or ()) for each in wanted.resources or ()):
        return False
    names = held.resourceNames or ()
    return not names or (bool(wanted.resourceNames) and set(wanted.resourceNames or ()) <= set(names))


def _all_in(wanted: Iterable[str], held: Sequence[str]) -> bool:
    return EVERY in held or set(wanted) <= set(held)


def _resource_covered(resource: str, held: Sequence[str]) -> bool:
    if EVERY in held or resource in held:
        return True
    _, slash, subresource = resource.partition("/")
    return bool(slash) and f"*/{subresource}" in held


def _path_covered(path: str, held: Sequence[str]) -> bool:
    return any(each == path or (each.endswith(EVERY) and path.startswith(each[:-1])) for each in held)


def complaint(user: User, rules: Sequence[PolicyRule]) -> str:
    """The message of the 403, in Kubernetes' words."""
    shown = "\n".join(sorted(_shown(each) for each in compacted(rules)))
    groups = _quoted(user.groups)
    return f'user "{user.name}" (groups={groups}) is attempting to grant RBAC permissions not currently held:\n{shown}'


def compacted(rules: Sequence[PolicyRule]) -> list[PolicyRule]:
    """The verbs on one resource together."""
    together: dict[tuple[object, ...], PolicyRule] = {}
    for rule in rules:
        about = (rule.apiGroups, rule.resources, rule.resourceNames, rule.nonResourceURLs)
        key = tuple(tuple(each or ()) for each in about)
        groups, resources, names, paths = about
        known = together.setdefault(key, PolicyRule([], groups, paths, names, resources))
        known.verbs += [verb for verb in rule.verbs if verb not in known.verbs]
    return [*together.values()]


def _shown(rule: PolicyRule) -> str:
    fields = {
        "APIGroups": rule.apiGroups,
        "Resources": rule.resources,
        "ResourceNames": rule.resourceNames,
        "NonResourceURLs": rule.nonResourceURLs,
        "Verbs": rule.verbs,
    }
    return "{" + ", ".join(f"{name}:{_quoted(values)}" for name, values in fields.items() if values) + "}"


def _quoted(values: Iterable[str]) -> str:
    return "[" + " ".join(f'"{each}"' for each in values) + "]"
