"""Keeps this node's NetworkPolicy rules: informers -> World -> policies.build -> the table."""

from __future__ import annotations

import asyncio
from typing import Any

from lightkube.resources.core_v1 import Namespace, Node, Pod
from lightkube.resources.networking_v1 import NetworkPolicy

from api import meta
from client.config import Client
from client.informer import Informer
from linux.nft import Ruleset
from proxy.keeper import table_keeper
from proxy.policies import TABLE, Place, World, build


class Policer:
    """One node's policies."""

    def __init__(self, client: Client, node: str, *, min_sync_seconds: float) -> None:
        self._node_name = node
        self._policies = Informer(client, NetworkPolicy)
        self._pods = Informer(client, Pod)
        self._namespaces = Informer(client, Namespace)
        self._node = Informer(client, Node, fields=f"metadata.name={node}")
        self._places: dict[str, Place] = {}
        self._keeper = table_keeper("policer", TABLE, self._wanted, min_sync_seconds=min_sync_seconds)
        self._pods.on_change(self._pod_changed)
        for informer in (self._policies, self._namespaces, self._node):
            informer.on_change(self._changed)

    async def run(self) -> None:
        """Work until cancelled."""
        informers: tuple[Informer[Any], ...] = (self._policies, self._pods, self._namespaces, self._node)
        async with asyncio.TaskGroup() as group:
            for informer in informers:
                group.create_task(informer.run())
            for informer in informers:
                await informer.wait_synced()
            await self._keeper.run()

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        """Most changes of a pod (conditions, restarts) change nothing here."""
        before = self._places.pop(meta.key(old), None) if old is not None else None
        after = Place.of(new) if new is not None else None
        if new is not None and after is not None:
            self._places[meta.key(new)] = after
        if before != after and self._policies.list():
            self._keeper.mark()

    def _changed(self, old: Any, new: Any) -> None:
        if old is None or new is None or meta.labels(old) != meta.labels(new) or _spec(old) != _spec(new):
            self._keeper.mark()

    def _wanted(self) -> Ruleset:
        node = self._node.get(self._node_name)
        return build(
            World(
                node=self._node_name,
                pod_cidr=(node.spec.podCIDR if node and node.spec else None) or "",
                policies=self._policies.list(),
                places=list(self._places.values()),
                namespaces={meta.name(each): meta.labels(each) for each in self._namespaces.list()},
            )
        )


def _spec(obj: Any) -> Any:
    return getattr(obj, "spec", None)
