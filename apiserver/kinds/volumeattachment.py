"""VolumeAttachments, CSIDrivers, CSINodes: which volume is at which node, and who brings it there.

Kubernetes: https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/volume-attachment-v1/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lightkube.models.storage_v1 import VolumeAttachmentStatus
from lightkube.resources.storage_v1 import CSIDriver, CSINode, VolumeAttachment

from api.errors import FieldError, required
from apiserver.registry import rules
from apiserver.registry.columns import AGE, NAME, Cell, Column, at
from apiserver.registry.kind import Kind
from apiserver.verbs.status import STATUS


def has_source(obj: Any) -> Iterator[FieldError]:
    source = obj.spec.source if obj.spec else None
    if source is not None and not source.persistentVolumeName:
        yield required("spec.source", "must specify exactly one of inlineVolumeSpec and persistentVolumeName")


def truth(path: str, default: bool) -> Cell:
    value = at(path, default)
    return lambda obj: str(bool(value(obj))).lower()


def driver_defaults(obj: Any) -> None:
    spec = obj.spec
    for name, default in (("attachRequired", True), ("podInfoOnMount", False), ("storageCapacity", False)):
        if getattr(spec, name) is None:
            setattr(spec, name, default)
    spec.fsGroupPolicy = spec.fsGroupPolicy or "ReadWriteOnceWithFSType"
    spec.volumeLifecycleModes = spec.volumeLifecycleModes or ["Persistent"]
    spec.requiresRepublish = bool(spec.requiresRepublish)


VOLUME_ATTACHMENT = Kind(
    VolumeAttachment,
    subresources=(STATUS,),
    columns=(
        NAME,
        Column("Attacher", at("spec.attacher", "")),
        Column("PV", at("spec.source.persistentVolumeName", "")),
        Column("Node", at("spec.nodeName", "")),
        Column("Attached", truth("status.attached", False)),
        AGE,
    ),
    initial_status=lambda obj: VolumeAttachmentStatus(attached=False),
    rules=(rules.required("spec.attacher"), rules.required("spec.nodeName"), has_source),
    immutable=("spec",),
)

CSI_DRIVER = Kind(
    CSIDriver,
    columns=(
        NAME,
        Column("AttachRequired", truth("spec.attachRequired", True)),
        Column("PodInfoOnMount", truth("spec.podInfoOnMount", False)),
        Column("StorageCapacity", truth("spec.storageCapacity", False)),
        Column("TokenRequests", lambda obj: "<unset>"),
        Column("RequiresRepublish", truth("spec.requiresRepublish", False)),
        Column("Modes", lambda obj: ",".join(obj.get("spec", {}).get("volumeLifecycleModes") or ["<none>"])),
        AGE,
    ),
    defaults=driver_defaults,
    rules=(rules.one_of("spec.fsGroupPolicy", "ReadWriteOnceWithFSType", "File", "None"),),
)

CSI_NODE = Kind(
    CSINode,
    columns=(NAME, Column("Drivers", lambda obj: len(obj.get("spec", {}).get("drivers") or ()), "integer"), AGE),
    rules=(rules.required("spec.drivers[*].name"), rules.required("spec.drivers[*].nodeID")),
)
