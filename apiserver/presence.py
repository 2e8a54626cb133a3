"""Which API servers there are: each keeps a Lease, and those whose Lease is renewed are the endpoints of `kubernetes`.

Kubernetes: the lease endpoint reconciler (pkg/controlplane/reconcilers/lease.go), on the identity Leases of
https://kubernetes.io/docs/concepts/architecture/leases/#api-server-identity.

Interface: `run(backend)` in a task; `withdraw(backend)` when the server stops.

Invariants
- A server counts for as long as its Lease was seen to change within its duration, on our own monotonic clock: clocks
  that disagree neither bury a server nor keep it alive.
- The last address stays: without it nobody could find the server that comes back.
- A server that cannot write to the store does not renew, so the others take it out.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable

from lightkube.models.coordination_v1 import LeaseSpec
from lightkube.models.discovery_v1 import Endpoint, EndpointConditions
from lightkube.models.meta_v1 import DeleteOptions, ObjectMeta
from lightkube.resources.coordination_v1 import Lease
from lightkube.resources.discovery_v1 import EndpointSlice

from api import meta
from api.errors import AlreadyExists, ApiStatusError, NotFound
from apiserver.backend import Backend
from apiserver.registry.store import ObjectStore, Stored
from apiserver.registry.write import Write
from apiserver.storage.base import StorageError, resource_key

log = logging.getLogger(__name__)

NAMESPACE = "kube-system"
IDENTITY = {"apiserver.kubernetes.io/identity": "kube-apiserver"}
RENEWALS = 3  # in the time a Lease lasts
WITHDRAW_SECONDS = 2.0


async def run(backend: Backend) -> None:
    """For ever."""
    await backend.cache.ready()
    presence = Presence(backend)
    while True:
        try:
            await presence.renew()
            await presence.publish()
        except (StorageError, ApiStatusError) as error:
            log.warning("cannot tell that this server is there: %s", error)
        await asyncio.sleep(backend.config.identity_lease_seconds / RENEWALS)


async def withdraw(backend: Backend) -> None:
    """Let clients go to the others at once; best effort."""
    try:
        async with asyncio.timeout(WITHDRAW_SECONDS):
            await Presence(backend).end()
    except (StorageError, ApiStatusError, TimeoutError) as error:
        log.info("this server's address stays among the endpoints for a while: %s", str(error) or "no answer")


class Presence:
    """This server among the others."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._address = backend.config.advertise_address
        self._name = f"apiserver-{self._address.replace(':', '-')}"
        self._leases = ObjectStore(backend.registry.of(Lease), backend)
        self._slices = ObjectStore(backend.registry.of(EndpointSlice), backend)
        self._seen: dict[str, tuple[int, float]] = {}  # a Lease's version, and when it was first seen

    async def renew(self) -> None:
        def renewed(lease: Lease, current: Stored) -> Lease:
            lease.spec = self._spec()
            return lease

        write = Write(self._backend, self._leases.kind, NAMESPACE, self._name)
        try:
            await self._leases.update(write, renewed)
        except NotFound:
            metadata = ObjectMeta(name=self._name, namespace=NAMESPACE, labels=dict(IDENTITY))
            await self._create(Lease(metadata=metadata, spec=self._spec()))

    async def _create(self, lease: Lease) -> None:
        try:
            await self._leases.create(Write(self._backend, self._leases.kind, NAMESPACE), lease)
        except AlreadyExists:  # the cache was behind
            log.debug("the lease %s is there already", self._name)

    def _spec(self) -> LeaseSpec:
        seconds = max(1, round(self._backend.config.identity_lease_seconds))
        return LeaseSpec(holderIdentity=self._address, leaseDurationSeconds=seconds, renewTime=meta.now_micro())

    def alive(self, now: float) -> list[str]:
        """The addresses of the servers whose Leases are fresh at a moment of the monotonic clock, this one included."""
        resource, found = self._leases.kind.qualified, {self._address}
        for entry in self._backend.cache.list(resource, NAMESPACE, tuple(IDENTITY.items())):
            version, since = self._seen.get(entry.name, (0, now))
            if version != entry.version:
                version, since = self._seen[entry.name] = entry.version, now
            spec = self._leases.kind.model.decode(entry.value).spec
            if now - since <= (spec.leaseDurationSeconds or 1) and spec.holderIdentity:
                found.add(spec.holderIdentity)
        return sorted(found)

    async def publish(self) -> None:
        """Let the endpoints be the servers that are alive."""
        await self._change(self.alive(time.monotonic()))

    async def end(self) -> None:
        others = [each for each in self._published() if each != self._address]
        if others:
            await self._change(others)
        write = Write(self._backend, self._leases.kind, NAMESPACE, self._name)
        await self._leases.delete(write, DeleteOptions())

    def _published(self) -> list[str]:
        entry = self._backend.cache.get(resource_key(self._slices.kind.qualified, "default", "kubernetes"))
        return addresses(self._slices.kind.model.decode(entry.value).endpoints) if entry else []

    async def _change(self, wanted: list[str]) -> None:
        if self._published() == wanted:
            return

        def change(old: EndpointSlice, current: Stored) -> EndpointSlice:
            ready = EndpointConditions(ready=True)
            old.endpoints = [Endpoint(addresses=[address], conditions=ready) for address in wanted]
            return old

        log.info("the API servers are %s", ", ".join(wanted))
        await self._slices.update(Write(self._backend, self._slices.kind, "default", "kubernetes"), change)


def addresses(endpoints: Iterable[Endpoint] | None) -> list[str]:
    return sorted(address for each in endpoints or () for address in each.addresses)
