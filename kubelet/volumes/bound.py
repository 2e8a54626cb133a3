"""What the claims of a pod are bound to: asked of the API server when the pod's volumes are made.

    claims(client, pod, in_use)        what is to be mounted
    give_up_lost(client, disks, node)  what is mounted and no longer ours

A node may get, and not watch, the claims, volumes and attachments that concern it; so the wait for an attachment asks
again and again, as the kubelet of Kubernetes does.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path

from lightkube.resources.core_v1 import PersistentVolume, PersistentVolumeClaim, Pod
from lightkube.resources.storage_v1 import VolumeAttachment

from api import meta, pods, storage
from client import rest
from client.config import Client
from kubelet import limits
from kubelet.pods.env import ConfigError
from kubelet.volumes import disk
from kubelet.volumes.disk import Session
from kubelet.volumes.in_use import InUse

log = logging.getLogger("volumes")


@dataclass(frozen=True, slots=True)
class Bound:
    """A claim's volume; of a network disk also how it is reached from here."""

    volume: PersistentVolume
    session: Session | None = None


async def claims(client: Client, pod: Pod, in_use: InUse) -> dict[str, Bound]:
    """By the name of the pod's volume. Raises ConfigError with Kubernetes' message, ApiError, httpx2.HTTPError."""
    return {name: await _bound(client, pod, claim, in_use) for name, claim in storage.claim_names(pod).items()}


async def _bound(client: Client, pod: Pod, name: str, in_use: InUse) -> Bound:
    claim = await rest.get(client, PersistentVolumeClaim, name, namespace=meta.namespace(pod))
    if claim is None:
        raise ConfigError(f'persistentvolumeclaim "{name}" not found')
    if not storage.is_bound(claim):
        raise ConfigError("PVC is not bound")
    assert claim.spec is not None
    volume = await rest.get(client, PersistentVolume, claim.spec.volumeName or "")
    if volume is None or not storage.belongs_to(volume, claim):
        raise ConfigError(f'PVC {meta.key(claim)} has no volume "{claim.spec.volumeName}" of its own')
    csi = volume.spec.csi if volume.spec else None
    if csi is None or csi.driver != storage.SHARED:
        return Bound(volume)
    await in_use.announce(meta.uid(pod), meta.name(volume))
    return Bound(volume, await _session(client, volume, pods.node_name(pod)))


async def give_up_lost(client: Client, disks: Path, node: str) -> None:
    """Disconnect from each disk the node has been shut out of while it could not be told. What waits for such a disk
    fails then, at once, and can be ended and unmounted. Raises ApiError, httpx2.HTTPError, OSError."""
    for place, session in disk.staged(disks).items():
        attachment = await rest.get(client, VolumeAttachment, _attachment(place.name, node))
        facts = (attachment is not None and attachment.status and attachment.status.attachmentMetadata) or {}
        is_lost = attachment is None or facts.get("key", session.key) != session.key
        if is_lost and disk.known(place) == session and await asyncio.to_thread(disk.disconnect, place):
            log.warning("shut out of disk %s: disconnected", place.name)


def _attachment(volume: str, node: str) -> str:
    return storage.attachment_name(volume, storage.SHARED, node)


async def _session(client: Client, volume: PersistentVolume, node: str) -> Session:
    """Once the volume is attached to this node."""
    deadline = asyncio.get_running_loop().time() + limits.ATTACH_SECONDS
    error = ""
    while asyncio.get_running_loop().time() < deadline:
        attachment = await rest.get(client, VolumeAttachment, _attachment(meta.name(volume), node))
        status = attachment.status if attachment is not None and not meta.is_terminating(attachment) else None
        if status is not None and status.attached:
            facts = status.attachmentMetadata or {}
            return Session(facts["address"], facts["port"], facts["key"], node)
        error = f": {status.attachError.message}" if status is not None and status.attachError else ""
        await asyncio.sleep(limits.ATTACH_RECHECK_SECONDS)
    who = f"timed out waiting for external-attacher of {storage.SHARED} CSI driver to attach volume"
    raise ConfigError(f"{who} {meta.name(volume)}{error}")
