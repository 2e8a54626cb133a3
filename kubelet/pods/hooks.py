"""Lifecycle hooks: what a container wants done right after its start and right before its end.

Kubernetes: https://kubernetes.io/docs/concepts/containers/container-lifecycle-hooks/. A hook has no time of its own:
postStart ends at the latest when the pod has to, preStop when the grace period does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from lightkube.models.core_v1 import Container, LifecycleHandler

from kubelet.pods.handlers import Handler, Result, Target
from kubelet.pods.state import PodState
from kubelet.runtime.base import Observed


async def post_start(state: PodState, container: Container, container_id: str) -> bool:
    """Whether it succeeded; a container whose hook fails is killed. Raises Abandoned."""
    hook = container.lifecycle.postStart if container.lifecycle else None
    if hook is None:
        return True
    target = Target(container, container_id, state.ip)
    succeeded, output = await state.unless_stopping(state.host.handlers.run(_handler(hook), target, seconds=None))
    if not succeeded:
        state.event("Warning", "FailedPostStartHook", f"PostStartHook failed: {output}", container=container.name)
    return succeeded


async def pre_stop(state: PodState, container: Observed, deadline: Callable[[], float]) -> None:
    """Until it is done or the deadline (loop time), which may move while it runs."""
    snapshot = state.snapshot()
    spec = next((each for each in [*snapshot.inits, *snapshot.mains] if each.name == container.name), None)
    hook = spec.lifecycle.preStop if spec and spec.lifecycle else None
    if spec is None or hook is None:
        return
    run = state.host.handlers.run(_handler(hook), Target(spec, container.id, state.ip), seconds=None)
    succeeded, output = await _before(state, asyncio.create_task(run), deadline)
    if not succeeded:
        state.event("Warning", "FailedPreStopHook", f"PreStopHook failed: {output}", container=container.name)


async def _before(state: PodState, task: asyncio.Task[Result], deadline: Callable[[], float]) -> Result:
    loop = asyncio.get_running_loop()
    try:
        while not task.done():
            left = deadline() - loop.time()
            if left <= 0:
                return False, "it did not end within the grace period"
            news = asyncio.ensure_future(state.news_within(left))
            await asyncio.wait([task, news], return_when=asyncio.FIRST_COMPLETED)
            news.cancel()
        return task.result()
    finally:
        task.cancel()


def _handler(hook: LifecycleHandler) -> Handler:
    sleep = float(hook.sleep.seconds) if hook.sleep else None
    return Handler(exec=hook.exec, http_get=hook.httpGet, sleep=sleep, any_answer=True)
