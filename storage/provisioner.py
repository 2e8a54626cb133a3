"""Claims that ask for a volume of ours -> a disk and a PersistentVolume; a released volume -> neither.

Kubernetes: external-provisioner, CreateVolume and DeleteVolume of the CSI. Volumes are called after their claim's uid,
so a crash between two steps is completed by doing them again.
"""

from __future__ import annotations

import asyncio

from lightkube import ApiError
from lightkube.models.core_v1 import (
    CSIPersistentVolumeSource,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    ObjectReference,
    PersistentVolumeSpec,
    VolumeNodeAffinity,
)
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Node, PersistentVolume, PersistentVolumeClaim
from lightkube.resources.storage_v1 import StorageClass

from api import meta, storage
from client import rest
from client.config import Client
from client.controller import Controller
from client.events import EventRecorder
from client.informer import Informer
from storage.attacher import Attacher
from storage.disks import DiskError, Disks

DRIVERS = (storage.SHARED, storage.LOCAL_PATH)
HOSTNAME = "kubernetes.io/hostname"


class Provisioner:
    def __init__(self, client: Client, disks: Disks, volumes: Informer[PersistentVolume], attacher: Attacher) -> None:
        self._client = client
        self._disks = disks
        self._volumes = volumes
        self._attachments = attacher.attachments
        self.events = EventRecorder(client, storage.SHARED)
        self.claims = Informer(client, PersistentVolumeClaim)
        self.classes = Informer(client, StorageClass)
        self.controller = Controller("provisioner", self.reconcile, workers=4)
        self.claims.on_change(lambda old, new: self.controller.enqueue(meta.key(new or old)))
        volumes.on_change(lambda old, new: self.controller.enqueue(meta.key(new or old)))
        self._attachments.on_change(lambda old, new: self._unused(old) if new is None else None)

    def _unused(self, attachment: object) -> None:
        self.controller.enqueue(attachment.spec.source.persistentVolumeName or "")  # type: ignore[attr-defined]

    async def reconcile(self, key: str) -> None:
        if "/" not in key:
            await self._give_back(self._volumes.get(key))
            return
        claim = self.claims.get(key)
        if claim is None or claim.spec is None or claim.spec.volumeName or meta.is_terminating(claim):
            return
        driver = meta.annotations(claim).get(storage.PROVISIONER)
        of = self.classes.get(claim.spec.storageClassName or "")
        if driver not in DRIVERS or of is None or of.provisioner != driver:
            return
        name = f"pvc-{meta.uid(claim)}"
        if self._volumes.get(name) is None:
            await self._make(claim, of, name)

    async def _make(self, claim: PersistentVolumeClaim, of: StorageClass, name: str) -> None:
        message = f'External provisioner is provisioning volume for claim "{meta.key(claim)}"'
        self.events.event(claim, "Normal", "Provisioning", message)
        try:
            check(claim, of)
            affinity = None
            if of.provisioner == storage.LOCAL_PATH:
                affinity = await self._pinned(claim)
            else:
                await asyncio.to_thread(self._disks.create, name, storage.requested_bytes(claim))
            await self._client.create(volume_for(claim, of, name, affinity))
        except (DiskError, OSError, ApiError) as error:
            if isinstance(error, ApiError) and error.status.code == 409:
                return
            message = f'failed to provision volume with StorageClass "{meta.name(of)}": {error}'
            self.events.event(claim, "Warning", "ProvisioningFailed", message)
            if not isinstance(error, DiskError):
                raise
            return
        self.events.event(claim, "Normal", "ProvisioningSucceeded", f"Successfully provisioned volume {name}")

    async def _pinned(self, claim: PersistentVolumeClaim) -> VolumeNodeAffinity:
        """To the node the scheduler has chosen."""
        chosen = meta.annotations(claim).get(storage.SELECTED_NODE)
        node = await rest.get(self._client, Node, chosen) if chosen else None
        if node is None:
            raise DiskError("no node has been selected for it: a class of this driver must be WaitForFirstConsumer")
        host = meta.labels(node).get(HOSTNAME, meta.name(node))
        term = NodeSelectorTerm(matchExpressions=[NodeSelectorRequirement(HOSTNAME, "In", [host])])
        return VolumeNodeAffinity(required=NodeSelector([term]))

    async def _give_back(self, volume: PersistentVolume | None) -> None:
        if volume is None or volume.spec is None or volume.spec.csi is None or volume.spec.csi.driver not in DRIVERS:
            return
        is_over = volume.status is not None and volume.status.phase == "Released"
        if not is_over or volume.spec.persistentVolumeReclaimPolicy != "Delete" or meta.is_terminating(volume):
            return
        if self._attachments.by_index("volume", meta.name(volume)):
            return  # until the last node is shut out
        if volume.spec.csi.driver == storage.SHARED:
            try:
                await asyncio.to_thread(self._disks.delete, volume.spec.csi.volumeHandle)
            except DiskError as error:
                self.events.event(volume, "Warning", "VolumeFailedDelete", str(error))
                raise OSError(str(error)) from error
        await rest.delete(self._client, volume)


def check(claim: PersistentVolumeClaim, of: StorageClass) -> None:
    """Raises DiskError for what the driver cannot do. Pure."""
    assert claim.spec is not None
    if claim.spec.volumeMode == "Block":
        raise DiskError(f"{of.provisioner} has no raw block volumes")
    if claim.spec.selector is not None:
        raise DiskError("claim.Spec.Selector is not supported")
    if of.parameters:
        raise DiskError(f"{of.provisioner} knows no parameters")


def volume_for(
    claim: PersistentVolumeClaim, of: StorageClass, name: str, affinity: VolumeNodeAffinity | None
) -> PersistentVolume:
    """Kept for the claim from the first moment. Pure."""
    assert claim.spec is not None
    ref = ObjectReference("v1", kind="PersistentVolumeClaim", name=meta.name(claim), namespace=meta.namespace(claim))
    ref.uid = meta.uid(claim)
    spec = PersistentVolumeSpec(
        accessModes=claim.spec.accessModes,
        capacity={"storage": _asked(claim)},
        claimRef=ref,
        csi=CSIPersistentVolumeSource(of.provisioner, name, fsType="ext4"),
        mountOptions=of.mountOptions,
        nodeAffinity=affinity,
        persistentVolumeReclaimPolicy=of.reclaimPolicy,
        storageClassName=meta.name(of),
        volumeMode="Filesystem",
    )
    return PersistentVolume(
        metadata=ObjectMeta(name=name, annotations={storage.PROVISIONED_BY: of.provisioner}), spec=spec
    )


def _asked(claim: PersistentVolumeClaim) -> str:
    assert claim.spec is not None and claim.spec.resources is not None
    return str((claim.spec.resources.requests or {})["storage"])
