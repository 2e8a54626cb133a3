"""StorageClasses: kinds of storage, and who makes volumes of them (https://kubernetes.io/docs/concepts/storage/storage-classes/)."""

from __future__ import annotations

from typing import Any

from lightkube.resources.storage_v1 import StorageClass

from api import storage
from apiserver.registry import names, rules
from apiserver.registry.columns import AGE, Column, Object, at
from apiserver.registry.kind import Kind


def defaults(obj: Any) -> None:
    obj.reclaimPolicy = obj.reclaimPolicy or "Delete"
    obj.volumeBindingMode = obj.volumeBindingMode or "Immediate"


def name(obj: Object) -> str:
    annotations = obj["metadata"].get("annotations") or {}
    return str(obj["metadata"]["name"]) + (" (default)" if annotations.get(storage.DEFAULT_CLASS) == "true" else "")


STORAGE_CLASS = Kind(
    StorageClass,
    short_names=("sc",),
    columns=(
        Column("Name", name, format="name"),
        Column("Provisioner", at("provisioner", "")),
        Column("ReclaimPolicy", at("reclaimPolicy", "")),
        Column("VolumeBindingMode", at("volumeBindingMode", "")),
        Column("AllowVolumeExpansion", lambda obj: str(bool(obj.get("allowVolumeExpansion"))).lower()),
        AGE,
    ),
    defaults=defaults,
    rules=(
        rules.required("provisioner"),
        rules.named("provisioner", names.qualified_name),
        rules.one_of("reclaimPolicy", "Delete", "Retain"),
        rules.one_of("volumeBindingMode", "Immediate", "WaitForFirstConsumer"),
    ),
    immutable=("provisioner", "parameters", "reclaimPolicy", "volumeBindingMode"),
)
