"""A pod's life on this node: observe, plan, act, report. One worker a pod, so no two hands ever work on one.

    run()       until the pod has ended and nothing of it is left

The loop never waits for an action: actions run as tasks beside it, and every piece of news makes it plan again.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime

from lightkube.models.core_v1 import PodStatus
from lightkube.resources.core_v1 import Pod

from api import meta
from kubelet.pods import messages, mounting, steps
from kubelet.pods.plan import Action, plan
from kubelet.pods.snapshot import Snapshot
from kubelet.pods.state import Abandoned, Failed, PodState, within
from kubelet.pods.status import pod_full_name, status_of, wakes_at
from kubelet.runtime.base import EngineUnavailable

log = logging.getLogger("pod")


class Worker(PodState):
    def update(self, pod: Pod) -> None:
        before, self.pod = self.pod, pod
        if not self.finished and "finalize" not in self.tasks:
            self.reporter.shown(pod)
        if (meta.labels(before), meta.annotations(before)) != (meta.labels(pod), meta.annotations(pod)):
            self.refresh()  # the downward API shows them
        self.wake()

    def refresh(self) -> None:
        """What the pod's volumes are made of may have changed; now and then a token has to be renewed."""
        mounting.refresh(self)

    # The loop

    async def run(self) -> None:
        try:
            while not self.finished:
                self.news.clear()
                self._sync_probes(self.snapshot())
                messages.collect(self)
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
            for task in (*self.tasks.values(), self.mounting.task):
                if task is not None:
                    task.cancel()

    async def _wait(self, until: datetime | None) -> None:
        seconds = max(0.0, (until - datetime.now(UTC)).total_seconds()) if until else None
        await within(self.news, seconds)

    def _begin(self, action: Action) -> None:
        self.tasks[action.key] = asyncio.create_task(self._carry_out(action))

    async def _carry_out(self, action: Action) -> None:
        try:
            await steps.carry_out(self, action)
        except Failed as failure:
            self.note_failure(failure)
        except Abandoned:
            pass
        except EngineUnavailable as error:
            log.warning("%s: %s", meta.key(self.pod), error)
            await asyncio.sleep(1.0)  # every pod of the node meets this at once
        except Exception:
            log.exception("%s: %s failed", meta.key(self.pod), action.key)
            await asyncio.sleep(1.0)
        finally:
            self.tasks.pop(action.key, None)
            self.wake()

    # Reporting

    def report(self, snapshot: Snapshot) -> None:
        if "finalize" in self.tasks or self.finished or self.gone:
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


def _waiting_reasons(status: PodStatus) -> dict[str, str]:
    both = [*(status.containerStatuses or []), *(status.initContainerStatuses or [])]
    return {each.name: each.state.waiting.reason or "" for each in both if each.state and each.state.waiting}
