"""Ending a container: preStop, its stop signal, and SIGKILL when the grace period is over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from kubelet import limits
from kubelet.pods import hooks
from kubelet.pods.plan import Kill
from kubelet.pods.state import PodState
from kubelet.runtime.base import RuntimeFailure


async def kill(state: PodState, action: Kill) -> None:
    """The grace period may be shortened meanwhile: by a second delete, for instance."""
    container, runtime = action.container, state.host.runtime
    loop = asyncio.get_running_loop()
    begun = loop.time()
    state.event("Normal", "Killing", action.message, container=container.name)

    def deadline() -> float:
        stop = state.snapshot().stop
        grace = min(action.grace_seconds, stop.grace_seconds) if stop else action.grace_seconds
        return begun + grace

    if deadline() > begun:
        await hooks.pre_stop(state, container, deadline)
        floor = loop.time() + min(limits.MIN_GRACE_SECONDS, deadline() - begun)
        await runtime.signal(container.id, container.stop_signal)
        if await _ended(state, container.id, lambda: max(deadline(), floor)):
            return
    await runtime.signal(container.id, "SIGKILL")
    limit = loop.time() + limits.KILL_SECONDS
    if not await _ended(state, container.id, lambda: limit):
        raise RuntimeFailure(f"container {container.name} does not end after SIGKILL")


async def _ended(state: PodState, container_id: str, deadline: Callable[[], float]) -> bool:
    """Wait for the engine's word that it has, until the deadline, which may move."""
    loop = asyncio.get_running_loop()
    while True:
        container = state.containers.get(container_id)
        if container is None or not container.is_running:
            return True
        left = deadline() - loop.time()
        if left <= 0:
            return False
        await state.news_within(left)
