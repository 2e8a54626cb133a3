"""Words that the parts of storage say to each other. Pure.

Kubernetes: https://kubernetes.io/docs/reference/labels-annotations-taints/ and the conventions of its CSI sidecars.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from lightkube.resources.core_v1 import PersistentVolume, PersistentVolumeClaim, Pod
from lightkube.resources.storage_v1 import StorageClass

from api import meta, quantity

SHARED = "shared.minik.dev"
"""The driver of network disks."""
LOCAL_PATH = "local-path.minik.dev"
"""The driver of directories that stay on their node."""

DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
PROVISIONER = "volume.kubernetes.io/storage-provisioner"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"
CLAIM_PROTECTION = "kubernetes.io/pvc-protection"
VOLUME_PROTECTION = "kubernetes.io/pv-protection"
ATTACHER = "external-attacher/shared-minik-dev"
"""The finalizer that keeps a VolumeAttachment until its node is shut out."""


def default_class(classes: Iterable[StorageClass]) -> str | None:
    """The class of a claim that names none: of several that are marked, the newest."""
    marked = [each for each in classes if meta.annotations(each).get(DEFAULT_CLASS) == "true"]
    newest = max((_made(each) for each in marked), default="")
    return min((meta.name(each) for each in marked if _made(each) == newest), default=None)


def _made(obj: StorageClass) -> str:
    return str(meta.metadata(obj).creationTimestamp)


def claim_names(pod: Pod) -> dict[str, str]:
    """The name of each of the pod's volumes that is a claim's, and the claim's name."""
    found = {}
    for volume in (pod.spec and pod.spec.volumes) or []:
        if volume.persistentVolumeClaim is not None:
            found[volume.name] = volume.persistentVolumeClaim.claimName
        elif volume.ephemeral is not None:
            found[volume.name] = f"{meta.name(pod)}-{volume.name}"
    return found


def claim_keys(pod: Pod) -> list[str]:
    return [f"{meta.namespace(pod)}/{name}" for name in claim_names(pod).values()]


def unique_name(driver: str, handle: str) -> str:
    """How a node's status calls a volume."""
    return f"kubernetes.io/csi/{driver}^{handle}"


def attachment_name(handle: str, driver: str, node: str) -> str:
    """As Kubernetes names the VolumeAttachment of a CSI volume."""
    return f"csi-{hashlib.sha256(f'{handle}{driver}{node}'.encode()).hexdigest()}"


def capacity_bytes(volume: PersistentVolume) -> int:
    return quantity.bytes_(str(((volume.spec and volume.spec.capacity) or {}).get("storage", "0")))


def requested_bytes(claim: PersistentVolumeClaim) -> int:
    resources = claim.spec.resources if claim.spec else None
    return quantity.bytes_(str(((resources and resources.requests) or {}).get("storage", "0")))


def is_bound(claim: PersistentVolumeClaim) -> bool:
    """Whether both sides of a binding have been written."""
    return bool(claim.spec and claim.spec.volumeName) and BIND_COMPLETED in meta.annotations(claim)


def belongs_to(volume: PersistentVolume, claim: PersistentVolumeClaim) -> bool:
    """Whether the volume is this claim's, or is kept for its name."""
    ref = volume.spec.claimRef if volume.spec else None
    if ref is None or (ref.namespace, ref.name) != (meta.namespace(claim), meta.name(claim)):
        return False
    return not ref.uid or ref.uid == meta.uid(claim)
