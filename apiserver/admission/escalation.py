"""Nobody grants more than they have: a role's rules must be the writer's own, and so must a bound role's.

Who may `escalate` that role, or `bind` it, is free to. The comparison itself is auth/escalation.py. Kubernetes:
https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping
"""

from __future__ import annotations

from typing import Any

from lightkube.models.rbac_v1 import PolicyRule

from api.errors import Forbidden, NotFound
from apiserver.auth import Asked, escalation
from apiserver.auth.rbac import GROUP
from apiserver.auth.users import MASTERS
from apiserver.registry.plugin import Plugin
from apiserver.registry.write import Write

_EVERYTHING = (
    PolicyRule(verbs=["*"], apiGroups=["*"], resources=["*"]),
    PolicyRule(verbs=["*"], nonResourceURLs=["*"]),
)


class NoEscalation(Plugin):
    """Stands at the four kinds of kinds/rbac.py."""

    async def validate(self, write: Write) -> None:
        if write.new is None or MASTERS in write.user.groups or _only_owners_change(write):
            return
        if hasattr(write.new, "roleRef"):
            self._check_binding(write)
        else:
            self._check_role(write)

    def _check_role(self, write: Write) -> None:
        new, old = write.new, write.old
        if self._may(write, "escalate", write.kind.plural, new.metadata.name, write.namespace):
            return
        self._refuse_more(write, new.rules or ())
        gathers = getattr(new, "aggregationRule", None) or getattr(old, "aggregationRule", None)
        if gathers and escalation.missing(self._held(write), _EVERYTHING):  # it may come to gather anything
            self._refuse(write, "must have cluster-admin privileges to use an aggregationRule")

    def _check_binding(self, write: Write) -> None:
        role = write.new.roleRef
        plural = f"{role.kind.lower()}s"
        where = write.namespace if role.kind == "Role" else ""
        if self._may(write, "bind", plural, role.name, where or write.namespace):
            return
        rules = write.backend.authorizer.roles.role(role, write.namespace)
        if rules is None:
            raise NotFound.of(qualified=f"{plural}.{GROUP}", name=role.name)
        self._refuse_more(write, rules)

    def _may(self, write: Write, verb: str, resource: str, name: str, namespace: str) -> bool:
        asked = Asked(verb=verb, group=GROUP, resource=resource, namespace=namespace, name=name)
        return bool(write.backend.authorizer.authorize(write.user, asked).allowed)

    def _held(self, write: Write) -> list[PolicyRule]:
        return [*write.backend.authorizer.roles.of(write.user).rules(write.namespace)]

    def _refuse_more(self, write: Write, wanted: Any) -> None:
        left = escalation.missing(self._held(write), wanted)
        if left:
            self._refuse(write, escalation.complaint(write.user, left))

    def _refuse(self, write: Write, why: str) -> None:
        raise Forbidden.of(qualified=write.kind.qualified, name=write.new.metadata.name, why=why)


def _only_owners_change(write: Write) -> bool:
    """Whether a change touches nothing but what the garbage collector writes."""
    if write.old is None:
        return False
    encode = write.kind.model.encode
    kept = []
    for obj in (write.new, write.old):
        copy = write.kind.model.decode(encode(obj))
        metadata = copy.metadata
        metadata.ownerReferences = metadata.finalizers = metadata.managedFields = metadata.resourceVersion = None
        kept.append(encode(copy))
    return kept[0] == kept[1]
