"""Namespace -> ServiceAccount `default` and ConfigMap `kube-root-ca.crt`, restored when they are lost or changed.

Kubernetes: pkg/controller/serviceaccount and pkg/controller/certificates/rootcacertpublisher.
"""

from __future__ import annotations

from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import ConfigMap, Namespace, ServiceAccount

from api import meta
from controllers import writes
from controllers.manager import Manager

DEFAULT_ACCOUNT = "default"
ROOT_CA = "kube-root-ca.crt"
ROOT_CA_KEY = "ca.crt"


class ServiceAccountController:
    """Furnishes every namespace with what its pods need to talk to the API server."""

    def __init__(self, manager: Manager, *, root_ca: str | None) -> None:
        self._client = manager.client
        self._root_ca = root_ca
        self._namespaces = manager.informer(Namespace)
        self._accounts = manager.informer(ServiceAccount)
        self._configs = manager.informer(ConfigMap)
        self._controller = manager.controller("serviceaccount", self.reconcile, workers=4)
        self._namespaces.on_change(self._namespace_changed)
        self._accounts.on_change(self._named(DEFAULT_ACCOUNT))
        self._configs.on_change(self._named(ROOT_CA))

    def _namespace_changed(self, old: Namespace | None, new: Namespace | None) -> None:
        if new is not None:
            self._controller.enqueue(meta.name(new))

    def _named(self, name: str):  # type: ignore[no-untyped-def]
        def changed(old: ServiceAccount | ConfigMap | None, new: ServiceAccount | ConfigMap | None) -> None:
            obj = new or old
            if obj is not None and meta.name(obj) == name:
                self._controller.enqueue(meta.namespace(obj))

        return changed

    async def reconcile(self, key: str) -> None:
        namespace = self._namespaces.get(key)
        if namespace is None or meta.is_terminating(namespace):
            return
        if self._accounts.get(f"{key}/{DEFAULT_ACCOUNT}") is None:
            await self._create(ServiceAccount(metadata=ObjectMeta(name=DEFAULT_ACCOUNT, namespace=key)))
        if self._root_ca is not None:
            await self._publish_root_ca(key, self._root_ca)

    async def _publish_root_ca(self, namespace: str, root_ca: str) -> None:
        data = {ROOT_CA_KEY: root_ca}
        present = self._configs.get(f"{namespace}/{ROOT_CA}")
        if present is None:
            about = "Contains a CA bundle that can be used to verify the kube-apiserver."
            metadata = ObjectMeta(name=ROOT_CA, namespace=namespace, annotations={"kubernetes.io/description": about})
            await self._create(ConfigMap(metadata=metadata, data=data))
        elif present.data != data:
            restored = meta.clone(present)
            restored.data = data
            await writes.put(self._client, restored)

    async def _create(self, obj: ServiceAccount | ConfigMap) -> None:
        """It may exist already (the cache is behind), or the namespace may be going."""
        try:
            await self._client.create(obj)
        except Exception as error:
            if not writes.is_status(error, 403, 404, 409):
                raise
