"""Services of type LoadBalancer and Ingresses get addresses: those of the nodes, which all answer for all of them.

Kubernetes leaves this to a cloud (k8s.io/cloud-provider/controllers/service). Here a node is its own load balancer: the
proxy answers on the Service's port of the node's address as soon as the status says so, HAProxy on 80 and 443.

- A port of the nodes is one claimant's, the oldest's; all Ingresses together are one. Who comes late is told by an
  Event and gets no address, and so no traffic of others. Ports that a node needs itself are nobody's.
- With externalTrafficPolicy Local only nodes with a ready pod of the Service count.
- A Service with a loadBalancerClass is another controller's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from lightkube.models.core_v1 import LoadBalancerIngress, LoadBalancerStatus, ServiceStatus
from lightkube.models.networking_v1 import IngressLoadBalancerIngress, IngressLoadBalancerStatus, IngressStatus
from lightkube.resources.core_v1 import Node, Service
from lightkube.resources.discovery_v1 import EndpointSlice
from lightkube.resources.networking_v1 import Ingress, IngressClass

from api import meta
from api.endpoints import is_ready, service_of
from api.ingress import is_ours
from controllers import writes
from controllers.manager import Manager

EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"
INGRESS_PORTS = (("TCP", 80), ("TCP", 443))
INGRESSES = "Ingresses"
OF_NODES = {
    **{("TCP", port): "ssh" for port in (22,)},
    **{("TCP", port): "the cluster" for port in (6443, 10250, 10256, 23790, 23800)},
    **{("UDP", port): "the pod network" for port in (4789, 8472)},
}
"""Whose ports of a node are never given away; nor are those of the range of node ports."""
NODE_PORTS = range(30000, 32768)
ALL = "all"

Port = tuple[str, int]
Claimant = Service | Ingress


@dataclass(frozen=True)
class Verdict:
    """The addresses for a claimant, or why it has none."""

    addresses: tuple[str, ...] = ()
    problem: str = ""


class LoadBalancerController:
    """Keeps `status.loadBalancer`. Whose turn it is depends on all, so there is one key for all."""

    def __init__(self, manager: Manager) -> None:
        self._client, self._events = manager.client, manager.recorder("service-controller")
        self._services, self._ingresses = manager.informer(Service), manager.informer(Ingress)
        self._classes, self._nodes = manager.informer(IngressClass), manager.informer(Node)
        self._slices = manager.informer(EndpointSlice)
        self._slices.add_index("balanced", lambda each: [service_of(each)])
        self._controller = manager.controller("loadbalancer", self.reconcile, workers=1)
        self._told: dict[str, str] = {}
        self._services.on_change(lambda old, new: self._look(_is_balanced(old) or _is_balanced(new)))
        self._ingresses.on_change(lambda old, new: self._look(True))
        self._classes.on_change(lambda old, new: self._look(True))
        self._nodes.on_change(lambda old, new: self._look(addresses(_some(old)) != addresses(_some(new))))
        self._slices.on_change(lambda old, new: self._look(self._is_local(service_of(new or old))))  # type: ignore[arg-type]

    def _look(self, needed: bool) -> None:
        if needed:
            self._controller.enqueue(ALL)

    def _is_local(self, key: str) -> bool:
        service = self._services.get(key)
        return _is_balanced(service) and _policy(service) == "Local"

    async def reconcile(self, key: str) -> None:
        classes = {meta.name(each): each for each in self._classes.list()}
        claimants: list[Claimant] = [each for each in self._ingresses.list() if is_ours(each, classes)]
        claimants += [each for each in self._services.list() if _is_balanced(each)]
        verdicts = decide(claimants, self._nodes.list(), self._local_nodes)
        for obj in claimants:
            await self._carry_out(obj, verdicts[_who(obj)])
        self._told = {who: told for who, told in self._told.items() if who in verdicts}

    def _local_nodes(self, service: Service) -> set[str]:
        found = [each for part in self._slices.by_index("balanced", meta.key(service)) for each in part.endpoints or []]
        return {each.nodeName or "" for each in found if each.conditions and is_ready(each.conditions)}

    async def _carry_out(self, obj: Claimant, verdict: Verdict) -> None:
        balanced = obj.status and obj.status.loadBalancer
        if verdict.addresses != tuple(each.ip for each in (balanced and balanced.ingress) or []):
            changed: Any = meta.clone(obj)
            changed.status = _status(obj, verdict.addresses)
            await writes.put_status(self._client, changed)
        who = _who(obj)
        if verdict.problem and self._told.get(who) != verdict.problem:
            self._events.event(obj, "Warning", "SyncLoadBalancerFailed", verdict.problem)
        elif verdict.addresses and self._told.get(who) != "":
            self._events.event(obj, "Normal", "EnsuredLoadBalancer", "Ensured load balancer")
        self._told[who] = verdict.problem


def decide(
    claimants: Iterable[Claimant], nodes: list[Node], local_nodes: Callable[[Service], set[str]]
) -> dict[str, Verdict]:
    """Who gets which addresses. Pure."""
    holders: dict[Port, str] = {}
    verdicts: dict[str, Verdict] = {}
    for obj in sorted(claimants, key=_seniority):
        name = INGRESSES if isinstance(obj, Ingress) else f"Service {meta.key(obj)}"
        ports = _ports(obj)
        if not _wants(obj):
            verdicts[_who(obj)] = Verdict()
        elif problem := _problem(ports, holders, name):
            verdicts[_who(obj)] = Verdict(problem=f"Error syncing load balancer: {problem}")
        else:
            holders.update(dict.fromkeys(ports, name))
            verdicts[_who(obj)] = _verdict(obj, nodes, local_nodes)
    return verdicts


def _problem(ports: Iterable[Port], holders: dict[Port, str], name: str) -> str:
    for protocol, number in ports:
        holder = OF_NODES.get((protocol, number)) or holders.get((protocol, number), name)
        if number in NODE_PORTS:
            holder = "node ports"
        if holder != name:
            return f"port {number}/{protocol} of the nodes belongs to {holder}"
    return ""


def _verdict(obj: Claimant, nodes: list[Node], local_nodes: Callable[[Service], set[str]]) -> Verdict:
    if isinstance(obj, Ingress):
        return Verdict(tuple(addresses(nodes)))
    if _policy(obj) == "Local":
        names = local_nodes(obj)
        nodes = [node for node in nodes if meta.name(node) in names]
    found = addresses(nodes)
    asked = obj.spec and obj.spec.loadBalancerIP
    if asked and asked not in found:
        return Verdict(problem=f"Error syncing load balancer: no node has the address {asked}")
    return Verdict((asked,) if asked else tuple(found))


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


def _some(node: Node | None) -> list[Node]:
    return [node] if node is not None else []


def _wants(obj: Claimant) -> bool:
    return isinstance(obj, Ingress) or (obj.spec is not None and obj.spec.type == "LoadBalancer")


def _is_balanced(service: Service | None) -> bool:
    """Ours to balance, or left with addresses of the time when it was."""
    if service is None or service.spec is None or service.spec.loadBalancerClass:
        return False
    balanced = service.status and service.status.loadBalancer
    return service.spec.type == "LoadBalancer" or bool(balanced and balanced.ingress)


def _policy(service: Service | None) -> str:
    return (service and service.spec and service.spec.externalTrafficPolicy) or "Cluster"


def _ports(obj: Claimant) -> list[Port]:
    if isinstance(obj, Ingress):
        return [*INGRESS_PORTS]
    return [(port.protocol or "TCP", port.port) for port in (obj.spec and obj.spec.ports) or []]


def _status(obj: Claimant, found: tuple[str, ...]) -> ServiceStatus | IngressStatus:
    if isinstance(obj, Ingress):
        return IngressStatus(IngressLoadBalancerStatus([IngressLoadBalancerIngress(ip=ip) for ip in found] or None))
    points = [LoadBalancerIngress(ip=ip, ipMode="VIP") for ip in found] or None
    conditions = obj.status.conditions if obj.status else None
    return ServiceStatus(conditions=conditions, loadBalancer=LoadBalancerStatus(points))


def _seniority(obj: Claimant) -> tuple[str, str]:
    created = meta.metadata(obj).creationTimestamp
    return (created.isoformat() if created else "", _who(obj))


def _who(obj: Claimant) -> str:
    return f"{type(obj).__name__} {meta.key(obj)}"
