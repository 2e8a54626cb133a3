"""The DNS' view of the cluster: the proxier's caches, with the lookups a name server needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from lightkube.resources.core_v1 import Service
from lightkube.resources.discovery_v1 import EndpointSlice

from api import meta
from api.endpoints import cluster_ip, ipv4, is_headless, service_of
from client.informer import Informer
from proxy.records import View


class ClusterView:
    """Make it before the informers run: it adds indexes to them. The slices must have the index `service`."""

    def __init__(self, services: Informer[Service], slices: Informer[EndpointSlice]) -> None:
        self._services, self._slices = services, slices
        services.add_index("cluster-ip", lambda each: filter(None, [cluster_ip(each)]))
        services.add_index("namespace", lambda each: [meta.namespace(each)])
        slices.add_index("address", _addresses)

    def view(self) -> View:
        return View(
            service=self._services.get,
            slices=lambda key: self._slices.by_index("service", key),
            has_services=lambda namespace: bool(self._services.by_index("namespace", namespace)),
            service_of_ip=lambda ip: next(iter(self._services.by_index("cluster-ip", ip)), None),
            headless_of_ip=self._headless_of_ip,
        )

    def is_ready(self) -> bool:
        """Whether the cluster is known: only then is a missing name missing."""
        return self._services.synced and self._slices.synced

    def on_change(self, callback: Callable[[], None]) -> None:
        self._services.on_change(lambda old, new: callback())
        self._slices.on_change(lambda old, new: callback())

    def _headless_of_ip(self, ip: str) -> list[Service]:
        found = (self._services.get(service_of(each)) for each in self._slices.by_index("address", ip))
        return list({meta.key(each): each for each in found if each is not None and is_headless(each)}.values())


def _addresses(endpoint_slice: EndpointSlice) -> Iterable[str]:
    return filter(None, (ipv4(each.addresses[0]) for each in endpoint_slice.endpoints or [] if each.addresses))
