"""Service + Pods -> EndpointSlices: which addresses serve it, and which of them are ready.

Kubernetes: pkg/controller/endpointslice. What is written is decided in endpoints.py and slicing.py.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from lightkube.resources.core_v1 import Pod, Service
from lightkube.resources.discovery_v1 import EndpointSlice

from api import meta
from client.config import Client
from client.controller import Controller
from controllers import endpoints, slicing, writes
from controllers.manager import Manager
from controllers.pod_control import all_or_first_error


class SelectedPods:
    """Services and the pods they select; brings a Service's key to the loop when what it selects changes."""

    def __init__(
        self, manager: Manager, *, name: str, workers: int, reconcile: Callable[[str], Awaitable[None]]
    ) -> None:
        self.services = manager.informer(Service)
        self.loop: Controller = manager.controller(name, reconcile, workers=workers)
        self._pods = manager.informer(Pod)
        self.services.add_index("namespace", lambda service: [meta.namespace(service)])
        self._pods.add_index("namespace", lambda pod: [meta.namespace(pod)])
        self.services.on_change(self._service_changed)
        self._pods.on_change(self._pod_changed)

    def of(self, service: Service) -> list[Pod]:
        selector = endpoints.selector(service)
        in_namespace = self._pods.by_index("namespace", meta.namespace(service))
        return [pod for pod in in_namespace if selector.matches(meta.labels(pod))]

    def _service_changed(self, old: Service | None, new: Service | None) -> None:
        self.loop.enqueue(meta.key(new or old))

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        """The Services that selected the pod before, and those that select it now."""
        pod = new or old
        if pod is None or (old is not None and new is not None and _looks(old) == _looks(new)):
            return
        for service in self.services.by_index("namespace", meta.namespace(pod)):
            if endpoints.wants_slices(service) and any(
                each is not None and endpoints.selector(service).matches(meta.labels(each)) for each in (old, new)
            ):
                self.loop.enqueue(meta.key(service))


class EndpointSliceController:
    """Keeps the slices of every Service with a selector."""

    def __init__(self, manager: Manager, *, workers: int = 5) -> None:
        self._client = manager.client
        self._selected = SelectedPods(manager, name="endpointslice", workers=workers, reconcile=self.reconcile)
        self._slices = manager.informer(EndpointSlice)
        self._slices.add_index("service", _service_key)
        self._slices.on_change(self._slice_changed)

    def _slice_changed(self, old: EndpointSlice | None, new: EndpointSlice | None) -> None:
        for key in {key for each in (old, new) if each is not None for key in _service_key(each)}:
            self._selected.loop.enqueue(key)

    async def reconcile(self, key: str) -> None:
        service = self._selected.services.get(key)
        if service is None or meta.is_terminating(service) or not endpoints.wants_slices(service):
            return  # slices of a deleted Service go with it, by their owner reference
        await carry_out(
            self._client, endpoints.plan(service, self._selected.of(service), self._slices.by_index("service", key))
        )


async def carry_out(client: Client, plan: slicing.Plan) -> None:
    """Make the writes; new places first, so that an endpoint that moves is never missing. Raises lightkube.ApiError."""
    await all_or_first_error([_create(client, each) for each in plan.create])
    await all_or_first_error([_update(client, each) for each in plan.update])
    await all_or_first_error([_delete(client, each) for each in plan.delete])


async def _create(client: Client, wanted: EndpointSlice) -> None:
    """One that exists already is ours, and our cache is behind: the watch will bring us back here."""
    try:
        await client.create(wanted)
    except Exception as error:
        if not (writes.is_status(error, 409) or writes.namespace_is_going(error)):
            raise


async def _update(client: Client, wanted: EndpointSlice) -> None:
    try:
        await writes.put(client, wanted)
    except Exception as error:
        if not writes.is_status(error, 404):
            raise


async def _delete(client: Client, present: EndpointSlice) -> None:
    await writes.delete_quietly(client, present)


def _service_key(present: EndpointSlice) -> list[str]:
    return slicing.service_key(present, endpoints.MANAGER)


def _looks(pod: Pod) -> tuple[object, ...]:
    """Everything about a pod that shows in a slice, or decides whether it is in one."""
    status = pod.status
    ready = meta.get_condition(status.conditions if status else None, "Ready")
    return (
        meta.uid(pod),
        meta.labels(pod),
        meta.is_terminating(pod),
        pod.spec and pod.spec.nodeName,
        status and status.podIP,
        status and status.phase,
        ready and ready.status,
    )
