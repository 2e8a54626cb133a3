"""What a pod's worker and the steps it takes share: the pod, its containers and its failures as known at this moment.

    pod / forget()                  news from the API server: the pod changed, the pod is gone
    observe(container) / lost(id)   news from the container engine
    snapshot()                      all of it at one moment, for the pure parts

Every piece of news wakes the worker's loop and whoever waits in `news_within`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from lightkube.models.core_v1 import Container, PodStatus
from lightkube.resources.core_v1 import Pod

from api import meta
from client.backoff import Backoff
from kubelet import limits
from kubelet.host import Host
from kubelet.pods.probes import Probes
from kubelet.pods.reporter import Reporter
from kubelet.pods.snapshot import Failure, Snapshot
from kubelet.runtime.base import Observed

T = TypeVar("T")


@dataclass
class Failed(Exception):
    """A container ("" for the sandbox) could not be made; it is tried again after base, 2*base ... max seconds."""

    name: str
    reason: str
    message: str
    base_seconds: float = limits.CONFIG_BACKOFF_SECONDS[0]
    max_seconds: float = limits.CONFIG_BACKOFF_SECONDS[1]
    backoff_reason: str = ""
    backoff_message: str = ""


class Abandoned(Exception):
    """The pod has to end, so what was begun is left as it is."""


@dataclass(slots=True)
class Mounting:
    """How far the pod's volumes are (see mounting.py)."""

    made: bool = False
    stale: bool = False
    """What they are made of has changed since it was last read."""
    task: asyncio.Task[None] | None = None


class PodState:
    def __init__(
        self,
        pod: Pod,
        host: Host,
        *,
        containers: Iterable[Observed] = (),
        rejected: tuple[str, str] | None = None,
    ) -> None:
        self.pod = pod
        self.host = host
        self.containers = {each.id: each for each in containers}
        self.failures: dict[str, Failure] = {}
        self.reporter = Reporter(host.client, pod, host.status_lane)
        self.probes = Probes(host.handlers, changed=self.wake, unhealthy=self._unhealthy)
        self.finished = False
        self.rejected = rejected
        self.gone = False
        self._lost: set[str] = set()
        self.tasks: dict[str, asyncio.Task[None]] = {}
        """The actions under way, by key."""
        self.messages: dict[str, str] = {}
        """What dead containers left to be said, by id (see messages.py)."""
        self.evicted = ""
        self.coming = ""
        """Id of the sandbox that exists but is not connected yet."""
        self.mounting = Mounting()
        self.news = asyncio.Event()
        self._tick = asyncio.Event()
        self._adopt(pod.status or PodStatus())

    @property
    def uid(self) -> str:
        return meta.uid(self.pod)

    @property
    def host_network(self) -> bool:
        return bool(self.pod.spec and self.pod.spec.hostNetwork)

    @property
    def ip(self) -> str:
        return self.host.node_ip if self.host_network else self.host.network.known_address(self.uid)

    def _adopt(self, status: PodStatus) -> None:
        """Containers found running and known as ready stay ready until a probe says otherwise."""
        for each in [*(status.containerStatuses or []), *(status.initContainerStatuses or [])]:
            container_id = (each.containerID or "").removeprefix("docker://")
            if each.ready and container_id in self.containers and self.containers[container_id].is_running:
                self.probes.adopt(container_id)

    # News

    def wake(self) -> None:
        self.news.set()
        # Whoever waits beside the loop is woken too; the next to wait waits for the next news.
        self._tick.set()
        self._tick = asyncio.Event()

    def news_within(self, seconds: float) -> Coroutine[Any, Any, None]:
        """Wait for any news from this call on, for at most so long."""
        return within(self._tick, seconds)

    async def unless_stopping(self, awaitable: Awaitable[T]) -> T:
        """The result, or Abandoned as soon as the pod has to end."""
        task = asyncio.ensure_future(awaitable)
        try:
            while not task.done():
                if self.snapshot().stop is not None:
                    raise Abandoned
                news = asyncio.ensure_future(self.news_within(60))
                await asyncio.wait([task, news], return_when=asyncio.FIRST_COMPLETED)
                news.cancel()
            return task.result()
        finally:
            task.cancel()

    def forget(self) -> None:
        self.gone = True
        self.wake()

    def evict(self, why: str) -> None:
        """The pod has to leave this node; Kubernetes: node-pressure eviction."""
        if not self.evicted and self.snapshot().stop is None:
            self.evicted = why
            self.event("Warning", "Evicted", why)
            self.wake()

    def observe(self, container: Observed) -> None:
        known = self.containers.get(container.id)
        if container.id in self._lost or (known is not None and known.rank > container.rank):
            return  # old news that was overtaken
        self.containers[container.id] = container
        self.wake()

    def lost(self, container_id: str) -> None:
        self._lost.add(container_id)
        if self.containers.pop(container_id, None) is not None:
            self.wake()

    def snapshot(self) -> Snapshot:
        sandboxes = (each for each in self.containers.values() if each.is_sandbox)
        attached = self.host.network.is_attached
        return Snapshot(
            pod=self.pod,
            now=datetime.now(UTC),
            containers=tuple(self.containers.values()),
            busy=frozenset(self.tasks),
            networked=frozenset(each.id for each in sandboxes if self.host_network or attached(self.uid, each.id)),
            failures=self.failures,
            ready=frozenset(self.probes.ready),
            started=frozenset(self.probes.started),
            condemned=self.probes.condemned,
            messages=self.messages,
            coming=self.coming,
            evicted=self.evicted,
            rejected=self.rejected,
            gone=self.gone,
            ip=self.ip,
            host_ip=self.host.node_ip,
        )

    def note_failure(self, failure: Failed) -> None:
        """Remember it, so that it is shown and tried again later and later."""
        before = self.failures.get(failure.name)
        count = before.count + 1 if before and before.reason == failure.reason else 1
        delay = Backoff(failure.base_seconds, failure.max_seconds, jitter=0).delay(count)
        now = datetime.now(UTC)
        self.failures[failure.name] = Failure(
            reason=failure.reason,
            message=failure.message,
            at=now,
            retry_at=now + timedelta(seconds=delay),
            count=count,
            backoff_reason=failure.backoff_reason,
            backoff_message=failure.backoff_message,
        )

    def event(self, type_: str, reason: str, message: str, *, container: str = "") -> None:
        path = f"spec.containers{{{container}}}" if container else None
        self.host.recorder.event(self.pod, type_, reason, message, field_path=path)

    def _unhealthy(self, container: Container, probe: str, output: str) -> None:
        if self.snapshot().stop is None:
            self.event("Warning", "Unhealthy", f"{probe} probe failed: {output}", container=container.name)


async def within(event: asyncio.Event, seconds: float | None) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
