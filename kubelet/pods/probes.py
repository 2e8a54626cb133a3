"""Liveness, readiness and startup probes of one pod's containers.

    Probes(...).sync(running)   keep the probes of exactly these containers going
    .ready / .started           ids of containers that are so
    .condemned                  ids of containers to be killed, and the probe that said so

Kubernetes: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#container-probes. Until the startup probe
has succeeded the other two do not run. A verdict changes only after failureThreshold or successThreshold equal results.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lightkube.models.core_v1 import Container, Probe

from kubelet import limits
from kubelet.pods.handlers import Handler, Handlers, Result, Target

Unhealthy = Callable[[Container, str, str], None]
"""Told of (container, "Readiness", output) for every failed probe."""


@dataclass(slots=True)
class _Watched:
    container: Container
    tasks: list[asyncio.Task[None]]


class Probes:
    def __init__(self, handlers: Handlers, *, changed: Callable[[], None], unhealthy: Unhealthy) -> None:
        self._handlers = handlers
        self._changed = changed
        self._unhealthy = unhealthy
        self._watched: dict[str, _Watched] = {}
        self.ready: set[str] = set()
        self.started: set[str] = set()
        self.condemned: dict[str, str] = {}

    def adopt(self, container_id: str) -> None:
        """An earlier kubelet found this container ready: it stays so until a probe fails."""
        self.ready.add(container_id)
        self.started.add(container_id)

    def sync(self, running: Mapping[str, Container], ip: str) -> None:
        """The containers that run now, by id."""
        for container_id in self._watched.keys() - running.keys():
            self._forget(container_id)
        for container_id, container in running.items():
            if container_id not in self._watched:
                self._watch(container_id, container, ip)

    def stop(self) -> None:
        for container_id in list(self._watched):
            self._forget(container_id)

    def _forget(self, container_id: str) -> None:
        for task in self._watched.pop(container_id).tasks:
            task.cancel()
        self.ready.discard(container_id)
        self.started.discard(container_id)
        self.condemned.pop(container_id, None)

    def _watch(self, container_id: str, container: Container, ip: str) -> None:
        watched = self._watched[container_id] = _Watched(container, [])
        target = Target(container, container_id, ip)
        if container.startupProbe is None or container_id in self.started:
            self._after_startup(watched, target)
        else:
            watched.tasks.append(asyncio.create_task(self._startup(watched, target, container.startupProbe)))

    def _after_startup(self, watched: _Watched, target: Target) -> None:
        self.started.add(target.container_id)
        container = watched.container
        if container.readinessProbe is None:
            self.ready.add(target.container_id)
        else:
            watched.tasks.append(asyncio.create_task(self._readiness(target, container.readinessProbe)))
        if container.livenessProbe is not None:
            watched.tasks.append(asyncio.create_task(self._liveness(target, container.livenessProbe)))

    # One task a probe

    async def _startup(self, watched: _Watched, target: Target, probe: Probe) -> None:
        async for healthy in self._verdicts(target, probe, "Startup", hopeful=True):
            if not healthy:
                self.condemned[target.container_id] = "startup"
                self._changed()
                return
            self._after_startup(watched, target)
            self._changed()
            return

    async def _readiness(self, target: Target, probe: Probe) -> None:
        async for healthy in self._verdicts(target, probe, "Readiness", hopeful=True):
            before = target.container_id in self.ready
            (self.ready.add if healthy else self.ready.discard)(target.container_id)
            if healthy != before:
                self._changed()

    async def _liveness(self, target: Target, probe: Probe) -> None:
        async for healthy in self._verdicts(target, probe, "Liveness", hopeful=False):
            if not healthy:
                self.condemned[target.container_id] = "liveness"
                self._changed()
                return

    async def _verdicts(self, target: Target, probe: Probe, kind: str, *, hopeful: bool):  # type: ignore[no-untyped-def]
        """True or False whenever a threshold is reached."""
        await asyncio.sleep(probe.initialDelaySeconds or 0)
        period = float(probe.periodSeconds or 10)
        if hopeful and target.container_id not in self.ready:
            success = await self._first_tries(target, probe, period)
            if success and (probe.successThreshold or 1) == 1:
                yield True
                await asyncio.sleep(period)
        streak, last = 0, None
        while True:
            success, output = await self._try(target, probe)
            streak = streak + 1 if success == last else 1
            last = success
            if not success:
                self._unhealthy(target.container, kind, output)
            if streak >= ((probe.successThreshold or 1) if success else (probe.failureThreshold or 3)):
                yield success
            await asyncio.sleep(period)

    async def _first_tries(self, target: Target, probe: Probe, period: float) -> bool:
        end = asyncio.get_running_loop().time() + period
        for pause in limits.FIRST_TRIES_SECONDS:
            success, _ = await self._try(target, probe)
            if success:
                return True
            if asyncio.get_running_loop().time() + pause >= end:
                break
            await asyncio.sleep(pause)
        await asyncio.sleep(max(0.0, end - asyncio.get_running_loop().time()))
        return False

    async def _try(self, target: Target, probe: Probe) -> Result:
        handler = Handler(exec=probe.exec, http_get=probe.httpGet, tcp_socket=probe.tcpSocket, grpc=probe.grpc)
        return await self._handlers.run(handler, target, seconds=float(probe.timeoutSeconds or 1))
