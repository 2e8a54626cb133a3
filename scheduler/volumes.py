"""What a pod's claims mean for where it may run, and the volumes that are made once that is known.

Kubernetes: the VolumeBinding plug-in (https://kubernetes.io/docs/concepts/storage/storage-classes/#volume-binding-mode).
A claim whose class waits for its first consumer is told the node, and its pod is bound when the claim is. Pods that
share a volume that can be at one node only run there together; Kubernetes would let them wait for an attachment that
cannot be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from lightkube.resources.core_v1 import PersistentVolume, PersistentVolumeClaim, Pod
from lightkube.resources.storage_v1 import StorageClass

from api import meta, pods, storage
from api.node_affinity import NodeTerm
from api.resource import resource_info
from api.selectors import Requirement
from client import rest
from client.config import Client
from client.informer import Informer
from scheduler.facts import NO_NEEDS, VolumeNeeds

BIND_SECONDS = 120.0
"""A decided pod waits so long for its volumes, and is then decided about anew."""
NO_PROVISIONER = "kubernetes.io/no-provisioner"
WAITING = "*"
UNBOUND = "pod has unbound immediate PersistentVolumeClaims"
ONE_POD = "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"

Terms = tuple[NodeTerm, ...]


class Volumes:
    """`changed` gets pods whose needs may be others now; `placed` tells where a pod is, or is about to be."""

    def __init__(
        self,
        client: Client,
        pods_: Informer[Pod],
        *,
        changed: Callable[[Iterable[Pod]], None],
        placed: Callable[[Pod], str],
    ) -> None:
        self._client = client
        self._claims = Informer(client, PersistentVolumeClaim)
        self._volumes = Informer(client, PersistentVolume)
        self._classes = Informer(client, StorageClass)
        self.informers: tuple[Informer[Any], ...] = (self._claims, self._volumes, self._classes)
        self._pods = pods_
        self._pods.add_index("claim", storage.claim_keys)
        self._pods.add_index("claims", lambda pod: [WAITING] if not pods.node_name(pod) and _names(pod) else [])
        self._changed = changed
        self._placed = placed
        self._news = asyncio.Event()
        self._claims.on_change(lambda old, new: self._tell(meta.key(new or old)))
        self._volumes.on_change(self._volume_changed)
        self._classes.on_change(lambda old, new: self._tell(None))

    def _volume_changed(self, old: PersistentVolume | None, new: PersistentVolume | None) -> None:
        volume = new or old
        ref = volume.spec.claimRef if volume is not None and volume.spec else None
        self._tell(f"{ref.namespace}/{ref.name}" if ref else None)

    def _tell(self, claim: str | None) -> None:
        self._news.set()
        self._news = asyncio.Event()
        concerned = self._pods.by_index("claim", claim) if claim else self._pods.by_index("claims", WAITING)
        self._changed([pod for pod in concerned if not pods.node_name(pod)])

    def pod_changed(self, pod: Pod | None) -> None:
        """It came to a node, or left one: others may wait for its volumes."""
        for key in storage.claim_keys(pod) if pod is not None else ():
            self._tell(key)

    def needs(self, pod: Pod) -> VolumeNeeds:
        names = _names(pod)
        if not names:
            return NO_NEEDS
        terms: list[Terms] = []
        unbound: list[str] = []
        for name in names:
            claim = self._claims.get(f"{meta.namespace(pod)}/{name}")
            if why := self._judge(claim, name, terms, unbound) or self._share(pod, claim, terms):
                return VolumeNeeds(refused=why)
        return VolumeNeeds("", tuple(terms), tuple(unbound))

    def _judge(
        self, claim: PersistentVolumeClaim | None, name: str, terms: list[Terms], unbound: list[str]
    ) -> str | None:
        """Adds what the claim asks for, or says why the pod can run nowhere."""
        if claim is None or claim.spec is None:
            return f'persistentvolumeclaim "{name}" not found'
        if meta.is_terminating(claim):
            return f'persistentvolumeclaim "{name}" is being deleted'
        volume = self._volumes.get(claim.spec.volumeName or "")
        if claim.status is not None and claim.status.phase == "Lost":
            return f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume "{claim.spec.volumeName}"'
        if storage.is_bound(claim):
            if volume is None:
                return f'persistentvolume "{claim.spec.volumeName}" not found'
            terms += [each for each in [_terms(volume)] if each is not None]
            return None
        of = self._classes.get(claim.spec.storageClassName or "")
        if of is None or of.volumeBindingMode != "WaitForFirstConsumer":
            return UNBOUND
        unbound.append(meta.key(claim))
        if of.provisioner == NO_PROVISIONER:
            free = (each for each in self._volumes.list() if _may_serve(each, claim))
            terms.append(tuple(term for each in free for term in _terms(each) or ()))
        return None

    def _share(self, pod: Pod, claim: PersistentVolumeClaim | None, terms: list[Terms]) -> str | None:
        """Adds where the other pods of a claim hold its volume, or says that it is not to be shared."""
        assert claim is not None and claim.spec is not None
        volume = self._volumes.get(claim.spec.volumeName or "")
        csi = volume.spec.csi if volume is not None and volume.spec else None
        others = (each for each in self._pods.by_index("claim", meta.key(claim)) if meta.uid(each) != meta.uid(pod))
        nodes = sorted({node for each in others if pods.is_active(each) and (node := self._placed(each))})
        if nodes and claim.spec.accessModes == ["ReadWriteOncePod"]:
            return ONE_POD
        if nodes and csi is not None and csi.driver == storage.SHARED:
            terms.append((NodeTerm(fields=(Requirement("metadata.name", "In", tuple(nodes)),)),))
        return None

    async def select(self, claims: Iterable[str], node: str) -> None:
        """Tell them the node, wait until they are bound. Raises TimeoutError, ApiError, httpx2.HTTPError, OSError."""
        async with asyncio.timeout(BIND_SECONDS):
            for key in claims:
                path = resource_info(PersistentVolumeClaim).path(*meta.split_key(key))
                body = {"metadata": {"annotations": {storage.SELECTED_NODE: node}}}
                await rest.request(self._client, "PATCH", path, body=body, headers=rest.MERGE_PATCH)
            while not all(self._is_bound(key) for key in claims):
                await self._news.wait()

    def _is_bound(self, key: str) -> bool:
        claim = self._claims.get(key)
        return claim is not None and storage.is_bound(claim)


def _names(pod: Pod) -> list[str]:
    return [*storage.claim_names(pod).values()]


def _terms(volume: PersistentVolume) -> Terms | None:
    """The terms of which a node must match one; None when any node will do."""
    affinity = volume.spec.nodeAffinity if volume.spec else None
    if affinity is None or affinity.required is None:
        return None
    return tuple(NodeTerm.of(each) for each in affinity.required.nodeSelectorTerms)


def _may_serve(volume: PersistentVolume, claim: PersistentVolumeClaim) -> bool:
    have, want = volume.spec, claim.spec
    assert have is not None and want is not None
    return (
        (have.storageClassName, have.claimRef) == (want.storageClassName, None)
        and set(want.accessModes or ()) <= set(have.accessModes or ())
        and storage.capacity_bytes(volume) >= storage.requested_bytes(claim)
    )
