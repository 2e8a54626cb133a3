"""What to do next for a pod: snapshot in, actions out. Pure.

    plan(snapshot) -> Plan(actions, wake_at)

The worker carries the actions out side by side, takes a new snapshot whenever anything changes and plans again, so a
plan holds only what can be begun now. Kubernetes: kuberuntime's computePodActions and the kubelet's pod workers.

- An action whose key is busy is not planned again.
- Nothing is started while something that must end first still runs.
- Everything follows from what the engine shows, so a kubelet that died between two steps goes on from there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from lightkube.models.core_v1 import Container

from kubelet import limits
from kubelet.pods.snapshot import Snapshot, Stop, grace_seconds, is_sidecar, next_backoff, restart_delay, spec_hash
from kubelet.runtime.base import Observed


@dataclass(frozen=True, slots=True)
class CreateSandbox:
    key: str = "sandbox"


@dataclass(frozen=True, slots=True)
class ReleaseSandbox:
    """Remove every sandbox and give the pod's address back."""

    key: str = "sandbox"


@dataclass(frozen=True, slots=True)
class Start:
    name: str
    attempt: int
    backoff: float
    sandbox_id: str

    @property
    def key(self) -> str:
        return f"start/{self.name}"


@dataclass(frozen=True, slots=True)
class Kill:
    """preStop, the stop signal, the grace period, SIGKILL."""

    container: Observed
    message: str
    grace_seconds: float

    @property
    def key(self) -> str:
        return f"container/{self.container.id}"


@dataclass(frozen=True, slots=True)
class Remove:
    container: Observed

    @property
    def key(self) -> str:
        return f"container/{self.container.id}"


@dataclass(frozen=True, slots=True)
class Finalize:
    """All containers have ended: clear away what is left and let the API server forget the pod."""

    key: str = "finalize"


Action = CreateSandbox | ReleaseSandbox | Start | Kill | Remove | Finalize


@dataclass(frozen=True, slots=True)
class Plan:
    actions: tuple[Action, ...] = ()
    wake_at: datetime | None = None
    """Plan again then, even if nothing happens."""


def plan(snapshot: Snapshot) -> Plan:
    steps = list(_steps(snapshot))
    wakes = [each for each in steps if isinstance(each, datetime)]
    if snapshot.deadline is not None and snapshot.deadline > snapshot.now and snapshot.stop is None:
        wakes.append(snapshot.deadline)
    actions = (each for each in steps if not isinstance(each, datetime))
    return Plan(tuple(each for each in actions if each.key not in snapshot.busy), min(wakes, default=None))


def _steps(snapshot: Snapshot) -> Iterator[Action | datetime]:
    """Actions, and moments before which something cannot be done."""
    stop = snapshot.stop
    if stop is not None:
        yield from _stopping(snapshot, stop)
    elif snapshot.final_phase is not None:
        yield from _winding_down(snapshot)
    elif snapshot.sandbox is None:
        yield from _making_a_sandbox(snapshot)
    else:
        yield from _running(snapshot, snapshot.sandbox)


# Ending


def _stopping(snapshot: Snapshot, stop: Stop) -> Iterator[Action]:
    if any(key.startswith("start/") or key == "sandbox" for key in snapshot.busy):
        return  # these notice by themselves; what they leave is stopped then
    running = snapshot.running_apps
    if running:
        sidecars = {each.name for each in snapshot.inits if is_sidecar(each)}
        # Sidecars outlive what they serve.
        first = [each for each in running if each.name not in sidecars] or running
        for each in first:
            yield Kill(each, f"Stopping container {each.name}", stop.grace_seconds)
    elif stop.deleting:
        yield Finalize()
    elif snapshot.sandboxes:
        yield ReleaseSandbox()


def _winding_down(snapshot: Snapshot) -> Iterator[Action]:
    """All containers have ended by themselves; they stay for their logs, the sandbox goes."""
    for each in snapshot.running_apps:
        yield Kill(each, f"Stopping container {each.name}", grace_seconds(snapshot.pod))
    if not snapshot.running_apps and snapshot.sandboxes:
        yield ReleaseSandbox()


# Beginning


