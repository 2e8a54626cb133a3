"""Node -> podCIDR: each node gets a range of pod addresses of its own.

Kubernetes: pkg/controller/nodeipam (RangeAllocator).

Invariants
- What is taken is known from the Nodes alone: a restarted manager reads them all before it gives out anything.
- A range is reserved in memory before it is written, and the write is compare-and-swap: two nodes never get one
  range, and a node that has a range keeps it.
- A range is free again when its Node is gone.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator

from lightkube.models.core_v1 import NodeSpec
from lightkube.resources.core_v1 import Node

from api import meta
from controllers import writes
from controllers.manager import Manager


class Ranges:
    """Which node has which subnet of the cluster's range. No I/O."""

    def __init__(self, cluster_cidr: str, node_mask: int) -> None:
        self._cluster = ipaddress.ip_network(cluster_cidr)
        if not self._cluster.prefixlen <= node_mask <= self._cluster.max_prefixlen:
            raise ValueError(f"--node-cidr-mask-size {node_mask} does not fit into --cluster-cidr {cluster_cidr}")
        self._node_mask = node_mask
        self._owners: dict[str, str] = {}  # range -> node

    def occupy(self, node: str, ranges: Iterable[str]) -> None:
        """The node has these already."""
        for each in ranges:
            self._owners[each] = node

    def allocate(self, node: str) -> str | None:
        """The lowest free range, reserved for the node (again the same for the same node), or None."""
        for each in self._owners:
            if self._owners[each] == node:
                return each
        for candidate in self._subnets():
            if candidate not in self._owners:
                self._owners[candidate] = node
                return candidate
        return None

    def release(self, node: str) -> None:
        self._owners = {each: owner for each, owner in self._owners.items() if owner != node}

    def _subnets(self) -> Iterator[str]:
        return (str(each) for each in self._cluster.subnets(new_prefix=self._node_mask))


class NodeIpamController:
    """Gives every Node its podCIDR."""

    def __init__(self, manager: Manager, *, cluster_cidr: str, node_mask: int) -> None:
        self._client = manager.client
        self._events = manager.recorder("cidrAllocator")
        self._nodes = manager.informer(Node)
        self._ranges = Ranges(cluster_cidr, node_mask)
        self._controller = manager.controller("node-ipam", self.reconcile, workers=4)
        self._nodes.on_change(self._node_changed)

    def _node_changed(self, old: Node | None, new: Node | None) -> None:
        """Runs for all Nodes before the first reconcile, so `occupy` has seen every range that is taken."""
        if new is None:
            if old is not None:
                self._ranges.release(meta.name(old))
                self._retry_the_others()
            return
        present = pod_cidrs(new)
        if present:
            self._ranges.occupy(meta.name(new), present)
        else:
            self._controller.enqueue(meta.name(new))

    def _retry_the_others(self) -> None:
        for node in self._nodes.list():
            if not pod_cidrs(node):
                self._controller.enqueue(meta.name(node))

    async def reconcile(self, key: str) -> None:
        node = self._nodes.get(key)
        if node is None or pod_cidrs(node) or meta.is_terminating(node):
            return
        chosen = self._ranges.allocate(key)
        if chosen is None:
            self._events.event(node, "Normal", "CIDRNotAvailable", f"Node {key} status is now: CIDRNotAvailable")
            return
        wanted = meta.clone(node)
        wanted.spec = wanted.spec or NodeSpec()
        wanted.spec.podCIDR = chosen
        wanted.spec.podCIDRs = [chosen]
        try:
            await writes.put(self._client, wanted)
        except Exception as error:
            if not writes.is_status(error, 404):
                raise
            self._ranges.release(key)


def pod_cidrs(node: Node) -> list[str]:
    """The ranges the node has."""
    spec = node.spec
    if spec is None:
        return []
    return spec.podCIDRs or ([spec.podCIDR] if spec.podCIDR else [])
