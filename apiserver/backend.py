"""What every handler shares: the store, its cache, the configuration."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from apiserver.auth import ServiceAccountTokens
from apiserver.storage.base import Record, Storage, resource_key
from apiserver.storage.cache import Entry, WatchCache

if TYPE_CHECKING:
    from apiserver.kubelet_client import KubeletClient

SERVICE_NETWORK = ipaddress.IPv4Network("10.96.0.0/16")
BODY_LIMIT_BYTES = 3 * 1024 * 1024
"""Kubernetes' own limit of a request body."""


@dataclass(frozen=True)
class Config:
    """The flags that handlers need; see main.py for their meaning."""

    service_network: ipaddress.IPv4Network = SERVICE_NETWORK
    node_ports: tuple[int, int] = (30000, 32767)
    advertise_address: str = "127.0.0.1"
    secure_port: int = 6443
    not_ready_toleration_seconds: int = 300
    unreachable_toleration_seconds: int = 300
    kubelet_client_certificate: Path | None = None
    kubelet_client_key: Path | None = None
    kubelet_certificate_authority: Path | None = None
    event_ttl_seconds: int = 3600


@dataclass
class Backend:
    """The store and what goes with it."""

    storage: Storage
    cache: WatchCache
    config: Config = field(default_factory=Config)
    kubelets: KubeletClient | None = None
    tokens: ServiceAccountTokens | None = None
    booted: bool = False
    """Whether the objects every cluster has are there."""

    async def find(self, resource: str, namespace: str, name: str) -> Entry | Record | None:
        """One object for the server's own decisions: from the cache, and when absent there, from the store."""
        key = resource_key(resource, namespace, name)
        return self.cache.get(key) or await self.storage.get(key)
