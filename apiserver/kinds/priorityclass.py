"""PriorityClasses: names for how much a pod matters when there is not room for all.

https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/. admission/priority.py gives each pod
the number; the scheduler's queue and its preemption go by it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.scheduling_v1 import PriorityClass

from api.errors import FieldError, forbidden
from apiserver.admission.priority import OneDefaultClass
from apiserver.registry import rules
from apiserver.registry.columns import AGE, NAME, Column, at
from apiserver.registry.defaults import filled
from apiserver.registry.kind import Kind

HIGHEST_OF_USERS = 1_000_000_000
SYSTEM = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}
DESCRIPTIONS = {
    "system-cluster-critical": "Used for system critical pods that must run in the cluster, but can be moved to "
    "another node if necessary.",
    "system-node-critical": "Used for system critical pods that must not be moved from their current node.",
}


def system_classes() -> list[PriorityClass]:
    """Those every cluster has."""
    return [
        PriorityClass(metadata=ObjectMeta(name=name), value=value, description=DESCRIPTIONS[name])
        for name, value in SYSTEM.items()
    ]


def reserved(obj: Any) -> Iterator[FieldError]:
    name = obj.metadata.name or ""
    if name.startswith("system-"):
        if SYSTEM.get(name) != obj.value:
            why = "priority class names with 'system-' prefix are reserved for system use only"
            yield forbidden("metadata.name", why)
    elif obj.value > HIGHEST_OF_USERS:
        yield forbidden("value", f"maximum allowed value of a user defined priority is {HIGHEST_OF_USERS}")


def same_value(new: Any, old: Any) -> Iterator[FieldError]:
    if new.value != old.value:
        yield forbidden("value", "may not be changed in an update.")


PRIORITY_CLASS = Kind(
    PriorityClass,
    short_names=("pc",),
    columns=(
        NAME,
        Column("Value", at("value", 0), type="integer"),
        Column("Global-Default", at("globalDefault", False), type="boolean"),
        AGE,
        Column("PreemptionPolicy", at("preemptionPolicy"), wide=True),
    ),
    defaults=filled({"value": 0, "preemptionPolicy": "PreemptLowerPriority"}),
    rules=(reserved, rules.one_of("preemptionPolicy", "PreemptLowerPriority", "Never")),
    immutable=("preemptionPolicy",),
    change_rules=(same_value,),
    admission=(OneDefaultClass(),),
    immortal=frozenset(SYSTEM),
)
