"""Priority: a pod gets the number and the policy of its PriorityClass, and nobody may write them by hand.

Kubernetes: https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#priority
"""

from __future__ import annotations

from typing import Any

import msgspec

from api.errors import Forbidden
from apiserver.registry.plugin import Plugin
from apiserver.registry.write import Write

CLASSES = "priorityclasses.scheduling.k8s.io"
PREEMPTS = "PreemptLowerPriority"


class PodPriority(Plugin):
    async def admit(self, write: Write) -> None:
        spec, old = write.new.spec, write.old and write.old.spec
        if spec is None:
            return
        if old is not None:  # it stays what it was; whoever sends a pod without them does not take them away
            spec.priority = old.priority if spec.priority is None else spec.priority
            spec.preemptionPolicy = spec.preemptionPolicy or old.preemptionPolicy
            return
        found = await _named(write, spec.priorityClassName) if spec.priorityClassName else _default(write)
        value, policy = int(found.get("value", 0)), found.get("preemptionPolicy") or PREEMPTS
        name = found.get("metadata", {}).get("name")
        if spec.priority not in (None, value):
            raise _forbidden(write, f"the integer value of priority ({spec.priority})", value)
        if spec.preemptionPolicy not in (None, policy):
            raise _forbidden(write, f"the string value of PreemptionPolicy ({spec.preemptionPolicy})", policy)
        spec.priorityClassName, spec.priority, spec.preemptionPolicy = name, value, policy


class OneDefaultClass(Plugin):
    """Of PriorityClasses at most one says that it is the default."""

    async def validate(self, write: Write) -> None:
        if write.new is None or not write.new.globalDefault:
            return
        present = _default(write).get("metadata", {}).get("name")
        if present not in (None, write.new.metadata.name):
            why = f"PriorityClass {present} is already marked as default. Only one default can exist"
            raise Forbidden.of(qualified=write.kind.qualified, name=write.new.metadata.name, why=why)


async def _named(write: Write, name: str) -> dict[str, Any]:
    kind = write.backend.registry.find("scheduling.k8s.io", "v1", "priorityclasses")
    entry = await write.backend.find(kind, "", name) if kind is not None else None
    if entry is None:
        why = f"no PriorityClass with name {name} was found"
        raise Forbidden.of(qualified=write.kind.qualified, name=write.new.metadata.name or "", why=why)
    return dict(msgspec.json.decode(entry.value))


def _default(write: Write) -> dict[str, Any]:
    """The global default (of several, left by a race, the least), {} when there is none."""
    found = [msgspec.json.decode(entry.value) for entry in write.backend.cache.list(CLASSES)]
    return min((each for each in found if each.get("globalDefault")), key=lambda each: each.get("value", 0), default={})


def _forbidden(write: Write, what: str, computed: int | str) -> Forbidden:
    why = f"{what} must not be provided in pod spec; priority admission controller computed {computed} from the given"
    name = write.new.metadata.name or ""
    return Forbidden.of(qualified=write.kind.qualified, name=name, why=f"{why} PriorityClass name")
