"""The objects every cluster has: the first namespaces, and the Service `kubernetes` with its endpoints.

Interface: `await create_boot_objects(backend)`. Running it again changes nothing but a stale address.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from lightkube.models.core_v1 import ServicePort, ServiceSpec
from lightkube.models.discovery_v1 import Endpoint, EndpointConditions, EndpointPort
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Namespace, Service
from lightkube.resources.discovery_v1 import EndpointSlice

from api.errors import AlreadyExists, ApiStatusError
from apiserver.backend import Backend
from apiserver.config import Config
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
    await _ensure(backend, "default", kubernetes_service(backend.config))
    await _endpoints(backend)
    backend.booted = True


async def _ensure(backend: Backend, namespace: str, obj: Namespace | Service | EndpointSlice) -> None:
    assert obj.metadata is not None and obj.metadata.name is not None
    kind = backend.registry.of(type(obj))
    if await backend.find(kind, namespace, obj.metadata.name) is None:
        with contextlib.suppress(AlreadyExists):  # another API server was quicker
            await ObjectStore(kind, backend).create(Write(backend, kind, namespace), obj)


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
    """The slice names this server's address. With several servers on one etcd, every address stays in it."""
    wanted = kubernetes_endpoints(backend.config)
    await _ensure(backend, "default", wanted)
    address, ports = backend.config.advertise_address, wanted.ports

    def change(old: EndpointSlice, current: Stored) -> EndpointSlice:
        present = [each for each in old.endpoints or () if old.ports == ports]
        if not any(address in each.addresses for each in present):
            present.append(Endpoint(addresses=[address], conditions=EndpointConditions(ready=True)))
        old.endpoints, old.ports = present, ports
        return old

    kind = backend.registry.of(EndpointSlice)
    await ObjectStore(kind, backend).update(Write(backend, kind, "default", "kubernetes"), change)
