"""What the kubelet reports of a pod: snapshot in, PodStatus out. Pure.

    status_of(snapshot, previous) -> PodStatus

`previous` is what was reported last: times of conditions and what the engine no longer knows are taken from there.
Phases, conditions and waiting reasons are those of
https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from lightkube.models.core_v1 import (
    Container,
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    ContainerStateWaiting,
    ContainerStatus,
    HostIP,
    PodCondition,
    PodIP,
    PodStatus,
)

from api import meta
from kubelet import limits
from kubelet.pods.resources import qos_class
from kubelet.pods.snapshot import Failure, Snapshot, failed, is_sidecar, restart_delay
from kubelet.runtime.base import Observed

START_ERROR_EXIT_CODE = 128


def status_of(snapshot: Snapshot, previous: PodStatus) -> PodStatus:
    containers = [_container_status(snapshot, each, previous) for each in snapshot.mains]
    inits = [_container_status(snapshot, each, previous) for each in snapshot.inits]
    stop = snapshot.stop
    phase = _phase(snapshot, containers, previous)
    ip = snapshot.ip or previous.podIP or ""
    status = PodStatus(
        phase=phase,
        conditions=_conditions(snapshot, phase, containers, inits, previous),
        containerStatuses=containers,
        initContainerStatuses=inits or None,
        startTime=previous.startTime or _second(snapshot.now),
        hostIP=snapshot.host_ip,
        hostIPs=[HostIP(ip=snapshot.host_ip)],
        qosClass=previous.qosClass or qos_class(snapshot.pod),
    )
    if ip:
        status.podIP, status.podIPs = ip, [PodIP(ip=ip)]
    if stop is not None and phase == "Failed":
        status.reason, status.message = stop.reason or None, stop.message or None
    if snapshot.rejected:
        status.containerStatuses = status.initContainerStatuses = None
    return status


def wakes_at(snapshot: Snapshot) -> datetime | None:
    """When the status will change by the mere passing of time."""
    moments = [each.at + timedelta(seconds=limits.FRESH_FAILURE_SECONDS) for each in snapshot.failures.values()]
    for container in [*snapshot.inits, *snapshot.mains]:
        last = snapshot.latest(container.name)
        if last is not None and last.error:
            moments.append(last.ended_at + timedelta(seconds=limits.FRESH_FAILURE_SECONDS))
    return min((each for each in moments if each > snapshot.now), default=None)


# Phase


def _phase(snapshot: Snapshot, containers: list[ContainerStatus], previous: PodStatus) -> str:
    stop = snapshot.stop
    if previous.phase in ("Succeeded", "Failed"):
        return str(previous.phase)
    if stop is not None and stop.reason:
        return "Failed"
    final = snapshot.final_phase
    if final is not None:
        return final
    if stop is not None and not snapshot.running_apps and not snapshot.busy:
        return _phase_of_the_stopped(containers)
    if previous.phase == "Running":
        return "Running"
    if not snapshot.initialized or any(_never_ran(each) for each in containers):
        return "Pending"
    return "Running"


def _phase_of_the_stopped(containers: list[ContainerStatus]) -> str:
    """A pod that was told to end and has: Succeeded only if every container ran and ended well."""
    ends = [each.state.terminated if each.state else None for each in containers]
    return "Succeeded" if all(end is not None and end.exitCode == 0 for end in ends) else "Failed"


def _never_ran(status: ContainerStatus) -> bool:
    state, last = status.state, status.lastState
    return bool(state and state.waiting) and not (last and last.terminated)


# Containers


def _container_status(snapshot: Snapshot, container: Container, previous: PodStatus) -> ContainerStatus:
    attempts = snapshot.attempts(container.name)
    # A container just created has nothing to tell yet: the one before it still speaks.
    told = [each for each in attempts if each.state != "created" or each.error]
    starting = attempts[0] if attempts and attempts[0] not in told else None
    current = None if starting else next(iter(told), None)
    before = (told[0] if starting else told[1] if len(told) > 1 else None) if told else None
    remembered = _remembered(previous, container.name)
    if not attempts and remembered is not None and (snapshot.stop is not None or _has_ended(remembered)):
        return remembered
    state = _state(snapshot, container, current)
    if current is not None and state.waiting is not None:
        before = current
    running = current is not None and current.is_running
    started = running and current is not None and current.id in snapshot.started
    shown = current or before
    return ContainerStatus(
        name=container.name,
        image=container.image or "",
        imageID=f"docker://{shown.image_id}" if shown else "",
        containerID=f"docker://{shown.id}" if shown else None,
        restartCount=attempts[0].attempt if attempts else (remembered.restartCount if remembered else 0),
        ready=_is_ready(snapshot, container, current),
        started=started,
        state=state,
        lastState=ContainerState(terminated=_terminated(before, snapshot))
        if before and before.is_dead
        else ContainerState(),
    )


def _remembered(previous: PodStatus, name: str) -> ContainerStatus | None:
    both = [*(previous.containerStatuses or []), *(previous.initContainerStatuses or [])]
    return next((each for each in both if each.name == name), None)


def _has_ended(status: ContainerStatus) -> bool:
    return bool(status.state and status.state.terminated)


def _is_ready(snapshot: Snapshot, container: Container, current: Observed | None) -> bool:
    if current is None:
        return False
    if container in snapshot.inits and not is_sidecar(container):
        return current.is_dead and not failed(current)
    in_post_start = f"start/{container.name}" in snapshot.busy
    return current.is_running and current.id in snapshot.ready and not in_post_start


def _state(snapshot: Snapshot, container: Container, current: Observed | None) -> ContainerState:
    if current is not None and current.is_running:
        return ContainerState(running=ContainerStateRunning(startedAt=_second(current.started_at)))
    failure = snapshot.failures.get(container.name)
    if failure is not None and snapshot.stop is None:
        return ContainerState(waiting=_waiting_for_retry(failure, snapshot.now))
    if current is None:
        blocked = snapshot.inits and container not in snapshot.inits and not snapshot.initialized
        return ContainerState(
            waiting=ContainerStateWaiting(reason="PodInitializing" if blocked else "ContainerCreating")
        )
    return _ended_state(snapshot, container, current)


def _waiting_for_retry(failure: Failure, now: datetime) -> ContainerStateWaiting:
    fresh = now < failure.at + timedelta(seconds=limits.FRESH_FAILURE_SECONDS)
    if fresh or not failure.backoff_reason:
        return ContainerStateWaiting(reason=failure.reason, message=failure.message)
    return ContainerStateWaiting(reason=failure.backoff_reason, message=failure.backoff_message)


def _ended_state(snapshot: Snapshot, container: Container, last: Observed) -> ContainerState:
    """Ended for good or about to be started again: terminated; else the wait that follows a crash."""
    comes_back = snapshot.stop is None and snapshot.restarts(container)
    if comes_back and last.error and snapshot.now < last.ended_at + timedelta(seconds=limits.FRESH_FAILURE_SECONDS):
        return ContainerState(waiting=ContainerStateWaiting(reason="RunContainerError", message=last.error))
    if comes_back and snapshot.restart_due(container) > snapshot.now:
        delay = _go_duration(restart_delay(last))
        message = f"back-off {delay} restarting failed container={last.name} pod={pod_full_name(snapshot)}"
        return ContainerState(waiting=ContainerStateWaiting(reason="CrashLoopBackOff", message=message))
    return ContainerState(terminated=_terminated(last, snapshot))


def pod_full_name(snapshot: Snapshot) -> str:
    pod = snapshot.pod
    return f"{meta.name(pod)}_{meta.namespace(pod)}({meta.uid(pod)})"


def _go_duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def _terminated(container: Observed, snapshot: Snapshot) -> ContainerStateTerminated:
    if container.error:
        reason, code = "StartError", container.exit_code or START_ERROR_EXIT_CODE
    else:
        reason = "OOMKilled" if container.oom_killed else "Error" if container.exit_code else "Completed"
        code = container.exit_code
    return ContainerStateTerminated(
        exitCode=code,
        reason=reason,
        message=container.error or snapshot.messages.get(container.id) or None,
        startedAt=_second(container.started_at or container.created_at),
        finishedAt=_second(container.ended_at),
        containerID=f"docker://{container.id}",
    )


def _second(moment: datetime | None) -> datetime | None:
    return moment.replace(microsecond=0) if moment else None


# Conditions


def _conditions(
    snapshot: Snapshot,
    phase: str,
    containers: list[ContainerStatus],
    inits: list[ContainerStatus],
    previous: PodStatus,
) -> list[PodCondition]:
    ready = _containers_ready(phase, containers)
    networked = snapshot.sandbox is not None
    wanted = [
        PodCondition(type="PodReadyToStartContainers", status=str(networked)),
        _initialized(snapshot, phase, inits),
        _ready(snapshot, ready, previous),
        ready,
        PodCondition(type="PodScheduled", status="True"),
    ]
    return [_timed(each, previous, snapshot.now) for each in wanted]


def _timed(condition: PodCondition, previous: PodStatus, now: datetime) -> PodCondition:
    """The time of the last change of status is kept."""
    old = meta.get_condition(previous.conditions, condition.type)
    same = old is not None and old.status == condition.status and old.lastTransitionTime is not None
    condition.lastTransitionTime = old.lastTransitionTime if old and same else _second(now)
    return condition


def _initialized(snapshot: Snapshot, phase: str, inits: list[ContainerStatus]) -> PodCondition:
    if phase == "Succeeded" or not inits or snapshot.initialized:
        reason = "PodCompleted" if phase == "Succeeded" else None
        return PodCondition(type="Initialized", status="True", reason=reason)
    names = " ".join(each.name for each in snapshot.inits if not snapshot.init_done(each))
    return PodCondition(
        type="Initialized",
        status="False",
        reason="ContainersNotInitialized",
        message=f"containers with incomplete status: [{names}]",
    )


def _containers_ready(phase: str, containers: list[ContainerStatus]) -> PodCondition:
    condition = PodCondition(type="ContainersReady", status="False")
    unready = [each.name for each in containers if not each.ready]
    if phase == "Succeeded":
        condition.reason = "PodCompleted"
    elif phase == "Failed":
        condition.reason = "PodFailed"
    elif unready:
        condition.reason = "ContainersNotReady"
        condition.message = f"containers with unready status: [{' '.join(unready)}]"
    else:
        condition.status = "True"
    return condition


def _ready(snapshot: Snapshot, containers_ready: PodCondition, previous: PodStatus) -> PodCondition:
    """ContainersReady, and whatever else the pod's readiness gates ask for."""
    condition = PodCondition(
        type="Ready",
        status=containers_ready.status,
        reason=containers_ready.reason,
        message=containers_ready.message,
    )
    gates = [each.conditionType for each in snapshot.spec.readinessGates or []]
    given = snapshot.pod.status.conditions if snapshot.pod.status else None
    closed = [each for each in gates if not _is_true(meta.get_condition(given, each))]
    if condition.status == "True" and closed:
        condition.status, condition.reason = "False", "ReadinessGatesNotReady"
        condition.message = "; ".join(
            f'corresponding condition of pod readiness gate "{each}" does not exist.' for each in closed
        )
    return condition


def _is_true(condition: PodCondition | None) -> bool:
    return condition is not None and condition.status == "True"
