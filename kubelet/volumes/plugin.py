"""What a volume driver does on a node. Kubernetes: NodePublishVolume and NodeUnpublishVolume of the CSI."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lightkube.models.core_v1 import Volume
from lightkube.resources.core_v1 import Pod

from kubelet import limits
from kubelet.pods.env import Surroundings


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A service account token as a pod asks for it; no audience means the API server's own."""

    audience: str = ""
    seconds: int = limits.TOKEN_SECONDS


@dataclass(frozen=True, slots=True)
class Tokens:
    """Service account tokens, and the CA that signs for the API server."""

    by_request: Mapping[TokenRequest, str]
    ca: bytes


@dataclass(frozen=True, slots=True)
class Request:
    """One volume of one pod."""

    pod: Pod
    volume: Volume
    path: Path
    """Where it is to appear on the node; its parent is there."""
    around: Surroundings
    tokens: Tokens | None = None

    @property
    def group(self) -> int | None:
        """The pod's fsGroup: who may read, and write what can be written, beside the owner."""
        security = self.pod.spec.securityContext if self.pod.spec else None
        return security.fsGroup if security else None


class VolumePlugin(Protocol):
    """Blocking; both calls are repeated after a crash at any point and must then finish what was begun."""

    name: str
    """As in `kubernetes.io/<name>`; it names the directory, so a volume is torn down without its pod."""
    read_only: bool

    def setup(self, request: Request) -> None:
        """Make the volume, or bring its contents up to date. Raises ConfigError, OSError; then nothing is left."""
        ...

    def location(self, volume: Volume, path: Path) -> Path:
        """Where on the node it is: `path` for all but those that lie elsewhere."""
        ...

    def teardown(self, path: Path) -> None:
        """Remove it. Raises OSError, and then the contents are as they were."""
        ...
