"""ClusterIPs and node ports: each is held by at most one Service, however many API servers allocate.

Interface: `Allocator.take_address/take_port` (raise AllocationError), `free_*`, `undo`.

A held address or port is a record of its own in the store, named after it. Taking one is a create, which the store
lets only one writer win (Kubernetes' IPAddress objects of networking.k8s.io work the same way).

A server that dies between taking an address and storing the Service leaves a record nobody owns. Such a record is
taken over when its Service does not exist and it is older than any request can be.
"""

from __future__ import annotations

import contextlib
import ipaddress
import random
from datetime import timedelta
from typing import Any

import msgspec

from api import meta
from apiserver.backend import Backend
from apiserver.storage.base import KeyExists, KeyMissing, Record, VersionMismatch, resource_key

ADDRESSES = "serviceaddresses.minik.dev"
PORTS = "servicenodeports.minik.dev"
ATTEMPTS = 64
STATIC_ADDRESSES = 256
"""The lower part of the range is left to Services that ask for a certain address, as long as there is room above."""
ABANDONED = timedelta(minutes=2)


class AllocationError(Exception):
    """Not to be had; the text says why."""


class _Metadata(msgspec.Struct):
    name: str


class _Held(msgspec.Struct):
    """The record: who holds it since when."""

    metadata: _Metadata
    namespace: str
    service: str
    uid: str
    since: str


class _Meta(msgspec.Struct):
    uid: str = ""


class _Service(msgspec.Struct):
    metadata: _Meta


async def repair(backend: Backend) -> int:
    """Free what no Service holds: its writer died, or never learned what became of the write. How many were freed."""
    freed, allocator = 0, Allocator(backend)
    for resource in (ADDRESSES, PORTS):
        for entry in backend.cache.list(resource):
            record = Record(entry.key, entry.value, entry.version)
            if await allocator.is_abandoned(record):
                await allocator.delete(record)
                freed += 1
    return freed


class Allocator:
    """Takes and frees for one request. With `dry_run` it only looks."""

    def __init__(self, backend: Backend, *, dry_run: bool = False) -> None:
        self._backend = backend
        self._dry_run = dry_run
        self._taken: list[Record] = []

    async def take_address(self, wanted: str | None, service: Any) -> str:
        network = self._backend.config.service_network
        if wanted:
            self._check_address(wanted, network)
            await self._take(ADDRESSES, wanted, service, "provided IP is already allocated")
            return wanted
        first, last = 1, network.num_addresses - 2
        upper = min(STATIC_ADDRESSES, network.num_addresses // 16) if network.num_addresses > 16 else first
        for low in (max(upper, first), first):
            choice = await self._take_any(ADDRESSES, range(low, last + 1), lambda offset: str(network[offset]), service)
            if choice:
                return choice
        raise AllocationError("range is full")

    def _check_address(self, text: str, network: ipaddress.IPv4Network) -> None:
        inside = ipaddress.ip_address(text) in network
        if not inside or text in (str(network.network_address), str(network.broadcast_address)):
            why = f"the provided IP ({text}) is not in the valid range. The range of valid IPs is {network}"
            raise AllocationError(why)

    async def take_port(self, wanted: int, service: Any) -> int:
        first, last = self._backend.config.node_ports
        if wanted:
            if not first <= wanted <= last:
                why = f"provided port is not in the valid range. The range of valid ports is {first}-{last}"
                raise AllocationError(why)
            await self._take(PORTS, str(wanted), service, "provided port is already allocated")
            return wanted
        choice = await self._take_any(PORTS, range(first, last + 1), str, service)
        if not choice:
            raise AllocationError("range is full")
        return int(choice)

    async def _take_any(self, resource: str, numbers: range, write: Any, service: Any) -> str:
        """A free one by chance: so concurrent servers seldom want the same."""
        cache = self._backend.cache
        for attempt in range(ATTEMPTS):
            number = random.choice(numbers) if attempt < ATTEMPTS // 2 or len(numbers) > ATTEMPTS * 100 else None
            name = write(number) if number is not None else self._first_free(resource, numbers, write)
            if not name:
                return ""
            if cache.get(resource_key(resource, "", name)) is not None:
                continue
            try:
                await self._take(resource, name, service, "")
            except AllocationError:
                continue
            return str(name)
        return ""

    def _first_free(self, resource: str, numbers: range, write: Any) -> str:
        held = {entry.name for entry in self._backend.cache.list(resource)}
        free = [name for name in map(write, numbers) if name not in held]
        return random.choice(free) if free else ""

    async def _take(self, resource: str, name: str, service: Any, why: str) -> None:
        key = resource_key(resource, "", name)
        storage = self._backend.storage
        if self._dry_run:
            if await storage.get(key) is not None:
                raise AllocationError(why)
            return
        metadata = service.metadata
        since = meta.now().isoformat()
        held = _Held(_Metadata(name), metadata.namespace, metadata.name, metadata.uid, since)
        value = msgspec.json.encode(held)
        try:
            self._taken.append(await storage.create(key, value))
            return
        except KeyExists:
            present = await storage.get(key)
        if present is not None and not await self.is_abandoned(present):
            raise AllocationError(why)
        try:
            if present is None:
                self._taken.append(await storage.create(key, value))
            else:
                self._taken.append(await storage.update(key, value, expected=present.version))
        except (KeyExists, KeyMissing, VersionMismatch):
            raise AllocationError(why) from None

    async def is_abandoned(self, record: Record) -> bool:
        held = msgspec.json.decode(record.value, type=_Held)
        if meta.now() - ABANDONED < msgspec.convert(held.since, type(meta.now())):
            return False
        service = await self._backend.storage.get(resource_key("services", held.namespace, held.service))
        return service is None or msgspec.json.decode(service.value, type=_Service).metadata.uid != held.uid

    async def undo(self) -> None:
        """Free what this request took."""
        for record in self._taken:
            await self.delete(record)
        self._taken.clear()

    async def free_address(self, address: str, service: Any) -> None:
        await self._free(resource_key(ADDRESSES, "", address), service)

    async def free_port(self, port: int, service: Any) -> None:
        await self._free(resource_key(PORTS, "", str(port)), service)

    async def _free(self, key: str, service: Any) -> None:
        record = await self._backend.storage.get(key)
        if record is not None and msgspec.json.decode(record.value, type=_Held).uid == service.metadata.uid:
            await self.delete(record)

    async def delete(self, record: Record) -> None:
        with contextlib.suppress(KeyMissing, VersionMismatch):  # somebody else took it over
            await self._backend.storage.delete(record.key, expected=record.version)
