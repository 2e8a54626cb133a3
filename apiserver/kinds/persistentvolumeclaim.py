"""PersistentVolumeClaims: storage that outlives its pods (https://kubernetes.io/docs/concepts/storage/persistent-volumes/)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lightkube.models.core_v1 import PersistentVolumeClaimStatus
from lightkube.resources.core_v1 import PersistentVolumeClaim

from api.errors import FieldError, required
from apiserver.registry import fields, rules
from apiserver.registry.columns import AGE, NAME, Column, Object, at
from apiserver.registry.kind import Kind
from apiserver.verbs.status import STATUS

SHORT_MODES = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}


def claim_defaults(obj: Any) -> None:
    if obj.spec is not None:
        obj.spec.volumeMode = obj.spec.volumeMode or "Filesystem"


def asks_for_storage(obj: Any) -> Iterator[FieldError]:
    if obj.spec is None:
        yield required("spec")
    elif not (fields.get(obj, "spec.resources.requests") or {}).get("storage"):
        yield required("spec.resources[storage]")


def access_modes(obj: Object) -> str:
    modes = (obj.get("status", {}).get("accessModes")) or []
    return ",".join(short for mode, short in SHORT_MODES.items() if mode in modes)


def phase(obj: Object) -> str:
    return "Terminating" if obj["metadata"].get("deletionTimestamp") else str(at("status.phase", "")(obj))


PERSISTENT_VOLUME_CLAIM = Kind(
    PersistentVolumeClaim,
    short_names=("pvc",),
    subresources=(STATUS,),
    columns=(
        NAME,
        Column("Status", phase),
        Column("Volume", at("spec.volumeName", "")),
        Column("Capacity", lambda obj: (obj.get("status", {}).get("capacity") or {}).get("storage", "")),
        Column("Access Modes", access_modes),
        Column("StorageClass", at("spec.storageClassName", "")),
        Column("VolumeAttributesClass", at("spec.volumeAttributesClassName", "<unset>")),
        AGE,
        Column("VolumeMode", at("spec.volumeMode"), wide=True),
    ),
    defaults=claim_defaults,
    initial_status=lambda obj: PersistentVolumeClaimStatus(phase="Pending"),
    rules=(
        asks_for_storage,
        rules.required("spec.accessModes", "at least 1 access mode is required"),
        rules.one_of("spec.accessModes[*]", *SHORT_MODES),
        rules.one_of("spec.volumeMode", "Block", "Filesystem"),
    ),
    immutable=("spec.accessModes", "spec.storageClassName", "spec.selector", "spec.volumeMode"),
)
