"""Claims and volumes find each other, and what no claim has any longer is given back.

Kubernetes: pkg/controller/volume/persistentvolume. A binding is written on both sides, the volume's first, each write
compare-and-swap: a controller that died between two of them is completed by the next one.

    volume.spec.claimRef -> volume Bound -> claim.spec.volumeName -> claim Bound

Volumes are made and unmade by whom their class names (storage/provisioner.py): the claim is annotated with it.
"""

from __future__ import annotations

from collections.abc import Iterable

from lightkube.models.core_v1 import (
    ObjectReference,
    PersistentVolumeClaimStatus,
    PersistentVolumeStatus,
)
from lightkube.resources.core_v1 import Node, PersistentVolume, PersistentVolumeClaim
from lightkube.resources.storage_v1 import StorageClass

from api import meta, storage
from api.node_affinity import NodeTerm
from api.selectors import from_label_selector
from client import rest
from controllers import writes
from controllers.manager import Manager

NO_PROVISIONER = "kubernetes.io/no-provisioner"
WAITING = (
    "Waiting for a volume to be created either by the external provisioner '{}' or manually by the system "
    "administrator. If volume creation is delayed, please verify that the provisioner is running and correctly "
    "registered."
)


class VolumeBindingController:
    def __init__(self, manager: Manager) -> None:
        self._client = manager.client
        self._events = manager.recorder("persistentvolume-controller")
        self._claims = manager.informer(PersistentVolumeClaim)
        self._volumes = manager.informer(PersistentVolume)
        self._classes = manager.informer(StorageClass)
        self._nodes = manager.informer(Node)
        self._queue = manager.controller("volume-binding", self.reconcile, workers=1)  # no two claims take one volume
        self._claims.on_change(self._claim_changed)
        self._volumes.on_change(self._volume_changed)
        self._classes.on_change(lambda old, new: self._all_waiting())

    def _claim_changed(self, old: PersistentVolumeClaim | None, new: PersistentVolumeClaim | None) -> None:
        claim = new or old
        assert claim is not None
        self._queue.enqueue(meta.key(claim))
        if claim.spec and claim.spec.volumeName:
            self._queue.enqueue(claim.spec.volumeName)

    def _volume_changed(self, old: PersistentVolume | None, new: PersistentVolume | None) -> None:
        volume = new or old
        assert volume is not None
        self._queue.enqueue(meta.name(volume))
        ref = volume.spec.claimRef if volume.spec else None
        if ref is not None:
            self._queue.enqueue(f"{ref.namespace}/{ref.name}")
        else:
            self._all_waiting()

    def _all_waiting(self) -> None:
        for claim in self._claims.list():
            if not storage.is_bound(claim):
                self._queue.enqueue(meta.key(claim))

    async def reconcile(self, key: str) -> None:
        if "/" not in key:
            await self._volume(self._volumes.get(key))
            return
        claim = self._claims.get(key)
        if claim is None or (meta.is_terminating(claim) and not storage.is_bound(claim)):
            return
        if storage.is_bound(claim):
            await self._check(claim)
        else:
            await self._find(claim)

    # A claim

    async def _check(self, claim: PersistentVolumeClaim) -> None:
        """Of a bound claim, whether the volume is there and agrees."""
        assert claim.spec is not None
        volume = self._volumes.get(claim.spec.volumeName or "")
        if volume is None and await rest.get(self._client, PersistentVolume, claim.spec.volumeName or "") is not None:
            return  # the cache is behind, and will tell
        if volume is None:
            await self._lost(
                claim, "ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!"
            )
        elif volume.spec is not None and (volume.spec.claimRef is None or storage.belongs_to(volume, claim)):
            await self._bind(claim, volume)
        else:
            why = "Two claims are bound to the same volume, this one is bound incorrectly"
            await self._lost(claim, "ClaimMisbound", why)

    async def _lost(self, claim: PersistentVolumeClaim, reason: str, message: str) -> None:
        if await self._put_phase(claim, PersistentVolumeClaimStatus(phase="Lost")):
            self._events.event(claim, "Warning", reason, message)

    async def _find(self, claim: PersistentVolumeClaim) -> None:
        assert claim.spec is not None
        if claim.spec.volumeName:
            volume = self._volumes.get(claim.spec.volumeName)
            if volume is None or volume.spec is None:
                return
            if volume.spec.claimRef is not None and not storage.belongs_to(volume, claim):
                message = f'volume "{meta.name(volume)}" already bound to a different claim.'
                self._events.event(claim, "Warning", "FailedBinding", message)
                return
            await self._bind(claim, volume)
            return
        if claim.spec.storageClassName is None and (default := storage.default_class(self._classes.list())):
            given = meta.clone(claim)
            assert given.spec is not None
            given.spec.storageClassName = default  # there was none yet when the claim was made
            await writes.put(self._client, given)
            return
        of = self._classes.get(claim.spec.storageClassName or "")
        chosen = meta.annotations(claim).get(storage.SELECTED_NODE)
        kept = [each for each in self._volumes.list() if storage.belongs_to(each, claim)]
        if not kept and not chosen and of is not None and of.volumeBindingMode == "WaitForFirstConsumer":
            message = "waiting for first consumer to be created before binding"
            self._events.event(claim, "Normal", "WaitForFirstConsumer", message)
            return
        volume = best(kept or self._volumes.list(), claim, self._nodes.get(chosen) if chosen else None)
        if volume is not None:
            await self._bind(claim, volume)
        else:
            await self._provision(claim, of)

    async def _provision(self, claim: PersistentVolumeClaim, of: StorageClass | None) -> None:
        """Ask whom the class names to make one."""
        name = (claim.spec and claim.spec.storageClassName) or ""
        if not name:
            message = "no persistent volumes available for this claim and no storage class is set"
            self._events.event(claim, "Normal", "FailedBinding", message)
        elif of is None:
            message = f'storageclass.storage.k8s.io "{name}" not found'
            self._events.event(claim, "Warning", "ProvisioningFailed", message)
        elif of.provisioner != NO_PROVISIONER:
            if meta.annotations(claim).get(storage.PROVISIONER) != of.provisioner:
                asked = meta.clone(claim)
                meta.metadata(asked).annotations = {**meta.annotations(claim), storage.PROVISIONER: of.provisioner}
                await writes.put(self._client, asked)
            self._events.event(claim, "Normal", "ExternalProvisioning", WAITING.format(of.provisioner))

    async def _bind(self, claim: PersistentVolumeClaim, volume: PersistentVolume) -> None:
        """Complete what is missing of it."""
        assert claim.spec is not None and volume.spec is not None
        ref = volume.spec.claimRef
        if ref is None or ref.uid != meta.uid(claim):
            changed = meta.clone(volume)
            assert changed.spec is not None
            if ref is None:
                annotations = {**meta.annotations(volume), storage.BOUND_BY_CONTROLLER: "yes"}
                meta.metadata(changed).annotations = annotations
            changed.spec.claimRef = ObjectReference(
                "v1", kind="PersistentVolumeClaim", namespace=meta.namespace(claim), name=meta.name(claim)
            )
            changed.spec.claimRef.uid = meta.uid(claim)
            changed.spec.claimRef.resourceVersion = meta.metadata(claim).resourceVersion
            volume = await writes.put(self._client, changed)
        await self._put_volume_phase(volume, "Bound")
        if claim.spec.volumeName != meta.name(volume) or not storage.is_bound(claim):
            written = meta.clone(claim)
            assert written.spec is not None
            marks = {storage.BIND_COMPLETED: "yes"}
            if not claim.spec.volumeName:
                marks[storage.BOUND_BY_CONTROLLER] = "yes"
            written.spec.volumeName = meta.name(volume)
            meta.metadata(written).annotations = {**meta.annotations(claim), **marks}
            claim = await writes.put(self._client, written)
        assert volume.spec is not None
        capacity = {"storage": str((volume.spec.capacity or {}).get("storage", "0"))}
        status = PersistentVolumeClaimStatus(phase="Bound", accessModes=volume.spec.accessModes, capacity=capacity)
        await self._put_phase(claim, status)

    async def _put_phase(self, claim: PersistentVolumeClaim, status: PersistentVolumeClaimStatus) -> bool:
        """Whether it was another."""
        if claim.status is not None and claim.status.phase == status.phase:
            return False
        changed = meta.clone(claim)
        changed.status = status
        await writes.put_status(self._client, changed)
        return True

    # A volume

    async def _volume(self, volume: PersistentVolume | None) -> None:
        if volume is None or volume.spec is None:
            return
        ref = volume.spec.claimRef
        if ref is None or not ref.uid:
            await self._put_volume_phase(volume, "Available")
            return
        claim = self._claims.get(f"{ref.namespace}/{ref.name}")
        if claim is None or meta.uid(claim) != ref.uid:  # the cache may be behind
            claim = await rest.get(self._client, PersistentVolumeClaim, ref.name or "", namespace=ref.namespace)
        if claim is not None and meta.uid(claim) == ref.uid:
            named = claim.spec.volumeName if claim.spec else None
            if not named or named == meta.name(volume):
                return  # the claim's turn
        await self._release(volume)

    async def _release(self, volume: PersistentVolume) -> None:
        assert volume.spec is not None
        policy = volume.spec.persistentVolumeReclaimPolicy
        if policy == "Retain" or (policy == "Delete" and storage.PROVISIONED_BY in meta.annotations(volume)):
            await self._put_volume_phase(volume, "Released")
            return
        verb, what = ("recycle", "recyclable") if policy == "Recycle" else ("delete", "deletable")
        message = f"no {what} volume plugin matched"
        if await self._put_volume_phase(volume, "Failed", f"VolumeFailed{verb.title()}", message):
            self._events.event(volume, "Warning", f"VolumeFailed{verb.title()}", message)

    async def _put_volume_phase(
        self, volume: PersistentVolume, phase: str, reason: str | None = None, message: str | None = None
    ) -> bool:
        if volume.status is not None and volume.status.phase == phase:
            return False
        changed = meta.clone(volume)
        changed.status = PersistentVolumeStatus(
            phase=phase, reason=reason, message=message, lastPhaseTransitionTime=meta.now()
        )
        await writes.put_status(self._client, changed)
        return True


