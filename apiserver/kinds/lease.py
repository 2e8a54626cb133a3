"""Leases: who holds something, renewed again and again (leader election, the heartbeat of nodes)."""

from __future__ import annotations

from typing import Any

from lightkube.resources.coordination_v1 import Lease

from apiserver.registry import rules
from apiserver.registry.columns import AGE, NAME, Column, at
from apiserver.registry.defaults import micro_time
from apiserver.registry.kind import Kind


def defaults(obj: Any) -> None:
    if obj.spec is not None:
        obj.spec.renewTime, obj.spec.acquireTime = micro_time(obj.spec.renewTime), micro_time(obj.spec.acquireTime)


LEASE = Kind(
    Lease,
    columns=(NAME, Column("Holder", at("spec.holderIdentity", "")), AGE),
    create_on_update=True,
    defaults=defaults,
    rules=(rules.above("spec.leaseDurationSeconds", 0), rules.at_least("spec.leaseTransitions", 0)),
)
