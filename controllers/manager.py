"""What the loops share, and how they are run.

A loop is built from a `Manager` (it asks for informers, registers its change handlers and `Controller`s) and is
started only after every cache has been filled once, so no reconciler ever acts on a half-empty world.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from lightkube.core.resource import Resource

from api.resource import ResourceInfo, resource_info
from client.config import Client
from client.controller import Controller, Reconcile
from client.events import EventRecorder
from client.informer import Informer

R = TypeVar("R", bound=Resource)

log = logging.getLogger("controllers")


class Manager:
    """One process' worth of controllers over one set of caches."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._informers: dict[type, Informer[Any]] = {}
        self._recorders: dict[str, EventRecorder] = {}
        self._controllers: list[Controller] = []
        self._loops: list[Callable[[], Coroutine[Any, Any, None]]] = []

    def informer(self, resource: type[R]) -> Informer[R]:
        """The shared cache of a kind, over all namespaces."""
        if resource not in self._informers:
            self._informers[resource] = Informer(self.client, resource)
        return self._informers[resource]

    def shared(self, info: ResourceInfo) -> Informer[Any] | None:
        """The cache some loop has of this kind, if one has."""
        return next((each for kind, each in self._informers.items() if resource_info(kind) == info), None)

    def recorder(self, component: str) -> EventRecorder:
        if component not in self._recorders:
            self._recorders[component] = EventRecorder(self.client, component)
        return self._recorders[component]

    def controller(self, name: str, reconcile: Reconcile, *, workers: int = 4) -> Controller:
        """A loop with a work queue, run once the caches are full."""
        controller = Controller(name, reconcile, workers=workers)
        self._controllers.append(controller)
        return controller

    def loop(self, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Anything else that runs for as long as the manager leads, once the caches are full."""
        self._loops.append(run)

    async def run(self) -> None:
        """Run everything until cancelled."""
        async with asyncio.TaskGroup() as group:
            for recorder in self._recorders.values():
                group.create_task(recorder.run())
            for informer in self._informers.values():
                group.create_task(informer.run())
            for informer in self._informers.values():
                await informer.wait_synced()
            log.info("%d caches are filled, %d controllers start", len(self._informers), len(self._controllers))
            for run in (*(each.run for each in self._controllers), *self._loops):
                group.create_task(run())
