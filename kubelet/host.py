"""What all pods of a node share."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from client.config import Client
from client.events import EventRecorder
from kubelet import limits
from kubelet.images import Images
from kubelet.network.pod_network import PodNetwork
from kubelet.objects import Objects
from kubelet.pods.container_spec import ClusterDns
from kubelet.pods.handlers import Handlers
from kubelet.runtime.base import Runtime
from kubelet.volumes.manager import Volumes


@dataclass(frozen=True, slots=True)
class Host:
    client: Client
    runtime: Runtime
    network: PodNetwork
    volumes: Volumes
    objects: Objects
    images: Images
    handlers: Handlers
    recorder: EventRecorder
    node_ip: str
    dns: ClusterDns
    resolv_conf: str
    """The node's own, for pods with dnsPolicy Default."""
    memory_bytes: int
    allocatable: Mapping[str, str] = field(default_factory=dict)
    status_lane: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(limits.STATUS_WRITES))
    """Many pods that change at once share a few connections: each one more makes every request dearer."""