def _making_a_sandbox(snapshot: Snapshot) -> Iterator[Action | datetime]:
    """Containers cannot outlive their sandbox: the address they were reached at is gone."""
    if snapshot.coming:
        # The first containers are made while it is connected; they wait for that before they run.
        for container in snapshot.inits[:1] or snapshot.mains:
            if snapshot.latest(container.name) is None:
                yield from _starting(snapshot, snapshot.coming, container)
        return
    for each in snapshot.running_apps:
        yield Kill(each, "Pod sandbox changed, it will be killed and re-created.", grace_seconds(snapshot.pod))
    if snapshot.running_apps:
        return
    if snapshot.sandboxes:
        yield from (Remove(each) for each in snapshot.sandboxes)
        return
    failure = snapshot.failures.get("")
    if failure is not None and failure.retry_at > snapshot.now:
        yield failure.retry_at
    else:
        yield CreateSandbox()


def _running(snapshot: Snapshot, sandbox: Observed) -> Iterator[Action | datetime]:
    yield from _removing_leftovers(snapshot, sandbox)
    yield from _killing_the_unfit(snapshot, sandbox)
    for container in snapshot.inits:
        if not snapshot.init_done(container):
            yield from _starting(snapshot, sandbox.id, container)
            return
        if is_sidecar(container):
            yield from _starting(snapshot, sandbox.id, container)
    for container in snapshot.mains:
        yield from _starting(snapshot, sandbox.id, container)


def _removing_leftovers(snapshot: Snapshot, sandbox: Observed) -> Iterator[Action]:
    for each in snapshot.sandboxes:
        if each.id != sandbox.id:
            yield Remove(each)
    for container in [*snapshot.inits, *snapshot.mains]:
        attempts = snapshot.attempts(container.name)
        yield from (Remove(each) for each in attempts[limits.KEPT_ATTEMPTS :] if not each.is_running)
        for each in attempts[: limits.KEPT_ATTEMPTS]:
            half_made = each.state == "created" and not each.error
            if half_made and f"start/{container.name}" not in snapshot.busy:
                yield Remove(each)


def _killing_the_unfit(snapshot: Snapshot, sandbox: Observed) -> Iterator[Action]:
    specs = {each.name: each for each in [*snapshot.inits, *snapshot.mains]}
    for each in snapshot.running_apps:
        spec = specs.get(each.name)
        if spec is None or each.sandbox_id != sandbox.id:
            message = f"Stopping container {each.name}"
        elif each.spec_hash != spec_hash(spec):
            message = f"Container {each.name} definition changed, will be restarted"
        elif each.id in snapshot.condemned:
            message = f"Container {each.name} failed {snapshot.condemned[each.id]} probe, will be restarted"
            yield Kill(each, message, _probe_grace(snapshot, spec, snapshot.condemned[each.id]))
            continue
        else:
            continue
        yield Kill(each, message, grace_seconds(snapshot.pod))


def _probe_grace(snapshot: Snapshot, container: Container, probe: str) -> float:
    """A probe may give a container it kills another time to end than the pod's."""
    spec = container.startupProbe if probe == "startup" else container.livenessProbe
    own = spec.terminationGracePeriodSeconds if spec else None
    return grace_seconds(snapshot.pod) if own is None else float(own)


def _starting(snapshot: Snapshot, sandbox_id: str, container: Container) -> Iterator[Action | datetime]:
    """Start the container if it does not run and may; else say when it may."""
    last = snapshot.latest(container.name)
    failure = snapshot.failures.get(container.name)
    if last is not None and not last.is_dead:
        return
    if failure is not None and failure.retry_at > snapshot.now:
        yield failure.retry_at
        return
    if last is None:
        yield Start(container.name, attempt=_lost_attempts(snapshot, container), backoff=0.0, sandbox_id=sandbox_id)
        return
    other_sandbox = last.sandbox_id != sandbox_id
    if not snapshot.restarts(container) and not (other_sandbox and container in snapshot.inits):
        return
    due = snapshot.restart_due(container)
    if due > snapshot.now:
        yield due
        return
    backoff = last.backoff if other_sandbox else next_backoff(restart_delay(last))
    yield Start(container.name, attempt=last.attempt + 1, backoff=backoff, sandbox_id=sandbox_id)


def _lost_attempts(snapshot: Snapshot, container: Container) -> int:
    """0, unless the API server remembers containers the engine has lost."""
    status = snapshot.pod.status
    if status is None:
        return 0
    for each in [*(status.containerStatuses or []), *(status.initContainerStatuses or [])]:
        if each.name == container.name and each.containerID:
            return each.restartCount + 1
    return 0
