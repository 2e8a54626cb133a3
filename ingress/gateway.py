"""Keeps a node's HAProxy equal to the API's Ingresses: informers -> plan -> configuration -> HAProxy.

Invariants (and those of client/keeper.py)
- HAProxy runs, and the ports are taken, only while there is an Ingress of our class.
- Of Secrets only those that such an Ingress names are watched, each by a watch of its own.
- What cannot be done is told by an Event once it has lasted PATIENCE_SECONDS: a Service may come after its Ingress.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Node, Secret, Service
from lightkube.resources.discovery_v1 import EndpointSlice
from lightkube.resources.networking_v1 import Ingress, IngressClass

from api import meta
from api.endpoints import service_of
from api.ingress import has_parameters, is_ours
from client.config import Client
from client.events import EventRecorder
from client.informer import Informer
from client.keeper import Keeper
from ingress import routes
from ingress.config import render
from ingress.haproxy import DRAIN_SECONDS, HAProxy, HAProxyError
from ingress.listeners import Listeners, default_certificate, wrong_certificate

PATIENCE_SECONDS = 5.0
SECRET_SECONDS = 2.0
"""How long new Secrets are waited for before their hosts get the default certificate."""
RETRY_PORT_SECONDS = 5.0
CONNECTIONS = 8192
MOST_THREADS = 4

log = logging.getLogger("gateway")

Told = tuple[str, str, str]
"""Key of an Ingress (or empty: the node), reason, message."""


class Gateway:
    """One node's ingress."""

    def __init__(
        self,
        client: Client,
        *,
        node: str,
        listeners: Listeners,
        haproxy: HAProxy,
        events: EventRecorder,
        min_sync_seconds: float,
    ) -> None:
        self._client, self._node, self._listeners, self._haproxy = client, node, listeners, haproxy
        self._events = events
        self._default = default_certificate()
        self._wrong = lru_cache(maxsize=1024)(wrong_certificate)
        self.ingresses = Informer(client, Ingress)
        self._classes = Informer(client, IngressClass)
        self._services = Informer(client, Service)
        self._slices = Informer(client, EndpointSlice)
        self._slices.add_index("service", lambda each: [service_of(each)])
        self._secrets: dict[str, tuple[Informer[Secret], asyncio.Task[None]]] = {}
        self._used: set[str] = set()
        """The Services behind our Ingresses."""
        self._since: dict[Told, float] = {}
        self._said: set[Told] = set()
        self._keeper = Keeper("gateway", self._sync, min_sync_seconds=min_sync_seconds)
        self.mark = self._keeper.mark
        self.health = self._keeper.health
        self.ingresses.on_change(self._ingress_changed)
        self._classes.on_change(lambda old, new: self.mark())
        self._services.on_change(lambda old, new: self._mark_if_used(meta.key(new or old)))
        self._slices.on_change(lambda old, new: self._mark_if_used(service_of(new or old)))  # type: ignore[arg-type]

    async def run(self) -> None:
        """Work until cancelled; then HAProxy ends too."""
        informers: tuple[Informer[Any], ...] = (self.ingresses, self._classes, self._services, self._slices)
        try:
            async with asyncio.TaskGroup() as group:
                for informer in informers:
                    group.create_task(informer.run())
                for informer in informers:
                    await informer.wait_synced()
                await self._keeper.run()
        finally:
            for _, task in self._secrets.values():
                task.cancel()
            await self._haproxy.stop()

    def _ingress_changed(self, old: Ingress | None, new: Ingress | None) -> None:
        """Writes of the status change nothing here."""
        if old is None or new is None or _wanted_by(old) != _wanted_by(new):
            self.mark()

    def _mark_if_used(self, service: str) -> None:
        if service in self._used:
            self.mark()

    # From the cluster to HAProxy

    async def _sync(self, suspect: bool) -> None:
        classes = {meta.name(each): each for each in self._classes.list()}
        ours = [each for each in self.ingresses.list() if is_ours(each, classes)]
        self._used = {f"{meta.namespace(each)}/{name}" for each in ours for name in _services_of(each)}
        await self._follow(routes.secrets(ours))
        if not ours:
            self._listeners.close()
            await self._haproxy.stop()
            self._tell({})
            return
        world = routes.World(
            ours,
            self._services.get,
            lambda key: self._slices.by_index("service", key),
            self._secret,
            self._wrong,
            lambda ingress: has_parameters(ingress, classes),
        )
        plan = routes.plan(world)
        problems = dict(plan.problems)
        self._listeners.open()
        if self._listeners.problems:
            problems[""] = [("PortUnavailable", each) for each in self._listeners.problems.values()]
            asyncio.get_running_loop().call_later(RETRY_PORT_SECONDS, self.mark)
        try:
            await self._serve(plan)
        except HAProxyError as error:
            problems.setdefault("", []).append(("HAProxyFailed", str(error)))
            raise
        finally:
            self._tell(problems)

    async def _serve(self, plan: routes.Plan) -> None:
        configuration = render(
            plan,
            http=self._listeners.descriptor("http"),
            https=self._listeners.descriptor("https"),
            default=self._default,
            threads=min(os.cpu_count() or 1, MOST_THREADS),
            connections=CONNECTIONS,
            drain=DRAIN_SECONDS,
        )
        await self._haproxy.apply(configuration, [sock.fileno() for sock in self._listeners.sockets.values()])

    # Secrets

    def _secret(self, key: str) -> Secret | None:
        return self._secrets[key][0].get(key) if key in self._secrets else None

    async def _follow(self, wanted: set[str]) -> None:
        for key in self._secrets.keys() - wanted:
            self._secrets.pop(key)[1].cancel()
        new = wanted - self._secrets.keys()
        for key in new:
            namespace, _, name = key.partition("/")
            informer = Informer(self._client, Secret, namespace=namespace, fields=f"metadata.name={name}")
            self._secrets[key] = (informer, asyncio.create_task(informer.run()))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SECRET_SECONDS):
                await asyncio.gather(*(self._secrets[key][0].wait_synced() for key in new))
        for key in new:
            self._secrets[key][0].on_change(lambda old, new: self.mark())

    # Events

    def _tell(self, problems: dict[str, list[tuple[str, str]]]) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        present = {(key, reason, message) for key, found in problems.items() for reason, message in found}
        self._since = {each: self._since.get(each, now) for each in present}
        self._said &= present
        due = {each for each, since in self._since.items() if now - since >= PATIENCE_SECONDS} - self._said
        for key, reason, message in sorted(due):
            about: Any = self.ingresses.get(key) if key else Node(metadata=ObjectMeta(name=self._node, uid=self._node))
            log.warning("%s: %s: %s", key or self._node, reason, message)
            if about is not None:
                self._events.event(about, "Warning", reason, message)
        self._said |= due
        if present - self._said:
            loop.call_later(PATIENCE_SECONDS, self.mark)


def _wanted_by(ingress: Ingress) -> Any:
    return ingress.spec, meta.metadata(ingress).annotations


def _services_of(ingress: Ingress) -> Iterable[str]:
    spec = ingress.spec
    if spec is None:
        return
    paths = [path for rule in spec.rules or [] for path in (rule.http and rule.http.paths) or []]
    for backend in [*([spec.defaultBackend] if spec.defaultBackend else []), *(path.backend for path in paths)]:
        if backend.service is not None:
            yield backend.service.name
