"""Everything the kubelet knows about one pod at one moment, and the questions plan.py and status.py ask of it. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from lightkube.models.core_v1 import Container, PodSpec
from lightkube.resources.core_v1 import Pod

from api import meta, pods
from kubelet import limits
from kubelet.runtime.base import Observed


@dataclass(frozen=True, slots=True)
class Failure:
    """A step that failed and is waiting to be tried again."""

    reason: str
    message: str
    at: datetime
    retry_at: datetime
    count: int = 1
    backoff_reason: str = ""
    """What the container is said to wait for after a moment: ImagePullBackOff for ErrImagePull."""
    backoff_message: str = ""


@dataclass(frozen=True, slots=True)
class Stop:
    """The pod has to end. With a reason it ends as Failed."""

    grace_seconds: float
    deleting: bool = False
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    pod: Pod
    now: datetime
    containers: tuple[Observed, ...] = ()
    """Sandboxes and app containers, dead ones too."""
    busy: frozenset[str] = frozenset()
    """Keys of the actions under way."""
    coming: str = ""
    """Id of the sandbox that is being started and connected: containers can be created in it, but not run."""
    networked: frozenset[str] = frozenset()
    """Sandboxes whose network is complete."""
    failures: Mapping[str, Failure] = field(default_factory=dict)
    """By container name; the sandbox's under the empty name."""
    ready: frozenset[str] = frozenset()
    """Ids of containers whose readiness probe, if any, succeeds."""
    started: frozenset[str] = frozenset()
    """Ids of containers whose startup probe, if any, has succeeded."""
    condemned: Mapping[str, str] = field(default_factory=dict)
    """Ids of containers that failed a liveness or startup probe, and the probe's name."""
    messages: Mapping[str, str] = field(default_factory=dict)
    """What containers left to be said of their end, by id."""
    rejected: tuple[str, str] | None = None
    """Reason and message, when this node refused the pod."""
    evicted: str = ""
    """Why the pod has to leave this node, if it has."""
    gone: bool = False
    """The API server no longer has the pod."""
    ip: str = ""
    host_ip: str = ""

    # The pod's containers

    @property
    def spec(self) -> PodSpec:
        assert self.pod.spec is not None
        return self.pod.spec

    @property
    def inits(self) -> list[Container]:
        return self.spec.initContainers or []

    @property
    def mains(self) -> list[Container]:
        return self.spec.containers

    def attempts(self, name: str) -> list[Observed]:
        """All containers of that name, newest first."""
        own = [each for each in self.containers if each.name == name and not each.is_sandbox]
        return sorted(own, key=lambda each: (each.attempt, each.created_at), reverse=True)

    def latest(self, name: str) -> Observed | None:
        return next(iter(self.attempts(name)), None)

    @property
    def sandboxes(self) -> list[Observed]:
        return [each for each in self.containers if each.is_sandbox]

    @property
    def sandbox(self) -> Observed | None:
        """The sandbox containers can be started in."""
        return next((each for each in self.sandboxes if each.is_running and each.id in self.networked), None)

    @property
    def running_apps(self) -> list[Observed]:
        return [each for each in self.containers if each.is_running and not each.is_sandbox]

    # What has to become of them

    @property
    def stop(self) -> Stop | None:
        """Why the pod has to end, if it has to."""
        metadata = meta.metadata(self.pod)
        if self.gone:
            return Stop(limits.GONE_GRACE_SECONDS, deleting=True)
        if metadata.deletionTimestamp is not None:
            return Stop(grace_seconds(self.pod), deleting=True)
        if self.rejected:
            return Stop(0, reason=self.rejected[0], message=self.rejected[1])
        status = self.pod.status
        if status is not None and pods.is_terminal(self.pod):
            return Stop(grace_seconds(self.pod), reason=status.reason or "", message=status.message or "")
        if self.evicted:
            return Stop(limits.EVICTION_GRACE_SECONDS, reason="Evicted", message=self.evicted)
        deadline = self.deadline
        if deadline is not None and self.now >= deadline:
            message = "Pod was active on the node longer than the specified deadline"
            return Stop(grace_seconds(self.pod), reason="DeadlineExceeded", message=message)
        return None

    @property
    def deadline(self) -> datetime | None:
        """When activeDeadlineSeconds are over."""
        seconds = self.spec.activeDeadlineSeconds
        start = self.pod.status.startTime if self.pod.status else None
        return start + timedelta(seconds=seconds) if seconds and start else None

    @property
    def final_phase(self) -> str | None:
        """Succeeded or Failed once all containers have ended for good."""
        if self.running_mains:
            return None
        for container in self.inits:
            last = self.latest(container.name)
            if last and last.is_dead and failed(last) and not is_sidecar(container) and not self.restarts(container):
                return "Failed"
        ends = [self.latest(each.name) for each in self.mains]
        if any(end is None or not end.is_dead for end in ends):
            return None
        if any(self.restarts(each) for each in self.mains):
            return None
        return "Failed" if any(failed(end) for end in ends if end) else "Succeeded"

    @property
    def running_mains(self) -> bool:
        names = {each.name for each in self.mains}
        return any(each.name in names for each in self.running_apps)

    def restarts(self, container: Container) -> bool:
        """Whether the container's last end calls for another attempt."""
        last = self.latest(container.name)
        if last is None or not last.is_dead:
            return False
        policy = restart_policy(self.spec, container)
        if is_sidecar(container):
            return True
        if container in self.inits:
            return policy != "Never" and failed(last)
        return policy == "Always" or (policy == "OnFailure" and failed(last))

    def restart_due(self, container: Container) -> datetime:
        """When the next attempt may be made."""
        last = self.latest(container.name)
        assert last is not None
        sandbox = self.sandbox
        if sandbox is not None and last.sandbox_id != sandbox.id:
            return last.ended_at
        return last.ended_at + timedelta(seconds=restart_delay(last))

    def init_done(self, container: Container) -> bool:
        """Whether the containers after this init container may start."""
        last = self.latest(container.name)
        sandbox = self.sandbox
        if sandbox is not None and any(
            each.sandbox_id == sandbox.id for main in self.mains for each in self.attempts(main.name)
        ):
            return True
        if last is None or (sandbox is not None and last.sandbox_id != sandbox.id):
            return False
        if is_sidecar(container):
            return last.is_running and last.id in self.started
        return last.is_dead and not failed(last)

    @property
    def initialized(self) -> bool:
        return all(self.init_done(each) for each in self.inits)


