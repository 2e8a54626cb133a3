"""Keeps the kernel's rules equal to the API's Services and EndpointSlices.

    informers -> dirty services -> their part of the ruleset again -> merge -> difference -> one nft transaction

Invariants
- Nothing is applied before both caches are complete: a half-known cluster must not replace good rules.
- The first change after a quiet time is applied at once; during a burst, at most one transaction per
  `min_sync_seconds`, with everything that came meanwhile.
- A failed apply is logged, retried with backoff, and leaves the old rules in force.
- Losing the API server changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field, replace

from lightkube.resources.core_v1 import Node, Service
from lightkube.resources.discovery_v1 import EndpointSlice

from api import meta
from client.backoff import Backoff
from client.config import Client
from client.informer import Informer
from linux.nft import Ruleset, Table, merge
from proxy import link
from proxy.endpoints import service_of
from proxy.rules import TABLE, NodeFacts, base_rules, seniority, service_rules

CHECK_SECONDS = 30.0
"""How often the link and the table are looked after, in case something else on the host removed them."""

BACKOFF = Backoff(0.1, 5.0)

log = logging.getLogger("proxier")


@dataclass
class Health:
    """What /healthz tells."""

    started: float = field(default_factory=time.time)
    last_sync: float = 0.0
    """When the kernel last was known to hold the wanted rules; unix seconds, 0 for never."""
    pending_since: float = 0.0
    """Since when a change waits to be applied; 0 for none."""
    syncs: int = 0
    last_error: str = ""


class Proxier:
    """One node's proxy."""

    def __init__(self, client: Client, facts: NodeFacts, *, min_sync_seconds: float = 0.05) -> None:
        self.health = Health()
        self.services = Informer(client, Service)
        self.slices = Informer(client, EndpointSlice)
        self.slices.add_index("service", lambda each: [service_of(each)])
        self._node = Informer(client, Node, fields=f"metadata.name={facts.name}")
        self._facts = facts
        self._min_sync_seconds = min_sync_seconds
        self._table = Table(TABLE)
        self._parts: dict[str, Ruleset] = {}
        self._dirty: set[str] = set()
        self._suspect = False
        self._wake = asyncio.Event()
        self.services.on_change(lambda old, new: self._mark(meta.key(new or old)))
        self.slices.on_change(self._slice_changed)
        self._node.on_change(self._node_changed)

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            for informer in (self.services, self.slices, self._node):
                group.create_task(informer.run())
            group.create_task(self._sync_forever())
            group.create_task(self._check_forever())

    # What changed

    def _slice_changed(self, old: EndpointSlice | None, new: EndpointSlice | None) -> None:
        for each in (old, new):
            if each is not None:
                self._mark(service_of(each))

    def _node_changed(self, old: Node | None, new: Node | None) -> None:
        pod_cidr = (new.spec.podCIDR if new and new.spec else None) or self._facts.pod_cidr
        if pod_cidr != self._facts.pod_cidr:
            self._facts = replace(self._facts, pod_cidr=pod_cidr)
            self._mark()

    def _mark(self, service: str = "") -> None:
        if service:
            self._dirty.add(service)
        self.health.pending_since = self.health.pending_since or time.time()
        self._wake.set()

    # Into the kernel

    async def _sync_forever(self) -> None:
        await self.services.wait_synced()
        await self.slices.wait_synced()
        failures = 0
        self._mark()
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._sync()
            except OSError as error:
                self.health.last_error = str(error)
                log.warning("the rules stay as they are: %s", error)
                failures += 1
                await asyncio.sleep(BACKOFF.delay(failures))
                self._wake.set()
            else:
                failures = 0
                await asyncio.sleep(self._min_sync_seconds)

    async def _sync(self) -> None:
        started = time.perf_counter()
        if self._suspect:
            self._suspect = False
            await asyncio.to_thread(self._table.check)
        changed = sorted(self._dirty)
        wanted = self._wanted()
        if await asyncio.to_thread(self._table.apply, wanted):
            took = (time.perf_counter() - started) * 1000
            log.info("%s: in force, of %d services (%.0f ms)", _shortened(changed), len(self._parts), took)
        self.health.last_sync, self.health.last_error = time.time(), ""
        self.health.syncs += 1
        if not self._wake.is_set():
            self.health.pending_since = 0.0

    def _wanted(self) -> Ruleset:
        dirty, self._dirty = self._dirty, set()
        for key in dirty:
            service = self.services.get(key)
            if service is None:
                self._parts.pop(key, None)
            else:
                self._parts[key] = service_rules(service, self.slices.by_index("service", key), self._facts)
        known = (service for service in self.services.list() if meta.key(service) in self._parts)
        parts = (self._parts[meta.key(service)] for service in sorted(known, key=seniority))
        return merge([base_rules(self._facts), *parts])

    async def _check_forever(self) -> None:
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            try:
                await asyncio.to_thread(link.ensure, service_cidr=self._facts.service_cidr, dns_ip=self._facts.dns_ip)
            except OSError as error:
                log.warning("the link %s: %s", link.LINK, error)
            if self.health.syncs:
                self._suspect = True
                self._wake.set()


def _shortened(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if names[3:] else "") if names else "all rules"
