"""Our specs in the words of Docker's Engine API, and its answers in ours. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from kubelet.runtime.base import ContainerSpec, Mount, Observed, PodRef, SandboxSpec, Security

CPU_PERIOD_MICROSECONDS = 100_000
SANDBOX_MEMORY_OOM_SCORE = -998
"""The sandbox holds the pod together, so the kernel should take it last."""

LOG_FILE_BYTES = "10m"
LOG_FILES = "3"

LABEL_POD = "io.kubernetes.pod.name"
LABEL_NAMESPACE = "io.kubernetes.pod.namespace"
LABEL_UID = "io.kubernetes.pod.uid"
LABEL_CONTAINER = "io.kubernetes.container.name"
LABEL_TYPE = "io.kubernetes.docker.type"
LABEL_ATTEMPT = "io.kubernetes.container.restartCount"
LABEL_HASH = "io.kubernetes.container.hash"
LABEL_SANDBOX = "io.kubernetes.sandbox.id"
LABEL_IMAGE_NAME = "minik.dev/image"
LABEL_BACKOFF = "minik.dev/restart-backoff-seconds"

SANDBOX_NAME = "POD"
"""Stands where a container's name stands in the name of a sandbox."""


def container_name(pod: PodRef, container: str, attempt: int) -> str:
    return f"k8s_{container}_{pod.name}_{pod.namespace}_{pod.uid}_{attempt}"


def sandbox_config(spec: SandboxSpec, *, image: str, cgroup_parent: str, negative_oom: bool) -> dict[str, Any]:
    """The body of `POST /containers/create` for a sandbox."""
    host = {
        "NetworkMode": "host" if spec.host_network else "none",
        "IpcMode": "host" if spec.host_ipc else "shareable",
        "PidMode": "host" if spec.host_pid else "",
        "CgroupParent": cgroup_parent,
        "OomScoreAdj": SANDBOX_MEMORY_OOM_SCORE if negative_oom else 0,
        "CpuShares": 2,
        "LogConfig": {"Type": "none"},
        "Sysctls": dict(spec.sysctls),
        "SecurityOpt": ["no-new-privileges"],
    }
    return {
        "Image": image,
        "Hostname": "" if spec.host_network else spec.hostname,
        "Labels": {
            **spec.labels,
            **_pod_labels(spec.pod),
            LABEL_TYPE: "podsandbox",
            LABEL_ATTEMPT: str(spec.attempt),
        },
        "HostConfig": host,
    }


def container_config(spec: ContainerSpec, *, cgroup_parent: str, negative_oom: bool) -> dict[str, Any]:
    """The body of `POST /containers/create` for an app container."""
    sandbox = f"container:{spec.sandbox_id}"
    resources = spec.resources
    host = {
        "NetworkMode": "host" if spec.host_network else sandbox,
        "IpcMode": sandbox,
        "PidMode": "host" if spec.host_pid else (sandbox if spec.share_pid else ""),
        "CgroupParent": cgroup_parent,
        "CpuShares": resources.cpu_shares,
        "CpuPeriod": CPU_PERIOD_MICROSECONDS if resources.cpu_quota else 0,
        "CpuQuota": resources.cpu_quota,
        "Memory": resources.memory_bytes,
        # Kubernetes allows no swap: without this Docker would add as much again.
        "MemorySwap": resources.memory_bytes,
        "OomScoreAdj": resources.oom_score_adj if negative_oom else max(0, resources.oom_score_adj),
        "LogConfig": {"Type": "json-file", "Config": {"max-size": LOG_FILE_BYTES, "max-file": LOG_FILES}},
        "Mounts": [_mount(each) for each in spec.mounts],
        **_security(spec.security),
    }
    config: dict[str, Any] = {
        "Image": spec.image,
        "Env": [f"{name}={value}" for name, value in spec.env.items()],
        "User": spec.security.user,
        "WorkingDir": spec.working_dir,
        "Tty": spec.tty,
        "OpenStdin": spec.stdin,
        "StdinOnce": spec.stdin_once,
        # A probe says how a pod is, not the image's own health check.
        "Healthcheck": {"Test": ["NONE"]},
        "Labels": {
            **_pod_labels(spec.pod),
            LABEL_TYPE: "container",
            LABEL_CONTAINER: spec.name,
            LABEL_ATTEMPT: str(spec.attempt),
            LABEL_SANDBOX: spec.sandbox_id,
            LABEL_HASH: spec.spec_hash,
            LABEL_BACKOFF: f"{spec.backoff:g}",
            LABEL_IMAGE_NAME: spec.image_name,
        },
        "HostConfig": host,
    }
    # An empty list would mean "no entry point"; absent means the image's own.
    if spec.command:
        config["Entrypoint"] = list(spec.command)
    if spec.args:
        config["Cmd"] = list(spec.args)
    return config


