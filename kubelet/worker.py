"""A pod's life on this node: observe, plan, act, report. One worker a pod, so no two hands ever work on one.

    update(pod) / forget()      news from the API server: the pod changed, the pod is gone
    observe(container) / lost(id)   news from the container engine
    run()                       until the pod has ended and nothing of it is left

The loop never waits for an action: actions run as tasks beside it, and every piece of news makes it plan again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from lightkube.models.core_v1 import Container, PodStatus
from lightkube.resources.core_v1 import Pod

from api import meta
from kubelet import steps
from kubelet.host import Host
from kubelet.plan import Action, plan
from kubelet.probes import Probes
from kubelet.reporter import Reporter
from kubelet.runtime.base import EngineUnavailable, Observed
from kubelet.snapshot import Failure, Snapshot
from kubelet.status import pod_full_name, status_of, wakes_at

log = logging.getLogger("pod")


class Worker:
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
        self.reporter = Reporter(host.client, pod)
        self.probes = Probes(host.handlers, changed=self.wake, unhealthy=self._unhealthy)
        self.finished = False
        self.rejected = rejected
        self._gone = False
        self._lost: set[str] = set()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._news = asyncio.Event()
        self._tick = asyncio.Event()
        self._refreshing: asyncio.Task[None] | None = None
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
        self._news.set()
        # Whoever waits beside the loop is woken too; the next to wait waits for the next news.
        self._tick.set()
        self._tick = asyncio.Event()

    async def news_within(self, seconds: float) -> None:
        """Wait for any news, for at most so long."""
        await _within(self._tick, seconds)

    def update(self, pod: Pod) -> None:
        self.pod = pod
        self.wake()

    def forget(self) -> None:
        self._gone = True
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

    def refresh(self) -> None:
        """Now and then: bring changed ConfigMaps, Secrets and tokens into the pod's volumes."""
        if any(each.is_running and not each.is_sandbox for each in self.containers.values()) and not self._gone:
            self._refreshing = asyncio.create_task(self._refresh())
        self.wake()

    async def _refresh(self) -> None:
        try:
            await steps.prepare_volumes(self)
        except steps.Failed as failure:
            log.info("%s: volumes not refreshed: %s", meta.key(self.pod), failure.message)

    # The loop

    async def run(self) -> None:
        try:
            while not self.finished:
                self._news.clear()
                self._sync_probes(self.snapshot())
                snapshot = self.snapshot()
                # Told before it is acted on: the last action clears away what there is to tell.
                self.report(snapshot)
                planned = plan(snapshot)
                for action in planned.actions:
                    self._begin(action)
                await self._wait(min((each for each in (planned.wake_at, wakes_at(snapshot)) if each), default=None))
        finally:
            self.probes.stop()
            self.reporter.stop()
            for task in self._tasks.values():
                task.cancel()

    def snapshot(self) -> Snapshot:
        sandboxes = (each for each in self.containers.values() if each.is_sandbox)
        attached = self.host.network.is_attached
        return Snapshot(
            pod=self.pod,
            now=datetime.now(UTC),
            containers=tuple(self.containers.values()),
            busy=frozenset(self._tasks),
            networked=frozenset(each.id for each in sandboxes if self.host_network or attached(self.uid, each.id)),
            failures=self.failures,
            ready=frozenset(self.probes.ready),
            started=frozenset(self.probes.started),
            condemned=self.probes.condemned,
            rejected=self.rejected,
            gone=self._gone,
            ip=self.ip,
            host_ip=self.host.node_ip,
        )

    async def _wait(self, until: datetime | None) -> None:
        seconds = max(0.0, (until - datetime.now(UTC)).total_seconds()) if until else None
        await _within(self._news, seconds)

    def _begin(self, action: Action) -> None:
        self._tasks[action.key] = asyncio.create_task(self._carry_out(action))

    async def _carry_out(self, action: Action) -> None:
        try:
            await steps.carry_out(self, action)
        except steps.Failed as failure:
            self.note_failure(failure)
        except steps.Abandoned:
            pass
        except EngineUnavailable as error:
            log.warning("%s: %s", meta.key(self.pod), error)
            await asyncio.sleep(1.0)  # every pod of the node meets this at once
        except Exception:
            log.exception("%s: %s failed", meta.key(self.pod), action.key)
            await asyncio.sleep(1.0)
        finally:
            self._tasks.pop(action.key, None)
            self.wake()

    def note_failure(self, failure: steps.Failed) -> None:
        """Remember it, so that it is shown and tried again later and later."""
        before = self.failures.get(failure.name)
        count = before.count + 1 if before and before.reason == failure.reason else 1
        delay = min(failure.base_seconds * 2 ** (count - 1), failure.max_seconds)
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

    # Reporting

    def report(self, snapshot: Snapshot) -> None:
        if "finalize" in self._tasks or self.finished or self._gone:
            return  # what is being cleared away would look as if it had never run
        status = status_of(snapshot, self.reporter.latest)
        self._tell_of_backoff(snapshot, self.reporter.latest, status)
        self.reporter.report(status)

    def _tell_of_backoff(self, snapshot: Snapshot, old: PodStatus, new: PodStatus) -> None:
        before = _waiting_reasons(old)
        for name, reason in _waiting_reasons(new).items():
            if before.get(name) == reason:
                continue
            if reason == "CrashLoopBackOff":
                message = f"Back-off restarting failed container {name} in pod {pod_full_name(snapshot)}"
                self.event("Warning", "BackOff", message, container=name)
            elif reason == "ImagePullBackOff":
                image = next(each.image for each in [*snapshot.inits, *snapshot.mains] if each.name == name)
                self.event("Normal", "BackOff", f'Back-off pulling image "{image}"', container=name)
                self.event("Warning", "Failed", "Error: ImagePullBackOff", container=name)

    def event(self, type_: str, reason: str, message: str, *, container: str = "") -> None:
        path = f"spec.containers{{{container}}}" if container else None
        self.host.recorder.event(self.pod, type_, reason, message, field_path=path)

    # Probes

    def _sync_probes(self, snapshot: Snapshot) -> None:
        specs = {each.name: each for each in [*snapshot.inits, *snapshot.mains]}
        running = {
            each.id: specs[each.name]
            for each in snapshot.running_apps
            if each.name in specs and f"start/{each.name}" not in snapshot.busy
        }
        before = (len(self.probes.ready), len(self.probes.started))
        self.probes.sync(running, self.ip)
        if before != (len(self.probes.ready), len(self.probes.started)):
            self.wake()

    def _unhealthy(self, container: Container, probe: str, output: str) -> None:
        if self.snapshot().stop is None:
            self.event("Warning", "Unhealthy", f"{probe} probe failed: {output}", container=container.name)


async def _within(event: asyncio.Event, seconds: float | None) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass


def _waiting_reasons(status: PodStatus) -> dict[str, str]:
    both = [*(status.containerStatuses or []), *(status.initContainerStatuses or [])]
    return {each.name: each.state.waiting.reason or "" for each in both if each.state and each.state.waiting}
