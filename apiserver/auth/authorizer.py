"""The authorizer: may this user do this? It reads the table of rules, and asks `node.py` about nodes.

Interface: `Authorizer.authorize(user, attributes)` -> `Decision`. No I/O.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from apiserver.auth import node as nodes
from apiserver.auth.rules import OWN, RULES, Rule
from apiserver.auth.users import User


class Attributes(Protocol):
    """What is asked for; `apiserver.request.RequestInfo` is one."""

    verb: str
    path: str
    is_resource: bool
    group: str
    resource: str
    subresource: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Decision:
    """Yes, or no with Kubernetes' message for the 403."""

    allowed: bool
    reason: str = ""


_YES = Decision(True)


class Authorizer:
    """Applies the rules; nothing matches means no."""

    def __init__(self, pods: nodes.Pods, rules: Sequence[Rule] = RULES) -> None:
        self._pods = pods
        self._rules: dict[str, list[_Compiled]] = {}
        for rule in rules:
            self._rules.setdefault(rule.who, []).append(_Compiled(rule))

    def authorize(self, user: User, attributes: Attributes, *, created: str = "") -> Decision:
        """Decide. `created` is the name found in the body of a create: ask again when it is known."""
        resource = _resource(attributes)
        for who in (user.name, *user.groups):
            for rule in self._rules.get(who, ()):
                if rule.allows(user, attributes, resource):
                    return _YES
        why = ""
        if user.node and attributes.is_resource:
            why = nodes.why_not(user.node, resource, attributes, created or attributes.name, self._pods)
            if not why:
                return _YES
        return Decision(False, _refusal(user, attributes, resource) + (f": {why}" if why else ""))


class _Compiled:
    """A rule with its words split."""

    __slots__ = ("name", "namespace", "paths", "prefixes", "resources", "verbs")

    def __init__(self, rule: Rule) -> None:
        paths = rule.paths.split()
        self.verbs = frozenset(rule.verbs.split())
        self.resources = frozenset(rule.resources.split())
        self.paths = frozenset(path for path in paths if not path.endswith("*"))
        self.prefixes = tuple(path.removesuffix("*") for path in paths if path.endswith("*"))
        self.namespace = rule.namespace
        self.name = rule.name

    def allows(self, user: User, attributes: Attributes, resource: str) -> bool:
        if attributes.verb not in self.verbs and "*" not in self.verbs:
            return False
        if not attributes.is_resource:
            return attributes.path in self.paths or attributes.path.startswith(self.prefixes)
        if resource not in self.resources and "*" not in self.resources:
            return False
        namespace = user.service_account_namespace if self.namespace == OWN else self.namespace
        if self.namespace and (not namespace or attributes.namespace != namespace):
            return False
        return not self.name or attributes.name == self.name


def _resource(attributes: Attributes) -> str:
    """`deployments.apps/scale`."""
    group = f".{attributes.group}" if attributes.group else ""
    subresource = f"/{attributes.subresource}" if attributes.subresource else ""
    return f"{attributes.resource}{group}{subresource}"


def _refusal(user: User, attributes: Attributes, resource: str) -> str:
    """Kubernetes' words, after `pods "x" is forbidden: `."""
    if not attributes.is_resource:
        return f'User "{user.name}" cannot {attributes.verb} path "{attributes.path}"'
    plain = resource.replace(f".{attributes.group}", "", 1) if attributes.group else resource
    where = f'in the namespace "{attributes.namespace}"' if attributes.namespace else "at the cluster scope"
    return f'User "{user.name}" cannot {attributes.verb} resource "{plain}" in API group "{attributes.group}" {where}'
