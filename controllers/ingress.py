"""Ingresses get addresses: those of the nodes, each of which serves all of them (ingress/).

Kubernetes leaves a status to whoever serves; one writer is enough, so it is not the nodes.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

from lightkube.models.networking_v1 import IngressLoadBalancerIngress, IngressLoadBalancerStatus, IngressStatus
from lightkube.resources.core_v1 import Node
from lightkube.resources.networking_v1 import Ingress, IngressClass

from api import meta
from api.ingress import is_ours
from controllers import writes
from controllers.manager import Manager

EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"


class IngressController:
    """Keeps `status.loadBalancer` of the Ingresses of our class."""

    def __init__(self, manager: Manager) -> None:
        self._client = manager.client
        self._ingresses = manager.informer(Ingress)
        self._classes = manager.informer(IngressClass)
        self._nodes = manager.informer(Node)
        self._controller = manager.controller("ingress", self.reconcile, workers=2)
        self._ingresses.on_change(lambda old, new: self._controller.enqueue(meta.key(new or old)))
        self._classes.on_change(lambda old, new: self._enqueue_all())
        self._nodes.on_change(self._node_changed)

    def _node_changed(self, old: Node | None, new: Node | None) -> None:
        if addresses(filter(None, [old])) != addresses(filter(None, [new])):
            self._enqueue_all()

    def _enqueue_all(self) -> None:
        for each in self._ingresses.list():
            self._controller.enqueue(meta.key(each))

    async def reconcile(self, key: str) -> None:
        ingress = self._ingresses.get(key)
        if ingress is None or not is_ours(ingress, {meta.name(each): each for each in self._classes.list()}):
            return
        points = [IngressLoadBalancerIngress(ip=address) for address in addresses(self._nodes.list())] or None
        present = ingress.status.loadBalancer if ingress.status else None
        if points != (present.ingress if present else None):
            changed = meta.clone(ingress)
            changed.status = IngressStatus(loadBalancer=IngressLoadBalancerStatus(ingress=points))
            await writes.put_status(self._client, changed)


def addresses(nodes: Iterable[Node]) -> list[str]:
    """The addresses of the nodes that can be sent to: external ones, else internal ones."""
    found = set()
    for node in nodes:
        conditions = (node.status and node.status.conditions) or []
        ready = any(each.type == "Ready" and each.status == "True" for each in conditions)
        if not ready or EXCLUDED in meta.labels(node) or meta.is_terminating(node):
            continue
        by_type = {each.type: each.address for each in (node.status and node.status.addresses) or []}
        found.add(by_type.get("ExternalIP") or by_type.get("InternalIP", ""))
    return sorted(found - {""}, key=ip_address)
