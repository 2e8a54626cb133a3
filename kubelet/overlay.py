"""Keeps the pod network in step with the Node objects: this node's pod CIDR, and the other nodes' to route to."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence

from lightkube.resources.core_v1 import Node

from api import meta
from client.informer import Informer
from kubelet.links import Peer
from kubelet.network import PodNetwork

log = logging.getLogger("network")

RETRY_SECONDS = 2.0


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
        configured = ""
        while True:
            self._changed.clear()
            try:
                # Peers first: configuring without them would take away the routes a restarted kubelet finds.
                await self._network.set_peers(peers_of(self._nodes.list(), self._node_name))
                cidr = self._own_cidr()
                if cidr and cidr != configured:
                    await self._network.configure(cidr, self._pod_uids())
                    configured = cidr
            except Exception as error:  # netlink raises many kinds; the node says NotReady meanwhile
                log.error("pod network: %s", error)
                await asyncio.sleep(RETRY_SECONDS)
                continue
            await self._changed.wait()

    def _own_cidr(self) -> str:
        node = self._nodes.get(self._node_name)
        return (node.spec.podCIDR if node and node.spec else None) or ""


def peers_of(nodes: Sequence[Node], own_name: str) -> set[Peer]:
    """The other nodes' part in the pod network. Pure."""
    found = set()
    for node in nodes:
        cidr, ip = node.spec.podCIDR if node.spec else None, internal_ip(node)
        if meta.name(node) != own_name and cidr and ip:
            found.add(Peer(ip, cidr))
    return found


def internal_ip(node: Node) -> str:
    addresses = (node.status and node.status.addresses) or []
    return next((each.address for each in addresses if each.type == "InternalIP"), "")
