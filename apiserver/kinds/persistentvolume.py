"""PersistentVolumes: pieces of storage, of the cluster as nodes are (https://kubernetes.io/docs/concepts/storage/persistent-volumes/)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lightkube.models.core_v1 import PersistentVolumeStatus
from lightkube.resources.core_v1 import PersistentVolume

from api import quantity
from api.errors import FieldError, forbidden, invalid, required
from apiserver.admission.storage_in_use import protects
from apiserver.registry import fields, rules
from apiserver.registry.columns import AGE, NAME, Cell, Column, Object, at
from apiserver.registry.kind import Kind
from apiserver.verbs.status import STATUS

ACCESS_MODES = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}
"""And how they are printed."""
_NO_SOURCES = frozenset(
    ("accessModes", "capacity", "claimRef", "mountOptions", "nodeAffinity", "persistentVolumeReclaimPolicy")
) | {"storageClassName", "volumeAttributesClassName", "volumeMode"}


def access_modes(path: str) -> Cell:
    def cell(obj: Object) -> str:
        modes = at(path, "")(obj) or ()
        return ",".join(short for mode, short in ACCESS_MODES.items() if mode in modes)

    return cell


def phase(obj: Object) -> str:
    return "Terminating" if obj["metadata"].get("deletionTimestamp") else str(at("status.phase", "")(obj))


def at_least_one_mode(obj: Any) -> Iterator[FieldError]:
    """ReadWriteOncePod stands alone."""
    modes = fields.get(obj, "spec.accessModes") or []
    if "ReadWriteOncePod" in modes and len(modes) > 1:
        yield forbidden("spec.accessModes", "may not use ReadWriteOncePod with other access modes")


def sources(spec: Any) -> list[str]:
    """The fields that say what the volume is made of."""
    return [each for each in spec.__struct_fields__ if each not in _NO_SOURCES and getattr(spec, each) is not None]


def has_source(obj: Any) -> Iterator[FieldError]:
    if obj.spec is None:
        yield required("spec")
        return
    found = sources(obj.spec)
    if not found:
        yield required("spec", "must specify a volume type")
    yield from (forbidden(f"spec.{each}", "may not specify more than 1 volume type") for each in found[1:])
    for each in (obj.spec.hostPath, obj.spec.local):
        path = f"spec.{found[0]}.path" if found else ""
        if each is not None and not each.path:
            yield required(path)
        elif each is not None and ".." in each.path.split("/"):
            yield invalid(path, each.path, "must not contain '..'")
    if obj.spec.local is not None and obj.spec.nodeAffinity is None:
        yield required("spec.nodeAffinity", "Local volume requires node affinity")


def has_room(obj: Any) -> Iterator[FieldError]:
    text = str((fields.get(obj, "spec.capacity") or {}).get("storage") or "")
    if not text:
        yield required("spec.capacity")
    elif quantity.parse(text) <= 0:
        yield invalid("spec.capacity[storage]", text, "must be greater than zero")


def same_source(new: Any, old: Any) -> Iterator[FieldError]:
    if new.spec is None or old.spec is None:
        return
    names = {*sources(new.spec), *sources(old.spec)}
    if any(getattr(new.spec, name) != getattr(old.spec, name) for name in names):
        yield forbidden("spec.persistentvolumesource", "spec.persistentvolumesource is immutable after creation")


def defaults(obj: Any) -> None:
    if obj.spec is not None:
        obj.spec.persistentVolumeReclaimPolicy = obj.spec.persistentVolumeReclaimPolicy or "Retain"
        obj.spec.volumeMode = obj.spec.volumeMode or "Filesystem"
        if obj.spec.hostPath is not None and obj.spec.hostPath.type is None:
            obj.spec.hostPath.type = ""


def claim(obj: Object) -> str:
    reference = obj.get("spec", {}).get("claimRef") or {}
    return f"{reference.get('namespace', '')}/{reference.get('name', '')}" if reference else ""


PERSISTENT_VOLUME = Kind(
    PersistentVolume,
    short_names=("pv",),
    subresources=(STATUS,),
    columns=(
        NAME,
        Column("Capacity", lambda obj: (obj.get("spec", {}).get("capacity") or {}).get("storage", "")),
        Column("Access Modes", access_modes("spec.accessModes")),
        Column("Reclaim Policy", at("spec.persistentVolumeReclaimPolicy", "")),
        Column("Status", phase),
        Column("Claim", claim),
        Column("StorageClass", at("spec.storageClassName", "")),
        Column("VolumeAttributesClass", at("spec.volumeAttributesClassName", "<unset>")),
        Column("Reason", at("status.reason", "")),
        AGE,
        Column("VolumeMode", at("spec.volumeMode", "<unset>"), wide=True),
    ),
    defaults=defaults,
    initial_status=lambda obj: PersistentVolumeStatus(phase="Pending"),
    prepare_create=protects("kubernetes.io/pv-protection"),
    rules=(
        has_room,
        rules.required("spec.accessModes"),
        rules.one_of("spec.accessModes[*]", *ACCESS_MODES),
        at_least_one_mode,
        rules.one_of("spec.persistentVolumeReclaimPolicy", "Delete", "Recycle", "Retain"),
        rules.one_of("spec.volumeMode", "Block", "Filesystem"),
        has_source,
    ),
    change_rules=(same_source, rules.immutable("spec.volumeMode")),
)
