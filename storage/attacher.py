"""A VolumeAttachment -> a session of its disk for its node; a deleted one -> the node is shut out, then it goes.

Kubernetes: external-attacher, ControllerPublishVolume and ControllerUnpublishVolume of the CSI. The finalizer is there
before the session, so no attachment goes while its node can write.
"""

from __future__ import annotations

import logging

from lightkube import ApiError
from lightkube.models.storage_v1 import VolumeAttachmentStatus, VolumeError
from lightkube.resources.storage_v1 import VolumeAttachment

from api import meta, storage
from client import rest
from client.config import Client
from client.controller import Controller
from client.informer import Informer
from storage.disks import DiskError, Disks

log = logging.getLogger("attacher")


class Attacher:
    def __init__(self, client: Client, disks: Disks) -> None:
        self._client = client
        self._disks = disks
        self.attachments = Informer(client, VolumeAttachment)
        self.attachments.add_index("volume", lambda each: [each.spec.source.persistentVolumeName or ""])
        self.controller = Controller("attacher", self.reconcile, workers=1)  # one decides at a time
        self.attachments.on_change(self._changed)

    def _changed(self, old: VolumeAttachment | None, new: VolumeAttachment | None) -> None:
        """The others of the volume may have been waiting for this one."""
        changed = new or old
        assert changed is not None
        self.again(changed.spec.source.persistentVolumeName or "")

    def again(self, volume: str) -> None:
        for each in self.attachments.by_index("volume", volume):
            if each.spec.attacher == storage.SHARED:
                self.controller.enqueue(meta.name(each))

    async def reconcile(self, key: str) -> None:
        known = self.attachments.get(key)
        attachment = await rest.get(self._client, VolumeAttachment, key) if known is not None else None
        if attachment is None or attachment.spec.attacher != storage.SHARED:
            return
        if meta.is_terminating(attachment):
            await self._detach(attachment)
        else:
            await self._attach(attachment)

    async def _attach(self, attachment: VolumeAttachment) -> None:
        finalizers = meta.metadata(attachment).finalizers or []
        if storage.ATTACHER not in finalizers:
            attachment = await self._put_finalizers(attachment, [*finalizers, storage.ATTACHER])
        disk = attachment.spec.source.persistentVolumeName or ""
        try:
            session = await self._disks.open(disk, attachment.spec.nodeName)
        except (DiskError, OSError) as error:
            await self._put_status(
                attachment, VolumeAttachmentStatus(False, VolumeError(message=str(error), time=meta.now()))
            )
            raise OSError(str(error)) from error  # tried again later
        facts = {"address": self._disks.address, "port": str(session.port), "key": session.key}
        await self._put_status(attachment, VolumeAttachmentStatus(True, attachmentMetadata=facts))

    async def _detach(self, attachment: VolumeAttachment) -> None:
        finalizers = meta.metadata(attachment).finalizers or []
        if storage.ATTACHER not in finalizers:
            return
        disk, node = attachment.spec.source.persistentVolumeName or "", attachment.spec.nodeName
        if self._disks.user(disk) in (node, None):
            await self._disks.close(disk)
            log.info("node %s is shut out of disk %s", node, disk)
        await self._put_finalizers(attachment, [each for each in finalizers if each != storage.ATTACHER])

    async def _put_finalizers(self, attachment: VolumeAttachment, finalizers: list[str]) -> VolumeAttachment:
        changed = meta.clone(attachment)
        meta.metadata(changed).finalizers = finalizers
        try:
            return await self._client.replace(changed)
        except ApiError as error:
            if error.status.code != 404:
                raise
            return changed

    async def _put_status(self, attachment: VolumeAttachment, status: VolumeAttachmentStatus) -> None:
        known = attachment.status
        if known is not None and (known.attached, known.attachmentMetadata) == (
            status.attached,
            status.attachmentMetadata,
        ):
            return
        changed = VolumeAttachment.Status(attachment.spec, metadata=attachment.metadata, status=status)
        await self._client.replace(changed, meta.name(attachment))
