"""Why a pod is not what it should be: Pending, crashing, not Ready, ending for long, evicted. Pure.

    explain(pod, events=..., node=..., verdicts=..., now=...) -> Answer

The first cause in a pod's life that is not overcome is the answer: no node, no sandbox or volume, no image, a container
that ends, a probe that fails.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from api.durations import human_duration
from workshop.why.finding import (
    API_SERVER,
    EVICTION,
    KILLING,
    NODE_LIFECYCLE,
    POD_MOUNTS,
    POD_PLAN,
    POD_STATUS,
    POD_STEPS,
    PROBES,
    SCHEDULER,
    SCHEDULER_LOOP,
    TAINT_EVICTION,
    YOU,
    Answer,
    Finding,
    Object,
    condition,
    is_ready,
    name,
    newest,
    seconds_since,
    spec,
    status,
)

DEFAULT_SCHEDULER = "default-scheduler"
IMAGE_REASONS = ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName")
STILL_STARTING = ("ContainerCreating", "PodInitializing")
OVERDUE_SECONDS = 5.0
"""An end may take this much longer than its grace period before it is called late."""

Verdicts = Sequence[tuple[str, str]]


def explain(
    pod: Object, *, events: Sequence[Object], node: Object | None, verdicts: Verdicts = (), now: datetime
) -> Answer:
    """`node` is the Node it is bound to, if both exist; `verdicts` what keeps it from each node (placement.py)."""
    title, phase = f"pod/{name(pod)}", status(pod).get("phase") or "Pending"
    if pod["metadata"].get("deletionTimestamp"):
        return _terminating(pod, title, node, now)
    if phase == "Failed":
        return Answer(f"{title} has Failed", [_failed(pod)])
    if phase == "Succeeded":
        return Answer(f"{title} has Succeeded: its containers did their work and ended.")
    if not spec(pod).get("nodeName"):
        return Answer(f"{title} is Pending: it has no node yet", [_unscheduled(pod, verdicts)])
    if is_ready(pod):
        return Answer(f"{title} is Running and Ready", list(_restarted(pod)))
    state = f"{title} is {phase}, not Ready, on {spec(pod)['nodeName']}"
    found = [*_lost_node(pod, node), *_containers(pod, events), *_gates(pod)]
    return Answer(state, found or [_between(pod, events)])


# Ending


def _terminating(pod: Object, title: str, node: Object | None, now: datetime) -> Answer:
    """deletionTimestamp is when the grace period is over, not when it began."""
    meta = pod["metadata"]
    grace = float(meta.get("deletionGracePeriodSeconds") or 0)
    late = seconds_since(meta["deletionTimestamp"], now)
    state = f"{title} is Terminating, for {human_duration(max(0.0, late + grace))}; it was given {grace:.0f} s"
    found = []
    if node is not None and not is_ready(node) and spec(pod).get("nodeName"):
        what = f"{name(node)} is not Ready: nobody is there to end the containers and confirm it"
        try_ = f"bring the node back; if it is dead: minikctl delete pod {meta['name']} --force --grace-period 0"
        ready = condition(node, "Ready")
        field = f"node/{name(node)}: status.conditions[Ready] = {ready.get('status')}"
        found.append(Finding(what, KILLING, field, str(ready.get("message") or ""), advice=try_))
    if finalizers := meta.get("finalizers"):
        what = "It is kept until its finalizers are taken off"
        try_ = "find out who set them; they clean something up first"
        found.append(Finding(what, API_SERVER, f"metadata.finalizers = {', '.join(finalizers)}", advice=try_))
    if not found and late < OVERDUE_SECONDS:
        what = "The containers were asked to end (SIGTERM, after preStop hooks) and have until the grace period is over"
        field = f"metadata.deletionTimestamp = {meta['deletionTimestamp']}, when SIGKILL follows"
        found.append(Finding(what, KILLING, field))
    elif not found:
        what = "The grace period is over and the kubelet has not confirmed the end"
        found.append(Finding(what, KILLING, f"metadata.deletionTimestamp = {meta['deletionTimestamp']}"))
    return Answer(state, found)


def _failed(pod: Object) -> Finding:
    reason, message = str(status(pod).get("reason") or ""), str(status(pod).get("message") or "")
    target = condition(pod, "DisruptionTarget")
    if reason == "Evicted":
        try_ = "give it requests near what it uses, or free the node: what is short is in the message"
        return Finding("The node ran short and gave it up", EVICTION, "status.reason = Evicted", message, advice=try_)
    if target.get("status") == "True":
        field = f"status.conditions[DisruptionTarget].reason = {target.get('reason')}"
        return Finding("It was ended to make room or leave its node", TAINT_EVICTION, field, str(target.get("message")))
    if reason:
        return Finding("The kubelet ended or refused it", POD_STATUS, f"status.reason = {reason}", message)
    ends = [
        (f"container {each['name']}", _end_text(end))
        for each in status(pod).get("containerStatuses") or []
        if (end := (each.get("state") or {}).get("terminated"))
    ]
    field = f"spec.restartPolicy = {spec(pod).get('restartPolicy', 'Always')}, so it is not started again"
    try_ = f"minikctl logs {name(pod)}"
    return Finding("A container ended with an error", POD_STATUS, field, details=tuple(ends), advice=try_)


# Before it runs


def _unscheduled(pod: Object, verdicts: Verdicts) -> Finding:
    if gates := spec(pod).get("schedulingGates"):
        field = f"spec.schedulingGates = {', '.join(each['name'] for each in gates)}"
        return Finding("The scheduler does not look at it while it has gates", SCHEDULER_LOOP, field)
    wanted = spec(pod).get("schedulerName") or DEFAULT_SCHEDULER
    scheduled = condition(pod, "PodScheduled")
    if not scheduled and wanted != DEFAULT_SCHEDULER:
        what = f"It waits for a scheduler called {wanted}, and none of that name has looked at it"
        return Finding(what, YOU, f"spec.schedulerName = {wanted}", advice="leave the field out for the usual one")
    if not scheduled:
        what = "No scheduler has looked at it yet"
        try_ = "does the scheduler run? minikctl status"
        return Finding(what, SCHEDULER_LOOP, "status.conditions has no PodScheduled", advice=try_)
    field = f"status.conditions[PodScheduled].reason = {scheduled.get('reason')}"
    message = str(scheduled.get("message") or "")
    return Finding("No node can take it", SCHEDULER, field, message, tuple(verdicts), _unscheduled_advice(verdicts))


def _unscheduled_advice(verdicts: Verdicts) -> str:
    reasons = " ".join(reason for _, reason in verdicts)
    if "Insufficient" in reasons or "Too many pods" in reasons:
        return "lower spec.containers[*].resources.requests, scale something down, or: minikctl node add"
    if "unschedulable" in reasons:
        return "minikctl uncordon NODE"
    if "taint" in reasons:
        return "remove the taint (minikctl taint node NODE KEY-), or give the pod a toleration"
    if "affinity/selector" in reasons:
        return "compare spec.nodeSelector and affinity with: minikctl get nodes --show-labels"
    return ""


def _lost_node(pod: Object, node: Object | None) -> Iterator[Finding]:
    if node is None:
        what = f"Its node {spec(pod)['nodeName']} does not exist"
        yield Finding(what, NODE_LIFECYCLE, f"spec.nodeName = {spec(pod)['nodeName']}")
    elif not is_ready(node):
        ready = condition(node, "Ready")
        field = f"node/{name(node)}: status.conditions[Ready] = {ready.get('status')} ({ready.get('reason')})"
        what = "Its node is not Ready, so the pod counts as not Ready whatever its containers do"
        yield Finding(
            what, NODE_LIFECYCLE, field, str(ready.get("message") or ""), advice=f"minikctl why node/{name(node)}"
        )


def _between(pod: Object, events: Sequence[Object]) -> Finding:
    """Bound, and nothing is known to be wrong."""
    for reasons, what, part in (
        (("FailedMount", "FailedAttachVolume"), "A volume cannot be mounted", POD_MOUNTS),
        (("FailedCreatePodSandBox",), "Its network namespace cannot be made", POD_STEPS),
    ):
        if message := newest(events, *reasons):
            return Finding(what, part, "spec.volumes" if part is POD_MOUNTS else "", message)
    ready = condition(pod, "Ready")
    what = (
        "It is being started" if not ready or status(pod).get("phase") == "Pending" else "It is about to become Ready"
    )
    field = f"status.conditions[Ready].reason = {ready.get('reason')}" if ready else "status.conditions is empty"
    return Finding(what, POD_PLAN, field, str(ready.get("message") or ""))


# Containers


def _containers(pod: Object, events: Sequence[Object]) -> Iterator[Finding]:
    for field in ("initContainerStatuses", "containerStatuses"):
        for each in status(pod).get(field) or []:
            path = f"status.{field}[{each['name']}]"
            finding = _waiting(pod, each, path, events) or _not_ready(pod, each, path, events, init=field[0] == "i")
            if finding is not None:
                yield finding


def _waiting(pod: Object, container: Object, path: str, events: Sequence[Object]) -> Finding | None:
    waiting = (container.get("state") or {}).get("waiting")
    if not waiting or waiting.get("reason") in STILL_STARTING:
        return None
    reason, message = str(waiting.get("reason")), str(waiting.get("message") or "")
    field, title = f"{path}.state.waiting.reason = {reason}", f"Container {container['name']}"
    if reason == "CrashLoopBackOff":
        return _crash_loop(pod, container, path, events)
    if reason in IMAGE_REASONS:
        told = newest(events, "Failed", "ErrImageNeverPull", containing="image") or message
        policy = next((each.get("imagePullPolicy") for each in _specs(pod) if each["name"] == container["name"]), None)
        details = (("image", f"{container.get('image')} (imagePullPolicy {policy})"),)
        try_ = "check the name and tag; a lab has minik/web:1, minik/web:2 and minik/busybox:1 and no registry"
        return Finding(f"{title} has no image to start from", POD_STEPS, field, told, details, try_)
    if reason == "CreateContainerConfigError":
        return Finding(f"{title} refers to something that is not there", POD_STEPS, field, message)
    return Finding(f"{title} cannot be started", POD_STEPS, field, message)


def _crash_loop(pod: Object, container: Object, path: str, events: Sequence[Object]) -> Finding:
    end = (container.get("lastState") or {}).get("terminated") or {}
    probed = newest(events, "Unhealthy", containing="Liveness") or newest(events, "Unhealthy", containing="Startup")
    restarts = container.get("restartCount", 0)
    title = f"Container {container['name']}"
    what = f"{title} ends again and again ({restarts} restarts); each restart waits twice as long, up to 5 minutes"
    details = [("last end", _end_text(end))] if end else []
    if probed:
        details.append(("probe", probed))
    message = str(container["state"]["waiting"].get("message") or "")
    try_ = f"minikctl logs {name(pod)} -c {container['name']} --previous"
    if end.get("reason") == "OOMKilled":
        try_ = "raise its resources.limits.memory, or make it use less"
    field = f"{path}.state.waiting.reason = CrashLoopBackOff"
    return Finding(what, POD_PLAN, field, message, tuple(details), try_)


def _not_ready(pod: Object, container: Object, path: str, events: Sequence[Object], *, init: bool) -> Finding | None:
    state, title = container.get("state") or {}, f"Container {container['name']}"
    if end := state.get("terminated"):
        if init and end.get("exitCode") == 0:
            return None
        what = f"{title} has ended"
        return Finding(
            what, POD_STATUS, f"{path}.state.terminated", _end_text(end), advice=f"minikctl logs {name(pod)}"
        )
    if "running" not in state or container.get("ready"):
        return None
    if init:
        return Finding(f"Init container {container['name']} has not ended yet", POD_PLAN, f"{path}.state.running")
    given = next((each for each in _specs(pod) if each["name"] == container["name"]), {})
    for kind, field in (("Startup", "startupProbe"), ("Readiness", "readinessProbe")):
        message = newest(events, "Unhealthy", containing=kind)
        if given.get(field) and (message or kind == "Readiness"):
            what = f"{title} runs, but its {kind.lower()} probe does not pass: it gets no requests"
            probe = (("probe", f"{field}: {_probe_text(given[field])}"),)
            try_ = "compare the probe's path and port with what the container answers"
            return Finding(what, PROBES, f"{path}.ready = false", message, probe, try_)
    return Finding(f"{title} runs and is not ready yet", POD_STATUS, f"{path}.ready = false")


def _gates(pod: Object) -> Iterator[Finding]:
    ready = condition(pod, "Ready")
    if ready.get("reason") == "ReadinessGatesNotReady":
        gates = ", ".join(each["conditionType"] for each in spec(pod).get("readinessGates") or [])
        yield Finding(
            "A readiness gate is closed", POD_STATUS, f"spec.readinessGates = {gates}", str(ready.get("message"))
        )


def _restarted(pod: Object) -> Iterator[Finding]:
    for each in status(pod).get("containerStatuses") or []:
        end = (each.get("lastState") or {}).get("terminated")
        if each.get("restartCount") and end:
            what = f"Container {each['name']} was started again {each['restartCount']} times"
            field = f"status.containerStatuses[{each['name']}].lastState.terminated"
            yield Finding(what, POD_PLAN, field, _end_text(end))


def _specs(pod: Object) -> list[Object]:
    return [*(spec(pod).get("initContainers") or []), *(spec(pod).get("containers") or [])]


def _end_text(end: Object) -> str:
    text = f"exit code {end.get('exitCode')} ({end.get('reason')}) at {end.get('finishedAt')}"
    return f"{text}: {end['message']}" if end.get("message") else text


def _probe_text(probe: Object) -> str:
    if get := probe.get("httpGet"):
        return f"GET {get.get('path', '/')} on port {get.get('port')}"
    if tcp := probe.get("tcpSocket"):
        return f"connect to port {tcp.get('port')}"
    return f"run {' '.join((probe.get('exec') or {}).get('command') or [])}".strip()
