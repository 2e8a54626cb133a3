"""Pods with generic ephemeral volumes -> a claim for each, owned by the pod and gone with it.

Kubernetes: pkg/controller/volume/ephemeral.
"""

from __future__ import annotations

from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import PersistentVolumeClaim, Pod

from api import meta, pods, storage
from controllers import writes
from controllers.manager import Manager


class EphemeralVolumeController:
    def __init__(self, manager: Manager) -> None:
        self._client = manager.client
        self._events = manager.recorder("ephemeral_volume")
        self._pods = manager.informer(Pod)
        self._claims = manager.informer(PersistentVolumeClaim)
        self._pods.add_index("claim", storage.claim_keys)
        self._queue = manager.controller("ephemeral-volume", self.reconcile, workers=4)
        self._pods.on_change(self._pod_changed)
        self._claims.on_change(self._claim_changed)

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        if new is not None and any(each.ephemeral for each in (new.spec and new.spec.volumes) or ()):
            self._queue.enqueue(meta.key(new))

    def _claim_changed(self, old: PersistentVolumeClaim | None, new: PersistentVolumeClaim | None) -> None:
        if new is None and old is not None:
            for pod in self._pods.by_index("claim", meta.key(old)):
                self._pod_changed(None, pod)

    async def reconcile(self, key: str) -> None:
        pod = self._pods.get(key)
        if pod is None or not pods.is_active(pod):
            return
        for name, claim in wanted(pod).items():
            present = self._claims.get(meta.key(claim))
            if present is None:
                await self._make(pod, name, claim)
            elif not meta.is_controlled_by(present, pod):
                raise ValueError(f"PVC {meta.key(claim)} was not created for pod {key} (pod is not owner)")

    async def _make(self, pod: Pod, name: str, claim: PersistentVolumeClaim) -> None:
        try:
            await self._client.create(claim)
        except Exception as error:
            if writes.namespace_is_going(error):
                return
            if not writes.is_status(error, 409):
                message = f"ephemeral volume {name}: create PVC {meta.name(claim)}: {error}"
                self._events.event(pod, "Warning", "FailedBinding", message)
            raise


def wanted(pod: Pod) -> dict[str, PersistentVolumeClaim]:
    """The claims of the pod's own volumes, by the volume's name. Pure."""
    found = {}
    for volume in (pod.spec and pod.spec.volumes) or []:
        template = volume.ephemeral.volumeClaimTemplate if volume.ephemeral else None
        if template is not None:
            about = template.metadata or ObjectMeta()
            found[volume.name] = PersistentVolumeClaim(
                metadata=ObjectMeta(
                    name=storage.claim_names(pod)[volume.name],
                    namespace=meta.namespace(pod),
                    labels=about.labels,
                    annotations=about.annotations,
                    ownerReferences=[meta.owner_reference(pod)],
                ),
                spec=meta.clone(template.spec),
            )
    return found
