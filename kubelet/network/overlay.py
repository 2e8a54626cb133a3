"""Keeps the pod network in step with the Node objects: this node's pod CIDR, and the other nodes' to route to."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Sequence

from lightkube.resources.core_v1 import Node

from api import meta
from client.informer import Informer
from kubelet.network.links import Peer
from kubelet.network.pod_network import PodNetwork

log = logging.getLogger("network")

RETRY_SECONDS = 2.0
CHECK_SECONDS = 10.0
"""How often links and rules are looked after, in case something else on the host removed them."""


class Overlay:
    def __init__(
        self, network: PodNetwork, nodes: Informer[Node], node_name: str, pod_uids: Callable[[], Iterable[str]]
    ) -> None:
        self._network = network
        self._nodes = nodes
        self._node_name = node_name
        self._pod_uids = pod_uids
        self._changed = asyncio.Event()
        nodes.on_change(lambda old, new: self._changed.set())

    async def run(self) -> None:
        """Until cancelled. `pod_uids` must be complete: all other pods lose their addresses and links."""
        await self._nodes.wait_synced()
        done, due = ("", frozenset[Peer]()), 0.0
        now = asyncio.get_running_loop().time
        while True:
            self._changed.clear()
            wanted = (self._own_cidr(), peers_of(self._nodes.list(), self._node_name))
            if wanted[0] and (wanted != done or now() >= due):
                try:
                    await self._network.configure(*wanted, self._pod_uids())
                except OSError as error:  # the node says NotReady meanwhile
                    log.error("pod network: %s", error)
                    await asyncio.sleep(RETRY_SECONDS)
                    continue
                done, due = wanted, now() + CHECK_SECONDS
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), CHECK_SECONDS)

    def _own_cidr(self) -> str:
        node = self._nodes.get(self._node_name)
        return (node.spec.podCIDR if node and node.spec else None) or ""


def peers_of(nodes: Sequence[Node], own_name: str) -> frozenset[Peer]:
    """The other nodes' part in the pod network. Pure."""
    others = [node for node in nodes if meta.name(node) != own_name]
    parts = [(internal_ip(node), node.spec.podCIDR if node.spec else None) for node in others]
    return frozenset(Peer(ip, cidr) for ip, cidr in parts if ip and cidr)


def internal_ip(node: Node) -> str:
    addresses = (node.status and node.status.addresses) or []
    return next((each.address for each in addresses if each.type == "InternalIP"), "")
