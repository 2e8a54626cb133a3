"""What a pod's row shows: READY, STATUS and RESTARTS, as kubectl computes them. Pure.

Kubernetes: printPod in pkg/printers/internalversion/printers.go.
"""

from __future__ import annotations

from dataclasses import dataclass

from api.durations import since
from apiserver.registry.columns import NONE, Object, condition


@dataclass
class _PodSummary:
    reason: str
    ready: int = 0
    restarts: int = 0
    last_restart: str = ""
    initializing: bool = False


def pod_status(pod: Object) -> str:
    """STATUS as kubectl shows it: the phase, or whatever says more (CrashLoopBackOff, Init:0/1, Terminating)."""
    return _summary(pod).reason


def pod_ready(pod: Object) -> str:
    """READY: containers ready / containers that count."""
    spec = pod.get("spec", {})
    sidecars = [each for each in spec.get("initContainers") or [] if each.get("restartPolicy") == "Always"]
    return f"{_summary(pod).ready}/{len(spec.get('containers') or []) + len(sidecars)}"


def pod_restarts(pod: Object) -> str:
    """RESTARTS: `3 (12s ago)`."""
    summary = _summary(pod)
    if summary.restarts and summary.last_restart:
        return f"{summary.restarts} ({since(summary.last_restart)} ago)"
    return str(summary.restarts)


def _summary(pod: Object) -> _PodSummary:
    status = pod.get("status", {})
    summary = _PodSummary(status.get("reason") or status.get("phase") or "Unknown")
    if condition(pod, "PodScheduled").get("reason") == "SchedulingGated":
        summary.reason = "SchedulingGated"
    _summarise_init(pod, summary)
    if not summary.initializing or condition(pod, "Initialized").get("status") == "True":
        _summarise_containers(pod, summary)
    if "deletionTimestamp" in pod["metadata"]:
        if status.get("reason") == "NodeLost":
            summary.reason = "Unknown"
        elif status.get("phase") not in ("Succeeded", "Failed"):
            summary.reason = "Terminating"
    return summary


def _summarise_init(pod: Object, summary: _PodSummary) -> None:
    specs = pod.get("spec", {}).get("initContainers") or []
    sidecars = {each["name"] for each in specs if each.get("restartPolicy") == "Always"}
    for index, container in enumerate(pod.get("status", {}).get("initContainerStatuses") or []):
        summary.restarts += container.get("restartCount", 0)
        _note_restart(container, summary)
        state = container.get("state") or {}
        terminated, waiting = state.get("terminated"), state.get("waiting") or {}
        if terminated is not None and terminated.get("exitCode") == 0:
            continue
        if container["name"] in sidecars and container.get("started"):
            summary.ready += bool(container.get("ready"))
            continue
        if terminated is not None:
            summary.reason = "Init:" + _ended(terminated)
        elif waiting.get("reason") not in (None, "", "PodInitializing"):
            summary.reason = "Init:" + waiting["reason"]
        else:
            summary.reason = f"Init:{index}/{len(specs)}"
        summary.initializing = True
        return


def _summarise_containers(pod: Object, summary: _PodSummary) -> None:
    running = False
    if not any(each.get("restartPolicy") == "Always" for each in pod.get("spec", {}).get("initContainers") or []):
        summary.restarts, summary.last_restart = 0, ""
    for container in reversed(pod.get("status", {}).get("containerStatuses") or []):
        summary.restarts += container.get("restartCount", 0)
        _note_restart(container, summary)
        state = container.get("state") or {}
        waiting, terminated = state.get("waiting"), state.get("terminated")
        if waiting is not None and waiting.get("reason"):
            summary.reason = waiting["reason"]
        elif terminated is not None:
            summary.reason = _ended(terminated)
        elif container.get("ready") and state.get("running") is not None:
            running = True
            summary.ready += 1
    if summary.reason == "Completed" and running:
        summary.reason = "Running" if condition(pod, "Ready").get("status") == "True" else "NotReady"


def _ended(terminated: Object) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    return f"Signal:{terminated['signal']}" if terminated.get("signal") else f"ExitCode:{terminated.get('exitCode', 0)}"


def _note_restart(container: Object, summary: _PodSummary) -> None:
    ended = (container.get("lastState") or {}).get("terminated") or {}
    summary.last_restart = max(summary.last_restart, ended.get("finishedAt") or "")


def readiness_gates(pod: Object) -> str:
    gates = pod.get("spec", {}).get("readinessGates") or []
    if not gates:
        return NONE
    met = sum(condition(pod, gate["conditionType"]).get("status") == "True" for gate in gates)
    return f"{met}/{len(gates)}"