def _pod_labels(pod: PodRef) -> dict[str, str]:
    return {LABEL_POD: pod.name, LABEL_NAMESPACE: pod.namespace, LABEL_UID: pod.uid}


def _mount(mount: Mount) -> dict[str, Any]:
    options = {"BindOptions": {"Propagation": mount.propagation}} if mount.propagation else {}
    return {"Type": "bind", "Source": mount.source, "Target": mount.target, "ReadOnly": mount.read_only, **options}


def _security(security: Security) -> dict[str, Any]:
    return {
        "Privileged": security.privileged,
        "CapAdd": list(security.add_capabilities),
        "CapDrop": list(security.drop_capabilities),
        "ReadonlyRootfs": security.read_only_root,
        "GroupAdd": list(security.groups),
        "SecurityOpt": ["no-new-privileges"] if security.no_new_privileges else [],
    }


def pod_ref(labels: Mapping[str, str]) -> PodRef | None:
    """Whose container these labels are on; None for one that is not ours."""
    uid = labels.get(LABEL_UID)
    return PodRef(labels.get(LABEL_NAMESPACE, ""), labels.get(LABEL_POD, ""), uid) if uid else None


def observed(answer: Mapping[str, Any]) -> Observed | None:
    """A container as `GET /containers/ID/json` describes it; None for one that is not ours."""
    config, state = answer["Config"], answer["State"]
    labels = config.get("Labels") or {}
    pod = pod_ref(labels)
    if pod is None:
        return None
    app = labels.get(LABEL_TYPE) != "podsandbox"
    failed_start = state["Status"] == "created" and (state.get("Error") or state.get("ExitCode"))
    return Observed(
        id=answer["Id"],
        pod=pod,
        name=labels.get(LABEL_CONTAINER, "") if app else "",
        attempt=int(labels.get(LABEL_ATTEMPT) or 0),
        state=_state(state["Status"]),
        created_at=timestamp(answer["Created"]) or datetime.now(UTC),
        image=labels.get(LABEL_IMAGE_NAME) or config.get("Image", ""),
        image_id=answer.get("Image", ""),
        sandbox_id=labels.get(LABEL_SANDBOX, "") if app else answer["Id"],
        spec_hash=labels.get(LABEL_HASH, ""),
        backoff=float(labels.get(LABEL_BACKOFF) or 0),
        pid=state.get("Pid") or 0,
        started_at=timestamp(state.get("StartedAt", "")),
        finished_at=timestamp(state.get("FinishedAt", "")),
        exit_code=state.get("ExitCode") or 0,
        oom_killed=bool(state.get("OOMKilled")),
        error=(state.get("Error") or "container could not be started") if failed_start else "",
        stop_signal=config.get("StopSignal") or "SIGTERM",
        tty=bool(config.get("Tty")),
    )


def _state(status: str) -> Any:
    if status in ("running", "paused", "restarting"):
        return "running"
    return "created" if status == "created" else "exited"


def timestamp(text: str) -> datetime | None:
    """Docker's time; it writes the year 1 for "never"."""
    if not text or text.startswith("0001-"):
        return None
    return datetime.fromisoformat(text).astimezone(UTC)
