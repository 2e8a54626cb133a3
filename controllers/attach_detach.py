"""Which volume is to be at which node: VolumeAttachments follow the pods.

Kubernetes: pkg/controller/volume/attachdetach. Whoever brings a volume to a node (its attacher) keeps the
VolumeAttachment with a finalizer until the node can no longer reach the volume. So a volume is never at two nodes: the
next attachment is made only when the one before has gone from the API server.

A volume leaves a node
- when no pod that runs there names it, and the node says that it is not in use: then its kubelet has unmounted it;
- when the node is lost and its pods are given up. Kubernetes waits six minutes then, because nothing keeps a lost node
  from writing; here the attacher does.
"""

from __future__ import annotations

from lightkube.models.meta_v1 import ObjectMeta
from lightkube.models.storage_v1 import VolumeAttachmentSource, VolumeAttachmentSpec
from lightkube.resources.core_v1 import Node, PersistentVolume, Pod
from lightkube.resources.storage_v1 import CSIDriver, VolumeAttachment

from api import meta, pods, storage
from controllers import node_health, writes
from controllers.manager import Manager

MULTI_ATTACH = 'Multi-Attach error for volume "{}" '
IN_USE = "Volume is already used by pod(s) {}"
ELSEWHERE = "Volume is already exclusively attached to one node and can't be attached to another"


class AttachDetachController:
    def __init__(self, manager: Manager) -> None:
        self._client = manager.client
        self._events = manager.recorder("attachdetach-controller")
        self._pods = manager.informer(Pod)
        self._nodes = manager.informer(Node)
        self._volumes = manager.informer(PersistentVolume)
        self._drivers = manager.informer(CSIDriver)
        self._attachments = manager.informer(VolumeAttachment)
        self._pods.add_index("claim", storage.claim_keys)
        self._volumes.add_index("claim", _claim_of)
        self._attachments.add_index("volume", lambda each: [each.spec.source.persistentVolumeName or ""])
        self._attachments.add_index("node", lambda each: [each.spec.nodeName])
        self._queue = manager.controller("attach-detach", self.reconcile, workers=4)
        self._pods.on_change(self._pod_changed)
        self._nodes.on_change(self._node_changed)
        self._volumes.on_change(lambda old, new: self._queue.enqueue(meta.name(new or old)))
        self._attachments.on_change(self._attachment_changed)

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        for key in storage.claim_keys(new or old):  # type: ignore[arg-type]
            for volume in self._volumes.by_index("claim", key):
                self._queue.enqueue(meta.name(volume))

    def _node_changed(self, old: Node | None, new: Node | None) -> None:
        if is_lost(new) or _in_use(new) != _in_use(old):
            for each in self._attachments.by_index("node", meta.name(new or old)):
                self._queue.enqueue(each.spec.source.persistentVolumeName or "")

    def _attachment_changed(self, old: VolumeAttachment | None, new: VolumeAttachment | None) -> None:
        each = new or old
        assert each is not None
        self._queue.enqueue(each.spec.source.persistentVolumeName or "")
        if new is not None and _attached(new) and not (old is not None and _attached(old)):
            volume = self._volumes.get(new.spec.source.persistentVolumeName or "")
            for pod in self._users(volume) if volume is not None else []:
                if pods.node_name(pod) == new.spec.nodeName and pods.is_active(pod):
                    message = f'AttachVolume.Attach succeeded for volume "{meta.name(volume)}" '
                    self._events.event(pod, "Normal", "SuccessfulAttachVolume", message)

    def _users(self, volume: PersistentVolume) -> list[Pod]:
        """The bound pods that name its claim."""
        return [pod for key in _claim_of(volume) for pod in self._pods.by_index("claim", key) if pods.node_name(pod)]

    async def reconcile(self, key: str) -> None:
        volume = self._volumes.get(key)
        present = self._attachments.by_index("volume", key)
        users = self._users(volume) if volume is not None else []
        for each in present:
            at = self._nodes.get(each.spec.nodeName)
            if not meta.is_terminating(each) and not is_needed(storage.unique_name(each.spec.attacher, key), at, users):
                await writes.delete_quietly(self._client, each)
        if volume is None or not self._is_brought(volume):
            return
        wanted = {pods.node_name(pod): pod for pod in users if pods.is_active(pod)}
        for node, pod in wanted.items():
            if not present:
                await self._attach(volume, node)
                present = [*present, None]  # type: ignore[list-item]
            elif all(each is None or each.spec.nodeName != node for each in present):
                self._refuse(volume, pod, users)

    def _is_brought(self, volume: PersistentVolume) -> bool:
        """Whether it has to be brought to a node before it can be mounted there."""
        csi = volume.spec.csi if volume.spec else None
        driver = self._drivers.get(csi.driver) if csi else None
        return csi is not None and driver is not None and driver.spec.attachRequired is not False

    async def _attach(self, volume: PersistentVolume, node: str) -> None:
        assert volume.spec is not None and volume.spec.csi is not None
        csi = volume.spec.csi
        source = VolumeAttachmentSource(persistentVolumeName=meta.name(volume))
        spec = VolumeAttachmentSpec(attacher=csi.driver, nodeName=node, source=source)
        metadata = ObjectMeta(name=storage.attachment_name(csi.volumeHandle, csi.driver, node))
        try:
            await self._client.create(VolumeAttachment(spec, metadata=metadata))
        except Exception as error:
            if not writes.is_status(error, 409):  # the cache is behind
                raise

    def _refuse(self, volume: PersistentVolume, pod: Pod, users: list[Pod]) -> None:
        others = [meta.name(each) for each in users if pods.node_name(each) != pods.node_name(pod)]
        why = IN_USE.format(", ".join(sorted(others))) if others else ELSEWHERE
        message = MULTI_ATTACH.format(meta.name(volume)) + why
        self._events.event(pod, "Warning", "FailedAttachVolume", message)


def is_needed(volume: str, node: Node | None, users: list[Pod]) -> bool:
    """Whether a volume, by its unique name, has to stay at the node: for pods that run there, or until its kubelet has
    unmounted it, whatever became of its pods."""
    in_use = volume in _in_use(node)
    here = meta.name(node) if node is not None else ""
    return any(pods.is_active(pod) and pods.node_name(pod) == here for pod in users) or (in_use and not is_lost(node))


def is_lost(node: Node | None) -> bool:
    """Whether nobody waits for what runs on the node any longer."""
    if node is None:
        return True
    evicted = (node_health.UNREACHABLE, node_health.NOT_READY, node_health.OUT_OF_SERVICE)
    taints = (node.spec and node.spec.taints) or []
    return node_health.ready_status(node) != "True" and any(
        each.key in evicted and each.effect == "NoExecute" for each in taints
    )


def _in_use(node: Node | None) -> list[str]:
    return (node and node.status and node.status.volumesInUse) or []


def _attached(attachment: VolumeAttachment) -> bool:
    return attachment.status is not None and attachment.status.attached


def _claim_of(volume: PersistentVolume) -> list[str]:
    ref = volume.spec.claimRef if volume.spec else None
    return [f"{ref.namespace}/{ref.name}"] if ref is not None else []
