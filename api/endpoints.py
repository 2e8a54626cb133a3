"""Which endpoints serve a service port. Pure.

Kubernetes: EndpointSlice conditions and ProxyTerminatingEndpoints
(https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/#conditions).

Invariants
- Everything returned is checked: addresses are IPv4 unicast, ports are 1-65535 (0 only where no port was asked
  for). Whatever else a slice holds is left out, so no text of an API object can reach the kernel's rule language.
- The order depends only on the content, never on the order of slices.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from lightkube.models import core_v1, discovery_v1
from lightkube.resources.core_v1 import Service
from lightkube.resources.discovery_v1 import EndpointSlice

from api import meta

SERVICE_NAME_LABEL = "kubernetes.io/service-name"


@dataclass(frozen=True, order=True)
class Endpoint:
    """One address and port behind a service port."""

    number: int
    """The address as a number, which makes the order numeric."""
    port: int
    node: str = ""
    """The node it is on, empty if unknown (endpoints from outside the cluster)."""
    hostname: str = ""

    @property
    def ip(self) -> str:
        return str(ipaddress.IPv4Address(self.number))


def service_of(endpoint_slice: EndpointSlice) -> str:
    """The key of the service a slice belongs to, or empty."""
    name = meta.labels(endpoint_slice).get(SERVICE_NAME_LABEL, "")
    return f"{meta.namespace(endpoint_slice)}/{name}" if name else ""


def cluster_ip(service: Service) -> str:
    """The service's IPv4 cluster address, empty if it has none (headless, ExternalName, not allocated yet)."""
    spec = service.spec
    if spec is None or spec.type == "ExternalName":
        return ""
    for text in spec.clusterIPs or [spec.clusterIP or ""]:
        if address := ipv4(text):
            return address
    return ""


def is_headless(service: Service) -> bool:
    return service.spec is not None and service.spec.clusterIP == "None" and service.spec.type != "ExternalName"


def serving(
    service: Service,
    port: core_v1.ServicePort | None,
    slices: Iterable[EndpointSlice],
    *,
    node: str | None = None,
    leaving_too: bool = True,
) -> list[Endpoint]:
    """The endpoints new connections to the port go to; with `node`, only those on that node.

    Without a port (a headless service need not have any), every endpoint counts, with port 0.

    They are the ready ones. When there are none, those that still serve while they terminate stand in for them: a
    rollout that replaces every pod of a node at once then fails no request. `leaving_too=False` leaves these out.
    """
    ready: set[Endpoint] = set()
    leaving: set[Endpoint] = set()
    publish = bool(service.spec and service.spec.publishNotReadyAddresses)
    for endpoint, conditions in _of_port(port, slices):
        if node is not None and endpoint.node != node:
            continue
        if is_ready(conditions, publish_not_ready=publish):
            ready.add(endpoint)
        elif leaving_too and conditions.terminating and is_serving(conditions):
            leaving.add(endpoint)
    return sorted(_distinct(ready or leaving))


def is_ready(conditions: discovery_v1.EndpointConditions, *, publish_not_ready: bool = False) -> bool:
    """Whether the endpoint takes new connections; unknown counts as ready, as the API says."""
    ready = conditions.ready is None or conditions.ready
    return ready and (publish_not_ready or not conditions.terminating)


def is_serving(conditions: discovery_v1.EndpointConditions) -> bool:
    """Whether the endpoint answers, terminating or not."""
    return conditions.serving if conditions.serving is not None else conditions.ready is not False


def ipv4(text: str) -> str:
    """The address in its canonical form if it is an IPv4 unicast address traffic may be sent to, else empty."""
    try:
        address = ipaddress.IPv4Address(text)
    except ValueError:
        return ""
    unusable = address.is_unspecified or address.is_loopback or address.is_link_local or address.is_multicast
    return "" if unusable else str(address)


def _of_port(
    port: core_v1.ServicePort | None, slices: Iterable[EndpointSlice]
) -> Iterable[tuple[Endpoint, discovery_v1.EndpointConditions]]:
    for each in slices:
        if each.addressType != "IPv4":
            continue
        numbers = [0] if port is None else list(_numbers(port, each))
        for endpoint in each.endpoints or []:
            # Kubernetes: all addresses of an endpoint are one endpoint; consumers use the first.
            address = ipv4(endpoint.addresses[0]) if endpoint.addresses else ""
            if not address:
                continue
            conditions = endpoint.conditions or discovery_v1.EndpointConditions()
            for number in numbers:
                found = Endpoint(
                    number=int(ipaddress.IPv4Address(address)),
                    port=number,
                    node=endpoint.nodeName or "",
                    hostname=endpoint.hostname or "",
                )
                yield found, conditions


def _numbers(port: core_v1.ServicePort, endpoint_slice: EndpointSlice) -> Iterable[int]:
    """The slice's port numbers behind the service port: names and protocols match."""
    for target in endpoint_slice.ports or []:
        same = (target.name or "") == (port.name or "") and (target.protocol or "TCP") == (port.protocol or "TCP")
        if same and target.port is not None and 0 < target.port < 65536:
            yield target.port


def _distinct(endpoints: Iterable[Endpoint]) -> Iterable[Endpoint]:
    """One endpoint per address and port: slices may overlap while they are rebalanced."""
    return {(each.number, each.port): each for each in sorted(endpoints)}.values()
