"""ClusterRole with an aggregationRule -> its rules are those of all ClusterRoles it selects.

So `admin`, `edit` and `view` grow with every role labelled `rbac.authorization.k8s.io/aggregate-to-view: "true"`.
Kubernetes: pkg/controller/clusterroleaggregation.
"""

from __future__ import annotations

from lightkube.models.rbac_v1 import PolicyRule
from lightkube.resources.rbac_authorization_v1 import ClusterRole

from api import meta
from api.selectors import SelectorError, from_label_selector
from controllers import writes
from controllers.manager import Manager


class ClusterRoleAggregation:
    """Any change of a ClusterRole may concern every aggregated one; there are few of these."""

    def __init__(self, manager: Manager) -> None:
        self._client = manager.client
        self._roles = manager.informer(ClusterRole)
        self._controller = manager.controller("clusterrole-aggregation", self.reconcile, workers=1)
        self._roles.on_change(self._role_changed)

    def _role_changed(self, old: ClusterRole | None, new: ClusterRole | None) -> None:
        for role in self._roles.list():
            if role.aggregationRule is not None:
                self._controller.enqueue(meta.name(role))

    async def reconcile(self, key: str) -> None:
        role = self._roles.get(key)
        if role is None or role.aggregationRule is None:
            return
        gathered = gather(role, self._roles.list())
        if gathered != (role.rules or []):
            changed = meta.clone(role)
            changed.rules = gathered
            await writes.put(self._client, changed)


def gather(role: ClusterRole, roles: list[ClusterRole]) -> list[PolicyRule]:
    """The rules of the roles that `role` selects, each once, in the order of the roles' names. Pure."""
    rules: list[PolicyRule] = []
    for selector in (role.aggregationRule and role.aggregationRule.clusterRoleSelectors) or ():
        try:
            matches = from_label_selector(selector).matches
        except SelectorError:
            continue
        for other in sorted(roles, key=meta.name):
            if meta.name(other) != meta.name(role) and matches(meta.metadata(other).labels):
                rules += [rule for rule in other.rules or () if rule not in rules]
    return rules
