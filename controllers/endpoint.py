"""Service + Pods -> Endpoints: the same as EndpointSlices in the form of old, for those who still read it.

Kubernetes: pkg/controller/endpoint. Endpoints have no owner reference, so they are deleted here with their Service.
"""

from __future__ import annotations

from lightkube.resources.core_v1 import Endpoints, Service

from api import meta
from controllers import endpoints, writes
from controllers.endpointslice import SelectedPods
from controllers.manager import Manager


class EndpointsController:
    """Keeps the Endpoints of every Service with a selector."""

    def __init__(self, manager: Manager, *, workers: int = 5) -> None:
        self._client = manager.client
        self._selected = SelectedPods(manager, name="endpoint", workers=workers, reconcile=self.reconcile)
        self._endpoints = manager.informer(Endpoints)
        self._bereft: set[str] = set()  # keys of Services that were seen to go
        self._endpoints.on_change(self._endpoints_changed)
        self._selected.services.on_change(self._service_changed)

    def _endpoints_changed(self, old: Endpoints | None, new: Endpoints | None) -> None:
        self._selected.loop.enqueue(meta.key(new or old))

    def _service_changed(self, old: Service | None, new: Service | None) -> None:
        if new is None and old is not None:
            self._bereft.add(meta.key(old))

    async def reconcile(self, key: str) -> None:
        service, present = self._selected.services.get(key), self._endpoints.get(key)
        if service is None:
            await self._clean_up(key, present)
            return
        self._bereft.discard(key)
        if meta.is_terminating(service) or not endpoints.wants_slices(service):
            return
        wanted = endpoints.endpoints_object(service, self._selected.of(service), present)
        if wanted is None:
            return
        try:
            await (self._client.create(wanted) if present is None else writes.put(self._client, wanted))
        except Exception as error:
            if not (writes.is_status(error, 404) or writes.namespace_is_going(error)):
                raise

    async def _clean_up(self, key: str, present: Endpoints | None) -> None:
        """Delete what a Service left behind; Endpoints made by hand before their Service wait for it."""
        if present is not None and (key in self._bereft or endpoints.is_ours(present)):
            await writes.delete_quietly(self._client, present)
        self._bereft.discard(key)
