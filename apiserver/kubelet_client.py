"""The API server's own calls: to a node's kubelet, for what only the node has (container logs)."""

from __future__ import annotations

from apiserver.backend import Config


class KubeletClient:
    """HTTPS to kubelets, with the API server's client certificate."""

    def __init__(self, config: Config) -> None:
        self._config = config

    async def close(self) -> None:
        """Let go of connections."""
