"""The objects every cluster has: the first namespaces, the Service `kubernetes` with its endpoints, the default roles.

Interface: `await create_boot_objects(backend)`. Running it again changes nothing but a stale address.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from lightkube.models.core_v1 import ServicePort, ServiceSpec
from lightkube.models.discovery_v1 import Endpoint, EndpointConditions, EndpointPort
from lightkube.models.meta_v1 import DeleteOptions, ObjectMeta
from lightkube.resources.core_v1 import Namespace, Service
from lightkube.resources.discovery_v1 import EndpointSlice

from api.errors import AlreadyExists, ApiStatusError
from apiserver.auth import default_roles
from apiserver.auth.reconcile import OtherRole, reconciled
from apiserver.backend import Backend
from apiserver.config import Config
from apiserver.kinds.priorityclass import system_classes
from apiserver.registry.store import ObjectStore, Stored
from apiserver.registry.write import Write
from apiserver.storage.base import StorageError

log = logging.getLogger(__name__)

NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
RETRY_SECONDS = 0.5


async def keep_trying(step: Callable[[], Awaitable[None]]) -> None:
    """Until the store is there."""
    while True:
        try:
            await step()
            return
        except (StorageError, ApiStatusError) as error:
            log.warning("cannot create the first objects yet: %s", error)
            await asyncio.sleep(RETRY_SECONDS)


async def create_boot_objects(backend: Backend) -> None:
    """Raises storage errors and ApiStatusError; see `keep_trying`."""
    await backend.cache.ready()
    for name in NAMESPACES:
        await _ensure(backend, "", Namespace(metadata=ObjectMeta(name=name)))
    for priority_class in system_classes():
        await _ensure(backend, "", priority_class)
    await _ensure(backend, "default", kubernetes_service(backend.config))
    await _endpoints(backend)
    await _default_roles(backend)
    await backend.cache.fresh()  # whoever sees this server ready has the rights its role gives
    backend.booted = True


async def _default_roles(backend: Backend) -> None:
    """Each as auth/reconcile.py says; all at once, so that the store commits them in a few groups."""
    await asyncio.gather(*(_default_role(backend, namespace, obj) for _, namespace, obj in default_roles.objects()))


async def _default_role(backend: Backend, namespace: str, wanted: Any) -> None:
    kind = backend.registry.of(type(wanted))
    store, name = ObjectStore(kind, backend), wanted.metadata.name
    record = await backend.find(kind, namespace, name)
    try:
        if record is not None and reconciled(wanted, kind.model.decode(record.value)) is not None:
            write = Write(backend, kind, namespace, name)
            await store.update(write, lambda old, current: reconciled(wanted, old) or old)
    except OtherRole:
        await store.delete(Write(backend, kind, namespace, name), DeleteOptions())
        record = None
    if record is None:
        await _create(backend, namespace, wanted)


async def _create(backend: Backend, namespace: str, obj: Any) -> None:
    kind = backend.registry.of(type(obj))
    with contextlib.suppress(AlreadyExists):  # another API server was quicker
        await ObjectStore(kind, backend).create(Write(backend, kind, namespace), obj)


async def _ensure(backend: Backend, namespace: str, obj: Any) -> None:
    if await backend.find(backend.registry.of(type(obj)), namespace, obj.metadata.name) is None:
        await _create(backend, namespace, obj)


def kubernetes_service(config: Config) -> Service:
    return Service(
        metadata=ObjectMeta(
            name="kubernetes", namespace="default", labels={"component": "apiserver", "provider": "kubernetes"}
        ),
        spec=ServiceSpec(
            clusterIP=str(config.service_network[1]),
            type="ClusterIP",
            ports=[ServicePort(name="https", port=443, targetPort=config.secure_port, protocol="TCP")],
        ),
    )


def kubernetes_endpoints(config: Config) -> EndpointSlice:
    return EndpointSlice(
        metadata=ObjectMeta(
            name="kubernetes", namespace="default", labels={"kubernetes.io/service-name": "kubernetes"}
        ),
        addressType="IPv4",
        endpoints=[Endpoint(addresses=[config.advertise_address], conditions=EndpointConditions(ready=True))],
        ports=[EndpointPort(name="https", port=config.secure_port, protocol="TCP")],
    )


async def _endpoints(backend: Backend) -> None:
    """The slice names the servers (see presence.py), all of which listen on the port of the one that began last."""
    wanted = kubernetes_endpoints(backend.config)
    await _ensure(backend, "default", wanted)

    def change(old: EndpointSlice, current: Stored) -> EndpointSlice:
        if old.ports != wanted.ports:
            old.endpoints, old.ports = wanted.endpoints, wanted.ports
        return old

    kind = backend.registry.of(EndpointSlice)
    await ObjectStore(kind, backend).update(Write(backend, kind, "default", "kubernetes"), change)
