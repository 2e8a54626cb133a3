"""PersistentVolumeClaims: storage that outlives its pods (https://kubernetes.io/docs/concepts/storage/persistent-volumes/)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lightkube.models.core_v1 import PersistentVolumeClaimStatus
from lightkube.resources.core_v1 import PersistentVolumeClaim

from api import quantity
from api.errors import FieldError, forbidden, invalid, required
from apiserver.admission.default_storage_class import DefaultStorageClass
from apiserver.admission.storage_in_use import protects
from apiserver.kinds.persistentvolume import ACCESS_MODES, access_modes, at_least_one_mode, phase
from apiserver.registry import fields, rules
from apiserver.registry.columns import AGE, NAME, Column, at
from apiserver.registry.kind import Kind
from apiserver.verbs.status import STATUS

FIXED = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"


def claim_defaults(obj: Any) -> None:
    if obj.spec is not None:
        obj.spec.volumeMode = obj.spec.volumeMode or "Filesystem"


def requested(obj: Any) -> str:
    """The storage a claim asks for, as written; empty when it asks for none."""
    return str((fields.get(obj, "spec.resources.requests") or {}).get("storage") or "")


def asks_for_storage(obj: Any) -> Iterator[FieldError]:
    if obj.spec is None:
        yield required("spec")
    elif not (text := requested(obj)):
        yield required("spec.resources[storage]")
    elif quantity.parse(text) <= 0:
        yield invalid("spec.resources[storage]", text, "must be greater than zero")


def hardly_changes(new: Any, old: Any) -> Iterator[FieldError]:
    """A claim is bound once, and what is bound may grow."""
    if new.spec is None or old.spec is None or new.spec == old.spec:
        return
    free = {"resources", "volumeAttributesClassName", *(() if old.spec.volumeName else ("volumeName",))}
    free |= set() if old.spec.storageClassName is not None else {"storageClassName"}  # a default may come later
    if any(getattr(new.spec, name) != getattr(old.spec, name) for name in set(old.spec.__struct_fields__) - free):
        yield forbidden("spec", FIXED)
    before, after = requested(old), requested(new)
    if after and before and quantity.parse(after) != quantity.parse(before):
        granted = str(((old.status and old.status.capacity) or {}).get("storage") or "0")
        if not old.status or old.status.phase != "Bound":
            yield forbidden("spec", FIXED)
        elif quantity.parse(after) < quantity.parse(granted):
            yield forbidden("spec.resources.requests.storage", "field can not be less than status.capacity")


PERSISTENT_VOLUME_CLAIM = Kind(
    PersistentVolumeClaim,
    short_names=("pvc",),
    subresources=(STATUS,),
    columns=(
        NAME,
        Column("Status", phase),
        Column("Volume", at("spec.volumeName", "")),
        Column("Capacity", lambda obj: (obj.get("status", {}).get("capacity") or {}).get("storage", "")),
        Column("Access Modes", access_modes("status.accessModes")),
        Column("StorageClass", at("spec.storageClassName", "")),
        Column("VolumeAttributesClass", at("spec.volumeAttributesClassName", "<unset>")),
        AGE,
        Column("VolumeMode", at("spec.volumeMode"), wide=True),
    ),
    defaults=claim_defaults,
    initial_status=lambda obj: PersistentVolumeClaimStatus(phase="Pending"),
    prepare_create=protects("kubernetes.io/pvc-protection"),
    admission=(DefaultStorageClass(),),
    rules=(
        asks_for_storage,
        rules.required("spec.accessModes", "at least 1 access mode is required"),
        rules.one_of("spec.accessModes[*]", *ACCESS_MODES),
        at_least_one_mode,
        rules.one_of("spec.volumeMode", "Block", "Filesystem"),
        rules.absent("spec.dataSource", "volumes are not made from others here"),
        rules.absent("spec.dataSourceRef", "volumes are not made from others here"),
    ),
    change_rules=(hardly_changes,),
)
