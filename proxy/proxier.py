"""Keeps the kernel's rules equal to the API's Services and EndpointSlices.

    informers -> dirty services -> their part of the ruleset again -> merge -> difference -> one nft transaction

Invariants (and those of client/keeper.py)
- Nothing is applied before both caches are complete: a half-known cluster must not replace good rules.
- Losing the API server changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

from lightkube.resources.core_v1 import Node, Service
from lightkube.resources.discovery_v1 import EndpointSlice

from api import meta
from api.endpoints import service_of
from client.config import Client
from client.informer import Informer
from linux.nft import Ruleset, merge
from proxy import link
from proxy.keeper import table_keeper
from proxy.rules import TABLE, NodeFacts, base_rules, seniority, service_rules

LINK_CHECK_SECONDS = 30.0
"""How often the link is looked after, in case something else on the host removed it."""

log = logging.getLogger("proxier")


class Proxier:
    """One node's proxy."""

    def __init__(self, client: Client, facts: NodeFacts, *, min_sync_seconds: float = 0.05) -> None:
        self.services = Informer(client, Service)
        self.slices = Informer(client, EndpointSlice)
        self.slices.add_index("service", lambda each: [service_of(each)])
        self._node = Informer(client, Node, fields=f"metadata.name={facts.name}")
        self._facts = facts
        self._keeper = table_keeper("proxier", TABLE, self._wanted, min_sync_seconds=min_sync_seconds)
        self.health = self._keeper.health
        self._parts: dict[str, Ruleset] = {}
        self._dirty: set[str] = set()
        self.services.on_change(lambda old, new: self._mark(meta.key(new or old)))
        self.slices.on_change(self._slice_changed)
        self._node.on_change(self._node_changed)

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            for informer in (self.services, self.slices, self._node):
                group.create_task(informer.run())
            group.create_task(self._keep_link())
            await self.services.wait_synced()
            await self.slices.wait_synced()
            await self._keeper.run()

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
        self._keeper.mark()

    # Into the kernel

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

    async def _keep_link(self) -> None:
        while True:
            await asyncio.sleep(LINK_CHECK_SECONDS)
            try:
                await asyncio.to_thread(link.ensure, service_cidr=self._facts.service_cidr, dns_ip=self._facts.dns_ip)
            except OSError as error:
                log.warning("the link %s: %s", link.LINK, error)
