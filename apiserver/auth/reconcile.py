"""What becomes of a default role or binding that is already there. Pure.

Kubernetes: k8s.io/component-helpers/auth/rbac/reconciliation. Nothing is taken away: an administrator may add rules,
subjects and labels to the defaults. What they removed comes back at the next start, unless the object says
`rbac.authorization.kubernetes.io/autoupdate: "false"`.

Interface: `reconciled(wanted, present)` is the object to write, or None when the present one will do.
"""

from __future__ import annotations

from typing import Any

import msgspec

from apiserver.auth import escalation
from apiserver.auth.default_roles import AUTOUPDATE
from apiserver.auth.rbac import subject_name


class OtherRole(Exception):
    """A default binding refers to another role; a reference cannot be changed, so it is made anew."""


def reconciled(wanted: Any, present: Any) -> Any | None:
    """Changes `present` in place. Raises OtherRole."""
    before = msgspec.json.encode(present)
    if (present.metadata.annotations or {}).get(AUTOUPDATE) == "false":
        return None
    for name in ("labels", "annotations"):
        setattr(present.metadata, name, {**(getattr(present.metadata, name) or {}), **getattr(wanted.metadata, name)})
    if hasattr(wanted, "roleRef"):
        _binding(wanted, present)
    else:
        _role(wanted, present)
    return None if msgspec.json.encode(present) == before else present


def _role(wanted: Any, present: Any) -> None:
    if getattr(wanted, "aggregationRule", None):
        if present.aggregationRule is None:
            present.aggregationRule = wanted.aggregationRule
        selectors = present.aggregationRule.clusterRoleSelectors = present.aggregationRule.clusterRoleSelectors or []
        selectors += [each for each in wanted.aggregationRule.clusterRoleSelectors if each not in selectors]
        return
    left = escalation.missing(present.rules or [], wanted.rules or [])
    if left:
        present.rules = [*(present.rules or []), *escalation.compacted(left)]


def _binding(wanted: Any, present: Any) -> None:
    if wanted.roleRef != present.roleRef:
        raise OtherRole(present.metadata.name)
    namespace = present.metadata.namespace or ""
    known = {subject_name(each, namespace) for each in present.subjects or ()}
    added = [each for each in wanted.subjects or () if subject_name(each, namespace) not in known]
    if added:
        present.subjects = [*(present.subjects or []), *added]
