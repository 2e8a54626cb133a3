"""Admission: what is added to an object, or refused, in view of the rest of the cluster.

Interface: `admit_create(kind, obj, backend)`, `admit_update(kind, new, old, backend)`. Each plugin is a module with
the name it has in Kubernetes (https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/).
"""

from __future__ import annotations

from typing import Any

from api.kinds import Kind
from apiserver.admission import (
    default_toleration_seconds,
    namespace_lifecycle,
    service_account,
    taint_nodes_by_condition,
)
from apiserver.backend import Backend


async def admit_create(kind: Kind, obj: Any, backend: Backend) -> None:
    """Run the plugins in Kubernetes' order. Raises an ApiStatusError to refuse."""
    await namespace_lifecycle.admit(kind, obj, backend)
    if kind.qualified == "pods":
        service_account.admit(obj)
        default_toleration_seconds.admit(obj, backend.config)
    elif kind.qualified == "nodes":
        taint_nodes_by_condition.admit(obj)


async def admit_update(kind: Kind, new: Any, old: Any, backend: Backend) -> None:
    """As `admit_create`, for a change."""
    if kind.qualified == "pods":
        default_toleration_seconds.admit(new, backend.config)


def admit_delete(kind: Kind, obj: Any) -> None:
    """As `admit_create`, for a deletion."""
    namespace_lifecycle.admit_delete(kind, obj)