def best(
    volumes: Iterable[PersistentVolume], claim: PersistentVolumeClaim, node: Node | None
) -> PersistentVolume | None:
    """The smallest volume that has what the claim asks for. Pure."""
    fitting = [each for each in volumes if fits(each, claim) and (node is None or reaches(each, node))]
    return min(fitting, key=lambda each: (storage.capacity_bytes(each), meta.name(each)), default=None)


def fits(volume: PersistentVolume, claim: PersistentVolumeClaim) -> bool:
    have, want = volume.spec, claim.spec
    if have is None or want is None or meta.is_terminating(volume):
        return False
    if have.claimRef is not None and not storage.belongs_to(volume, claim):
        return False
    if have.claimRef is None and volume.status is not None and volume.status.phase not in ("Available", "Pending"):
        return False
    if want.selector is not None and not from_label_selector(want.selector).matches(meta.labels(volume)):
        return False
    return (
        (have.storageClassName or "") == (want.storageClassName or "")
        and (have.volumeMode or "Filesystem") == (want.volumeMode or "Filesystem")
        and set(want.accessModes or ()) <= set(have.accessModes or ())
        and storage.capacity_bytes(volume) >= storage.requested_bytes(claim)
    )


def reaches(volume: PersistentVolume, node: Node) -> bool:
    """Whether the volume can be used on the node."""
    affinity = volume.spec.nodeAffinity if volume.spec else None
    if affinity is None or affinity.required is None:
        return True
    terms = (NodeTerm.of(each) for each in affinity.required.nodeSelectorTerms)
    return any(term.matches(meta.name(node), meta.labels(node)) for term in terms)
