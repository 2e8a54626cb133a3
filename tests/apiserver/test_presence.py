"""Which API servers the Service `kubernetes` leads to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from apiserver import boot, kinds
from apiserver.backend import Backend
from apiserver.config import Config
from apiserver.presence import Presence, addresses
from apiserver.registry.registry import Registry
from apiserver.storage.memory import MemoryStorage

A, B = "10.0.0.1", "10.0.0.2"


@pytest.fixture
async def servers() -> AsyncIterator[dict[str, Backend]]:
    """Two servers on one store."""
    storage, config = MemoryStorage(), Config(identity_lease_seconds=5)
    made = {
        address: Backend.over(storage, Registry(kinds.builtin()), replace(config, advertise_address=address))
        for address in (A, B)
    }
    tasks = [asyncio.create_task(backend.cache.run()) for backend in made.values()]
    for backend in made.values():
        await boot.create_boot_objects(backend)
    yield made
    for task in tasks:
        task.cancel()


async def endpoints(backend: Backend) -> list[str]:
    await backend.cache.fresh()
    entry = backend.cache.get("/endpointslices.discovery.k8s.io/default/kubernetes")
    assert entry is not None
    document = backend.registry.find("discovery.k8s.io", "v1", "endpointslices").model.decode(entry.value)
    return addresses(document.endpoints)


async def test_every_server_that_renews_is_an_endpoint(servers: dict[str, Backend]) -> None:
    first, second = Presence(servers[A]), Presence(servers[B])
    await first.renew()
    await second.renew()
    for backend in servers.values():
        await backend.cache.fresh()
    await first.publish()
    assert await endpoints(servers[B]) == [A, B]


async def test_a_silent_server_is_taken_out_and_comes_back(servers: dict[str, Backend]) -> None:
    first, second = Presence(servers[A]), Presence(servers[B])
    await second.renew()
    await servers[A].cache.fresh()
    now = time.monotonic()
    assert first.alive(now) == [A, B]
    assert first.alive(now + 4) == [A, B]
    assert first.alive(now + 6) == [A], "its Lease was not seen to change for longer than it lasts"
    await second.renew()
    await servers[A].cache.fresh()
    assert first.alive(now + 7) == [A, B]


async def test_a_server_that_stops_leaves_unless_it_is_the_last(servers: dict[str, Backend]) -> None:
    first, second = Presence(servers[A]), Presence(servers[B])
    for each in (first, second):
        await each.renew()
    await servers[A].cache.fresh()
    await first.publish()
    await servers[B].cache.fresh()
    await second.end()
    assert await endpoints(servers[A]) == [A]
    await first.end()
    assert await endpoints(servers[A]) == [A]
