"""A deleted claim stays while a pod uses it, a deleted volume while it is bound: finalizers, taken away here.

Kubernetes: pkg/controller/volume/pvcprotection and pvprotection.
"""

from __future__ import annotations

from typing import Any

from lightkube.resources.core_v1 import PersistentVolume, PersistentVolumeClaim, Pod

from api import meta, pods, storage
from controllers import writes
from controllers.manager import Manager


class VolumeProtectionController:
    def __init__(self, manager: Manager) -> None:
        self._client = manager.client
        self._claims = manager.informer(PersistentVolumeClaim)
        self._volumes = manager.informer(PersistentVolume)
        self._pods = manager.informer(Pod)
        self._pods.add_index("claim", storage.claim_keys)
        self._queue = manager.controller("volume-protection", self.reconcile, workers=2)
        self._claims.on_change(self._changed)
        self._volumes.on_change(self._changed)
        self._pods.on_change(self._pod_changed)

    def _changed(self, old: Any, new: Any) -> None:
        if new is not None and meta.is_terminating(new):
            self._queue.enqueue(meta.key(new))

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        if new is None and old is not None:
            for key in storage.claim_keys(old):
                self._queue.enqueue(key)

    async def reconcile(self, key: str) -> None:
        claim, volume = self._claims.get(key), self._volumes.get(key)
        if claim is not None:
            if not any(pods.node_name(pod) for pod in self._pods.by_index("claim", key)):
                await self._let_go(claim, storage.CLAIM_PROTECTION)
        elif volume is not None and (volume.status is None or volume.status.phase != "Bound"):
            await self._let_go(volume, storage.VOLUME_PROTECTION)

    async def _let_go(self, obj: Any, finalizer: str) -> None:
        present = meta.metadata(obj).finalizers or []
        if not meta.is_terminating(obj) or finalizer not in present:
            return
        freed = meta.clone(obj)
        meta.metadata(freed).finalizers = [each for each in present if each != finalizer]
        await writes.put(self._client, freed)
