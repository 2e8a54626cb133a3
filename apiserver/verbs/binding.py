"""`pods/binding`: the scheduler's decision. It sets spec.nodeName once and the PodScheduled condition."""

from __future__ import annotations

from typing import Any

from lightkube.models.core_v1 import Binding, PodCondition, PodStatus

from api import meta
from api.errors import Conflict, Invalid, invalid, not_supported, required
from apiserver.http.responses import Response, success
from apiserver.registry.kind import Subresource
from apiserver.registry.store import Stored
from apiserver.registry.write import Part
from apiserver.verbs.call import Call


async def create(call: Call) -> Response:
    decoded = call.read_as(Binding)
    binding: Binding = decoded.obj
    _check(binding, call.name)

    def bind(pod: Any, current: Stored) -> Any:
        return assign(pod, binding)

    await call.store.update(call.write(part=Part.INTERNAL), bind)
    return success(201).warn(decoded.warnings)


def _check(binding: Binding, name: str) -> None:
    errors = []
    if binding.target.kind not in (None, "", "Node"):
        errors.append(not_supported("target.kind", binding.target.kind, ["Node", "<empty>"]))
    if not binding.target.name:
        errors.append(required("target.name"))
    given = binding.metadata and binding.metadata.name
    if given and given != name:
        errors.append(invalid("metadata.name", given, f"must be {name}"))
    if errors:
        raise Invalid.of(kind="Binding", group="", name=name, errors=errors)


def assign(pod: Any, binding: Binding) -> Any:
    """Raises Conflict for a pod that is going, bound already, gated, or another than the scheduler meant."""
    metadata, wanted = pod.metadata, binding.metadata
    why = ""
    if wanted and wanted.uid and wanted.uid != metadata.uid:
        why = f"Precondition failed: UID in precondition: {wanted.uid}, UID in object meta: {metadata.uid}"
    elif wanted and wanted.resourceVersion and wanted.resourceVersion != metadata.resourceVersion:
        why = (
            f"Precondition failed: ResourceVersion in precondition: {wanted.resourceVersion}, "
            f"ResourceVersion in object meta: {metadata.resourceVersion}"
        )
    elif metadata.deletionTimestamp is not None:
        why = f"pod {metadata.name} is being deleted, cannot be assigned to a host"
    elif pod.spec.nodeName:
        why = f'pod {metadata.name} is already assigned to node "{pod.spec.nodeName}"'
    elif pod.spec.schedulingGates:
        why = f"pod {metadata.name} has non-empty .spec.schedulingGates"
    if why:
        raise Conflict.of(qualified="pods/binding", name=metadata.name, why=why)
    pod.spec.nodeName = binding.target.name
    if wanted and wanted.annotations:
        metadata.annotations = {**(metadata.annotations or {}), **wanted.annotations}
    pod.status = pod.status or PodStatus()
    conditions = pod.status.conditions = pod.status.conditions or []
    meta.set_condition(conditions, PodCondition(type="PodScheduled", status="True", lastTransitionTime=meta.now()))
    return pod


BINDING = Subresource("binding", {"create": create}, takes=Binding)
