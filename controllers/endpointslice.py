"""Service + Pods -> EndpointSlices: which addresses serve it, and which of them are ready.

Kubernetes: pkg/controller/endpointslice. What is written is decided in endpoints.py.
"""

from __future__ import annotations

from lightkube.resources.core_v1 import Pod, Service
from lightkube.resources.discovery_v1 import EndpointSlice

from api import meta, selectors
from controllers import endpoints, writes
from controllers.manager import Manager
from controllers.pod_control import all_or_first_error


class EndpointSliceController:
    """Keeps the slices of every Service with a selector."""

    def __init__(self, manager: Manager, *, workers: int = 5) -> None:
        self._client = manager.client
        self._services = manager.informer(Service)
        self._pods = manager.informer(Pod)
        self._slices = manager.informer(EndpointSlice)
        self._slices.add_index("service", _service_key)
        self._services.add_index("namespace", lambda service: [meta.namespace(service)])
        self._pods.add_index("namespace", lambda pod: [meta.namespace(pod)])
        self._controller = manager.controller("endpointslice", self.reconcile, workers=workers)
        self._services.on_change(self._service_changed)
        self._pods.on_change(self._pod_changed)
        self._slices.on_change(self._slice_changed)

    def _service_changed(self, old: Service | None, new: Service | None) -> None:
        changed = new or old
        if changed is not None:
            self._controller.enqueue(meta.key(changed))

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        """The Services that selected the pod before, and those that select it now."""
        pod = new or old
        if pod is None or (old is not None and new is not None and _looks(old) == _looks(new)):
            return
        for service in self._services.by_index("namespace", meta.namespace(pod)):
            if endpoints.wants_slices(service) and any(
                each is not None and _selector(service).matches(meta.labels(each)) for each in (old, new)
            ):
                self._controller.enqueue(meta.key(service))

    def _slice_changed(self, old: EndpointSlice | None, new: EndpointSlice | None) -> None:
        for each in (old, new):
            if each is not None:
                for key in _service_key(each):
                    self._controller.enqueue(key)

    async def reconcile(self, key: str) -> None:
        service = self._services.get(key)
        if service is None or meta.is_terminating(service) or not endpoints.wants_slices(service):
            return  # slices of a deleted Service go with it, by their owner reference
        selector = _selector(service)
        in_namespace = self._pods.by_index("namespace", meta.namespace(service))
        selected = [pod for pod in in_namespace if selector.matches(meta.labels(pod))]
        plan = endpoints.plan(service, selected, self._slices.by_index("service", key))
        # New places first, so that a pod that moves between slices is never missing from both.
        await all_or_first_error([self._create(each) for each in plan.create])
        await all_or_first_error([self._update(each) for each in plan.update])
        await all_or_first_error([self._delete(each) for each in plan.delete])

    async def _create(self, wanted: EndpointSlice) -> None:
        """One that exists already is ours, and our cache is behind: the watch will bring us back here."""
        try:
            await self._client.create(wanted)
        except Exception as error:
            if not (writes.is_status(error, 409) or writes.namespace_is_going(error)):
                raise

    async def _update(self, wanted: EndpointSlice) -> None:
        try:
            await writes.put(self._client, wanted)
        except Exception as error:
            if not writes.is_status(error, 404):
                raise

    async def _delete(self, present: EndpointSlice) -> None:
        await writes.delete_quietly(self._client, present)


def _service_key(present: EndpointSlice) -> list[str]:
    """Index: the Service of a slice that this controller manages."""
    labels = meta.labels(present)
    if labels.get(endpoints.MANAGED_BY) != endpoints.MANAGER or endpoints.SERVICE_NAME not in labels:
        return []
    return [f"{meta.namespace(present)}/{labels[endpoints.SERVICE_NAME]}"]


def _selector(service: Service) -> selectors.LabelSelector:
    return selectors.from_map(service.spec.selector if service.spec else None)


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
