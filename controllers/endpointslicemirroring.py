"""Endpoints made by hand, for a Service without a selector -> EndpointSlices, which is what proxies read.

Kubernetes: pkg/controller/endpointslicemirroring.
"""

from __future__ import annotations

from collections.abc import Sequence

from lightkube.models.core_v1 import EndpointAddress
from lightkube.models.discovery_v1 import Endpoint, EndpointConditions
from lightkube.resources.core_v1 import Endpoints, Service
from lightkube.resources.discovery_v1 import EndpointSlice

from api import meta
from controllers import slicing
from controllers.endpointslice import carry_out
from controllers.manager import Manager

MANAGER = "endpointslicemirroring-controller.k8s.io"
SKIP_MIRROR = "endpointslice.kubernetes.io/skip-mirror"
LEADER = "control-plane.alpha.kubernetes.io/leader"
NOT_COPIED = ("kubectl.kubernetes.io/last-applied-configuration", "endpoints.kubernetes.io/last-change-trigger-time")
MAX_ADDRESSES = 1000
"""Of a subset; more are not mirrored (--mirroring-max-endpoints-per-subset)."""


class EndpointSliceMirroringController:
    """Keeps the slices of hand-made Endpoints."""

    def __init__(self, manager: Manager, *, workers: int = 5) -> None:
        self._client = manager.client
        self._services = manager.informer(Service)
        self._endpoints = manager.informer(Endpoints)
        self._slices = manager.informer(EndpointSlice)
        self._slices.add_index("mirrored", _service_key)
        self._controller = manager.controller("endpointslicemirroring", self.reconcile, workers=workers)
        self._services.on_change(self._changed)
        self._endpoints.on_change(self._changed)
        self._slices.on_change(self._slice_changed)

    def _changed(self, old: Service | Endpoints | None, new: Service | Endpoints | None) -> None:
        self._controller.enqueue(meta.key(new or old))

    def _slice_changed(self, old: EndpointSlice | None, new: EndpointSlice | None) -> None:
        for key in {key for each in (old, new) if each is not None for key in _service_key(each)}:
            self._controller.enqueue(key)

    async def reconcile(self, key: str) -> None:
        endpoints, service = self._endpoints.get(key), self._services.get(key)
        present = self._slices.by_index("mirrored", key)
        if endpoints is None or service is None or not wants_mirror(endpoints, service):
            await carry_out(self._client, slicing.Plan(delete=present))
            return
        await carry_out(self._client, plan(endpoints, present))


def wants_mirror(endpoints: Endpoints, service: Service) -> bool:
    """Whether nobody else makes slices for it. Pure."""
    return (
        not meta.is_terminating(endpoints)
        and not (service.spec and service.spec.selector)
        and meta.labels(endpoints).get(SKIP_MIRROR) != "true"
        and LEADER not in meta.annotations(endpoints)
    )


def plan(endpoints: Endpoints, present: Sequence[EndpointSlice]) -> slicing.Plan:
    """What to write so that the slices show what the Endpoints say. Pure."""
    wanted: dict[slicing.Shape, list[Endpoint]] = {}
    for subset in endpoints.subsets or ():
        addresses = [(each, True) for each in subset.addresses or ()]
        addresses += [(each, False) for each in subset.notReadyAddresses or ()]
        for address, ready in addresses[:MAX_ADDRESSES]:
            family = "IPv6" if ":" in address.ip else "IPv4"
            wanted.setdefault((family, slicing.ports_of(subset.ports)), []).append(_endpoint(address, ready=ready))
    labels = meta.labels(endpoints) | {slicing.SERVICE_NAME: meta.name(endpoints), slicing.MANAGED_BY: MANAGER}
    annotations = {key: text for key, text in meta.annotations(endpoints).items() if key not in NOT_COPIED}
    return slicing.plan(slicing.Owner(endpoints, labels, annotations), wanted, present)


def _endpoint(address: EndpointAddress, *, ready: bool) -> Endpoint:
    return Endpoint(
        addresses=[address.ip],
        conditions=EndpointConditions(ready=ready),
        hostname=address.hostname,
        nodeName=address.nodeName,
        targetRef=address.targetRef,
    )


def _service_key(present: EndpointSlice) -> list[str]:
    return slicing.service_key(present, MANAGER)
