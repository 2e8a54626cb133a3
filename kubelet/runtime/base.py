"""What the kubelet needs of a container engine (Kubernetes: the Container Runtime Interface).

A pod is a *sandbox* container, which holds the pod's namespaces, and its *app* containers, which join them. The engine
is the only memory there is: what a container is for, which attempt it is and how long to wait after its end
is written on it as labels, so a new kubelet finds everything it needs to adopt it.

Invariants every implementation keeps:
- a container is started at most once: a restart is a new container with the next attempt number;
- creating a container whose name is taken replaces the one holding it, unless that one runs (a half-done creation);
- removing what is gone succeeds;
- `events` yields `Lost` whenever something may have been missed: list again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

State = Literal["created", "running", "exited"]


class RuntimeFailure(Exception):
    """The engine refused or failed; the message is what it said."""


class ImageNotFound(RuntimeFailure):
    """The image is not on this node, or no registry has it."""


class EngineUnavailable(RuntimeFailure):
    """The engine does not answer at all."""


@dataclass(frozen=True, slots=True)
class PodRef:
    """Whose container it is."""

    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Observed:
    """A container as the engine last described it. `name` is empty for a sandbox."""

    id: str
    pod: PodRef
    name: str
    attempt: int
    state: State
    created_at: datetime
    image: str = ""
    image_id: str = ""
    sandbox_id: str = ""
    """The sandbox whose namespaces it joined; its own id for a sandbox."""
    spec_hash: str = ""
    backoff: float = 0.0
    """Seconds to wait after its end before the next attempt (see plan.py)."""
    pid: int = 0
    started_at: datetime | None = None
    finished_at: datetime | None = None
    exit_code: int = 0
    oom_killed: bool = False
    error: str = ""
    """Why it could not be started, in the engine's words."""
    stop_signal: str = "SIGTERM"
    tty: bool = False

    @property
    def is_sandbox(self) -> bool:
        return not self.name

    @property
    def is_running(self) -> bool:
        return self.state == "running"

    @property
    def is_dead(self) -> bool:
        """It ran and ended, or could not even be started."""
        return self.state == "exited" or bool(self.error)

    @property
    def ended_at(self) -> datetime:
        return self.finished_at or self.created_at

    @property
    def rank(self) -> int:
        """States only move up: news that would move one down is old news."""
        return ("created", "running", "exited").index(self.state) * 2 + bool(self.error)


@dataclass(frozen=True, slots=True)
class Mount:
    """A file or directory of the host seen inside a container."""

    source: str
    target: str
    read_only: bool = False
    propagation: str = ""


@dataclass(frozen=True, slots=True)
class Resources:
    """Kernel limits, in the engine's units; zero means none."""

    cpu_shares: int = 2
    cpu_quota: int = 0
    """Microseconds of cpu per CPU_PERIOD_MICROSECONDS."""
    memory_bytes: int = 0
    oom_score_adj: int = 0


@dataclass(frozen=True, slots=True)
class Security:
    """What a securityContext asks for."""

    user: str = ""
    privileged: bool = False
    add_capabilities: tuple[str, ...] = ()
    drop_capabilities: tuple[str, ...] = ()
    read_only_root: bool = False
    no_new_privileges: bool = False
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SandboxSpec:
    pod: PodRef
    attempt: int
    hostname: str
    host_network: bool = False
    host_pid: bool = False
    host_ipc: bool = False
    sysctls: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    pod: PodRef
    name: str
    attempt: int
    image: str
    """The image's id, or its name."""
    image_name: str
    """The name the pod spec gives it."""
    sandbox_id: str
    spec_hash: str
    backoff: float
    command: Sequence[str] = ()
    args: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    working_dir: str = ""
    mounts: Sequence[Mount] = ()
    resources: Resources = Resources()
    security: Security = Security()
    host_network: bool = False
    host_pid: bool = False
    share_pid: bool = False
    tty: bool = False
    stdin: bool = False
    stdin_once: bool = False


