"""Termination messages: what a container says of its end, in a file of its own or, failing that, in its log.

Kubernetes: https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/
"""

from __future__ import annotations

import asyncio
import contextlib

from lightkube.models.core_v1 import Container

from kubelet import limits
from kubelet.pods.state import PodState
from kubelet.runtime.base import LogOptions, Mount, Observed, RuntimeFailure

_DEFAULT_PATH = "/dev/termination-log"


def mount(state: PodState, container: Container, attempt: int) -> Mount:
    """An empty file that any user of the container may write to. Raises OSError."""
    path = state.host.volumes.write(state.uid, _name(container.name, attempt), "")
    path.chmod(0o666)
    return Mount(str(path), container.terminationMessagePath or _DEFAULT_PATH)


def _name(container: str, attempt: int) -> str:
    return f"containers/{container}/{attempt}"


def collect(state: PodState) -> None:
    """Read what containers that have ended since left; from the log beside the loop, which it then wakes."""
    snapshot = state.snapshot()
    specs = {each.name: each for each in [*snapshot.inits, *snapshot.mains]}
    for each in snapshot.containers:
        if each.is_sandbox or not each.is_dead or each.id in state.messages:
            continue
        state.messages[each.id] = _read(state, each)
        spec = specs.get(each.name)
        fallback = spec is not None and spec.terminationMessagePolicy == "FallbackToLogsOnError"
        if fallback and not state.messages[each.id] and each.exit_code:
            state.tasks[f"message/{each.id}"] = asyncio.create_task(_read_log(state, each))


def _read(state: PodState, container: Observed) -> str:
    path = state.host.volumes.directory(state.uid) / _name(container.name, container.attempt)
    with contextlib.suppress(OSError), path.open("rb") as file:
        return file.read(limits.MESSAGE_FILE_BYTES).decode(errors="replace")
    return ""


async def _read_log(state: PodState, container: Observed) -> None:
    text = b""
    try:
        async with asyncio.timeout(limits.MESSAGE_LOG_SECONDS):
            async for chunk in state.host.runtime.logs(container.id, LogOptions(tail=limits.MESSAGE_LOG_LINES)):
                text = (text + chunk)[-limits.MESSAGE_LOG_BYTES :]
    except (RuntimeFailure, TimeoutError):
        pass
    finally:
        state.messages[container.id] = text.decode(errors="replace")
        state.tasks.pop(f"message/{container.id}", None)
        state.wake()
