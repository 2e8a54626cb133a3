"""Namespace deleted -> everything in it deleted, then the namespace lets go.

Kubernetes: pkg/controller/namespace. Admission refuses new objects from the moment the namespace terminates, so what
the API server lists as empty stays empty.
"""

from __future__ import annotations

import asyncio

from lightkube.models.core_v1 import NamespaceSpec
from lightkube.resources.core_v1 import Namespace, Pod

from api import meta
from api.resource import ResourceInfo
from client import rest
from client.discovery import discover
from controllers import writes
from controllers.manager import Manager

FINALIZER = "kubernetes"
NEEDED_VERBS = frozenset(("deletecollection", "list"))
RETRY_SECONDS = 1.0
"""While pods end or finalizers are worked on; the end of a pod brings us back sooner."""


class NamespaceController:
    """Empties terminating namespaces."""

    def __init__(self, manager: Manager, *, workers: int = 4) -> None:
        self._client = manager.client
        self._namespaces = manager.informer(Namespace)
        self._controller = manager.controller("namespace", self.reconcile, workers=workers)
        self._namespaces.on_change(self._namespace_changed)
        manager.informer(Pod).on_change(self._pod_changed)

    def _namespace_changed(self, old: Namespace | None, new: Namespace | None) -> None:
        if new is not None and meta.is_terminating(new):
            self._controller.enqueue(meta.name(new))

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        if new is None and old is not None:
            namespace = self._namespaces.get(meta.namespace(old))
            if namespace is not None and meta.is_terminating(namespace):
                self._controller.enqueue(meta.name(namespace))

    async def reconcile(self, key: str) -> None:
        namespace = self._namespaces.get(key)
        if namespace is None or not meta.is_terminating(namespace):
            return
        finalizers = (namespace.spec.finalizers if namespace.spec else None) or []
        if FINALIZER not in finalizers:
            return
        kinds = [each.info for each in await discover(self._client) if each.verbs >= NEEDED_VERBS]
        left = await asyncio.gather(*(self._empty(kind, key) for kind in kinds if kind.namespaced))
        if any(left):
            self._controller.enqueue_after(key, RETRY_SECONDS)
            return
        released = meta.clone(namespace)
        released.spec = NamespaceSpec(finalizers=[each for each in finalizers if each != FINALIZER])
        try:
            await writes.put(self._client, released, "finalize")
        except Exception as error:
            if not writes.is_status(error, 404):
                raise

    async def _empty(self, kind: ResourceInfo, namespace: str) -> bool:
        """Delete all objects of the kind; True while there are any."""
        if not await self._any(kind, namespace):
            return False
        await rest.request(self._client, "DELETE", kind.path(namespace))
        return await self._any(kind, namespace)

    async def _any(self, kind: ResourceInfo, namespace: str) -> bool:
        objects, _, _ = await rest.list_page(
            self._client, rest.PartialObjectMetadata, namespace=namespace, params={"limit": "1"}, info=kind
        )
        return bool(objects)
