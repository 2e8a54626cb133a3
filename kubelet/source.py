"""Where this node's pods come from: the API server; what keeps the contract may add pods of other origin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from lightkube.resources.core_v1 import Pod

from client.config import Client
from client.informer import Change, Informer


class PodSource(Protocol):
    """Pods by `namespace/name`; a change is told after the source holds it. Kubernetes: the kubelet's PodConfig."""

    def get(self, key: str) -> Pod | None: ...

    def list(self) -> Sequence[Pod]: ...

    def on_change(self, callback: Change[Pod]) -> None: ...

    async def wait_synced(self) -> None:
        """Until every pod the source has is known: nothing may be taken for deleted before."""
        ...

    async def run(self) -> None:
        """Follow until cancelled."""
        ...


def api_server(client: Client, node_name: str) -> PodSource:
    """The pods bound to the node."""
    return Informer(client, Pod, fields=f"spec.nodeName={node_name}")