def grace_seconds(pod: Pod) -> float:
    """What a delete asked for, else what the spec says."""
    asked = meta.metadata(pod).deletionGracePeriodSeconds
    if asked is not None:
        return float(asked)
    spec = pod.spec.terminationGracePeriodSeconds if pod.spec else None
    return limits.DEFAULT_GRACE_SECONDS if spec is None else float(spec)


def spec_hash(container: Container) -> str:
    """Changes when a running container has to be replaced; as in Kubernetes, that is when its image does."""
    return hashlib.sha256(f"{container.name}\0{container.image}".encode()).hexdigest()[:8]


def restart_policy(spec: PodSpec, container: Container) -> str:
    return container.restartPolicy or spec.restartPolicy or "Always"


def is_sidecar(container: Container) -> bool:
    """An init container that runs on. (A main container never carries this policy together with init's place.)"""
    return container.restartPolicy == "Always"


def failed(container: Observed) -> bool:
    return container.exit_code != 0 or bool(container.error)


def ran_seconds(container: Observed) -> float:
    if container.started_at is None or container.finished_at is None:
        return 0.0
    return (container.finished_at - container.started_at).total_seconds()


def restart_delay(last: Observed) -> float:
    """Seconds between the end of `last` and the next attempt: 0, 10, 20, 40 ... 300; 0 again after a long run."""
    return 0.0 if ran_seconds(last) >= limits.BACKOFF_RESET_SECONDS else last.backoff


def next_backoff(delay: float) -> float:
    """What the attempt made after `delay` is given to wait after its own end."""
    return min(delay * 2, limits.RESTART_BACKOFF_MAX_SECONDS) if delay else limits.RESTART_BACKOFF_BASE_SECONDS
