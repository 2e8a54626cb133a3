"""The flags that handlers need; see main.py for their meaning."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

SERVICE_NETWORK = ipaddress.IPv4Network("10.96.0.0/16")


@dataclass(frozen=True)
class Config:
    """The defaults are kube-apiserver's."""

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
    identity_lease_seconds: float = 15.0
    """For so long a server that is silent counts as being there."""