@dataclass(frozen=True, slots=True)
class Image:
    id: str
    size_bytes: int
    user: str = ""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who a registry takes us for."""

    username: str
    password: str


@dataclass(frozen=True, slots=True)
class Changed:
    """Something happened to this container; ask for its state."""

    pod: PodRef
    container_id: str
    gone: bool = False


@dataclass(frozen=True, slots=True)
class Lost:
    """The stream of events was (re)connected: anything may have happened before."""


@dataclass(frozen=True, slots=True)
class RuntimeInfo:
    name: str
    version: str
    operating_system: str
    architecture: str
    """As Kubernetes names it: amd64, arm64."""
    kernel_version: str
    cpus: int
    memory_bytes: int
    root_dir: str


@dataclass(frozen=True, slots=True)
class ExecResult:
    exit_code: int
    output: str


@dataclass(frozen=True, slots=True)
class LogOptions:
    follow: bool = False
    tail: int | None = None
    timestamps: bool = False
    since: datetime | None = None


class Stream(Protocol):
    """Both directions of a process in a container."""

    async def read(self) -> tuple[int, bytes]:
        """What it wrote next, and where: 1 is standard output (and a terminal), 2 standard error. Empty: it ended."""
        ...

    async def write(self, data: bytes) -> None:
        """Give it input; returns when it may be given more."""
        ...

    def end_input(self) -> None: ...

    async def resize(self, *, columns: int, rows: int) -> None:
        """Of its terminal."""
        ...

    async def exit_code(self) -> int:
        """After the end; 0 where only a container's own process was listened to."""
        ...

    async def close(self) -> None:
        """Let go of it. A command begun by `open_exec` is killed if it still runs."""
        ...


class Runtime(Protocol):
    async def info(self) -> RuntimeInfo:
        """Raises EngineUnavailable."""
        ...

    async def list(self) -> Sequence[Observed]:
        """Every container of ours, dead ones too."""
        ...

    async def inspect(self, container_id: str) -> Observed | None:
        """None when it is gone."""
        ...

    def events(self) -> AsyncIterator[Changed | Lost]:
        """Ends of containers and removals, forever; starts with Lost once connected."""
        ...

    async def create_sandbox(self, spec: SandboxSpec) -> str:
        """The id of a sandbox with a network of its own and nothing in it (unless it uses the host's), to be started.

        Containers may be created in it already.
        """
        ...

    async def create_container(self, spec: ContainerSpec) -> str:
        """The new container's id. Raises ImageNotFound, RuntimeFailure."""
        ...

    async def start_container(self, container_id: str) -> Observed:
        """Raises RuntimeFailure when its process could not be started."""
        ...

    async def signal(self, container_id: str, signal: str) -> None:
        """Signal its main process; nothing happens when it does not run."""
        ...

    async def remove(self, container_id: str) -> None:
        """Kill it at once if it runs, and remove it."""
        ...

    async def exec(self, container_id: str, command: Sequence[str], *, seconds: float | None) -> ExecResult:
        """Run a command inside for at most so long from its start; raises TimeoutError, RuntimeFailure.

        A command that runs too long, or that the caller no longer waits for, is ended.
        """
        ...

    async def open_exec(
        self, container_id: str, command: Sequence[str], *, stdin: bool = False, stderr: bool = True, tty: bool = False
    ) -> Stream:
        """Start a command inside. Raises RuntimeFailure."""
        ...

    async def open_attach(self, container_id: str, *, stdin: bool, stderr: bool, tty: bool) -> Stream:
        """Listen and speak to the container's own process, from now on. Raises RuntimeFailure."""
        ...

    def logs(self, container_id: str, options: LogOptions) -> AsyncIterator[bytes]:
        """Standard output and error in the order written."""
        ...

    async def image(self, name: str) -> Image | None:
        """The image if it is on this node."""
        ...

    async def pull(self, name: str, credentials: Credentials | None = None) -> Image:
        """Fetch it from its registry. Raises ImageNotFound, RuntimeFailure."""
        ...

    async def load_images(self, path: str) -> None:
        """Take in the images of a docker-archive tar."""
        ...

    async def close(self) -> None: ...
