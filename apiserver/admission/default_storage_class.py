"""DefaultStorageClass: a claim that names no class gets the default one; and PersistentVolumeClaimResize.

Kubernetes: https://kubernetes.io/docs/concepts/storage/dynamic-provisioning/#defaulting-behavior. Of several default
classes the newest counts.
"""

from __future__ import annotations

from lightkube.resources.storage_v1 import StorageClass

from api import meta, quantity, storage
from api.errors import Forbidden
from api.resource import decoder
from apiserver.registry import fields
from apiserver.registry.plugin import Plugin
from apiserver.registry.write import Part, Write

CLASSES = "storageclasses.storage.k8s.io"
NO_RESIZE = (
    "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize"
)
_decode = decoder(StorageClass).decode


class DefaultStorageClass(Plugin):
    async def admit(self, write: Write) -> None:
        spec = write.new.spec
        if write.old is None and spec is not None and spec.storageClassName is None:
            spec.storageClassName = storage.default_class(_classes(write))

    async def validate(self, write: Write) -> None:
        if write.new is None or write.old is None or write.part is not Part.OBJECT or write.new.spec is None:
            return
        before, after = (fields.get(each, "spec.resources.requests") or {} for each in (write.old, write.new))
        if quantity.parse(str(after.get("storage", "0"))) <= quantity.parse(str(before.get("storage", "0"))):
            return
        named = (each for each in _classes(write) if meta.name(each) == write.new.spec.storageClassName)
        if not any(each.allowVolumeExpansion for each in named):
            raise Forbidden.of(qualified=write.kind.qualified, name=write.new.metadata.name or "", why=NO_RESIZE)


def _classes(write: Write) -> list[StorageClass]:
    return [_decode(entry.value) for entry in write.backend.cache.list(CLASSES)]
