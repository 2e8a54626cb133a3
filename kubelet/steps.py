"""How a worker carries out each action of a plan. Everything here may be cut off at any point and begun again.

Raises Failed for what will be tried again later, Abandoned when the pod has to end meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

import httpx2
from lightkube import ApiError
from lightkube.models.core_v1 import Container, LifecycleHandler

from api import meta
from client import rest
from kubelet.container_spec import Attempt, container_spec, hosts_file, pod_ref, resolv_conf, sandbox_spec
from kubelet.env import ConfigError, Surroundings, environment
from kubelet.env import references as env_references
from kubelet.handlers import Handler, Target
from kubelet.images import ImageError
from kubelet.ipam import NoAddressLeft
from kubelet.plan import Action, CreateSandbox, Finalize, Kill, ReleaseSandbox, Remove, Start
from kubelet.runtime.base import ContainerSpec, EngineUnavailable, Image, Mount, Observed, RuntimeFailure
from kubelet.snapshot import grace_seconds
from kubelet.volumes import audiences
from kubelet.volumes import references as volume_references

if TYPE_CHECKING:
    from kubelet.worker import Worker

T = TypeVar("T")
log = logging.getLogger("pod")

PULL_BACKOFF_SECONDS = (10.0, 300.0)
CONFIG_BACKOFF_SECONDS = (1.0, 20.0)
"""First and longest wait before an image is asked for again; before anything else is tried again."""

MIN_GRACE_SECONDS = 2.0
"""What the stop signal is given even if a preStop hook used up the grace period."""
KILL_SECONDS = 30.0
"""After SIGKILL the engine has so long to report the end."""
API_RETRY_SECONDS = 1.0


@dataclass
class Failed(Exception):
    """A container ("" for the sandbox) could not be made; it is tried again after base, 2*base ... max seconds."""

    name: str
    reason: str
    message: str
    base_seconds: float = CONFIG_BACKOFF_SECONDS[0]
    max_seconds: float = CONFIG_BACKOFF_SECONDS[1]
    backoff_reason: str = ""
    backoff_message: str = ""


class Abandoned(Exception):
    """The pod has to end, so what was begun is left as it is."""


async def carry_out(worker: Worker, action: Action) -> None:
    match action:
        case CreateSandbox():
            await create_sandbox(worker)
        case ReleaseSandbox():
            await release_sandbox(worker)
        case Start():
            await start(worker, action)
        case Kill():
            await kill(worker, action)
        case Remove():
            await remove(worker, action.container)
        case Finalize():
            await finalize(worker)


async def _unless_stopping(worker: Worker, awaitable: Awaitable[T]) -> T:
    """The result, or Abandoned as soon as the pod has to end."""
    task = asyncio.ensure_future(awaitable)
    try:
        while not task.done():
            if worker.snapshot().stop is not None:
                raise Abandoned
            news = asyncio.ensure_future(worker.news_within(60))
            await asyncio.wait([task, news], return_when=asyncio.FIRST_COMPLETED)
            news.cancel()
        return task.result()
    finally:
        task.cancel()


# The sandbox


async def create_sandbox(worker: Worker) -> None:
    host, pod = worker.host, worker.pod
    if not worker.host_network and not host.network.ready.is_set():
        await _unless_stopping(worker, host.network.ready.wait())
    sandbox: Observed | None = None
    try:
        if not worker.host_network:
            host.network.address(worker.uid)
        sandbox = await host.runtime.create_sandbox(sandbox_spec(pod, 0))
        if not worker.host_network:
            await host.network.attach(worker.uid, sandbox.id, sandbox.pid)
    except EngineUnavailable:
        raise
    except (RuntimeFailure, NoAddressLeft, OSError) as error:
        worker.event("Warning", "FailedCreatePodSandBox", f"Failed to create pod sandbox: {error}")
        if sandbox is not None:
            await host.runtime.remove(sandbox.id)
        raise Failed("", "FailedCreatePodSandBox", str(error)) from error
    worker.failures.pop("", None)
    worker.observe(sandbox)


async def release_sandbox(worker: Worker) -> None:
    for each in worker.snapshot().sandboxes:
        await remove(worker, each)
    await worker.host.network.detach(worker.uid)


async def remove(worker: Worker, container: Observed) -> None:
    await worker.host.runtime.remove(container.id)
    worker.lost(container.id)


# Starting a container


async def start(worker: Worker, action: Start) -> None:
    container = _container_named(worker, action.name)
    around = await prepare_volumes(worker, container)
    image = await _image(worker, container)
    spec = _container_spec(worker, container, action, around, image)
    if worker.snapshot().stop is not None:
        raise Abandoned
    container_id = await _create(worker, container, spec)
    worker.failures.pop(action.name, None)
    await _start(worker, container, container_id)
    if container.lifecycle and container.lifecycle.postStart:
        await _post_start(worker, container, container_id, container.lifecycle.postStart)


def _container_named(worker: Worker, name: str) -> Container:
    snapshot = worker.snapshot()
    for each in [*snapshot.inits, *snapshot.mains]:
        if each.name == name:
            return each
    raise Abandoned


async def prepare_volumes(worker: Worker, container: Container | None = None) -> Surroundings:
    """Make the pod's volumes, or bring them up to date; returns what the container, if any, may refer to."""
    around = await _surroundings(worker, container)
    host, pod = worker.host, worker.pod
    try:
        tokens = await host.objects.tokens(pod, audiences(pod))
        await asyncio.to_thread(host.volumes.prepare, pod, around, tokens)
    except (ConfigError, ApiError, httpx2.HTTPError, OSError) as error:
        worker.event("Warning", "FailedMount", str(error))
        raise Failed(container.name if container else "", "ContainerCreating", str(error)) from error
    return around


async def _surroundings(worker: Worker, container: Container | None) -> Surroundings:
    """Fetch what the pod's volumes and the container refer to."""
    host, pod = worker.host, worker.pod
    wanted = volume_references(pod) | (env_references(container) if container else set())
    name = container.name if container else ""
    try:
        objects = await host.objects.fetch(meta.namespace(pod), wanted)
        services = await host.objects.service_environment()
    except (ApiError, httpx2.HTTPError, OSError) as error:
        raise Failed(name, "CreateContainerConfigError", f"the API server: {error}") from error
    return Surroundings(objects, worker.ip, host.node_ip, host.allocatable, services)


async def _image(worker: Worker, container: Container) -> Image:
    images, name = worker.host.images, container.image or ""
    try:
        image = await images.present(container)
        if image is not None:
            message = f'Container image "{name}" already present on machine'
            worker.event("Normal", "Pulled", message, container=container.name)
            return image
        worker.event("Normal", "Pulling", f'Pulling image "{name}"', container=container.name)
        pulled = await _unless_stopping(worker, images.pull(name))
        worker.event("Normal", "Pulled", pulled.message(name), container=container.name)
        return pulled.image
    except ImageError as error:
        raise _image_failure(worker, container, error) from error


def _image_failure(worker: Worker, container: Container, error: ImageError) -> Failed:
    if error.reason == "ErrImageNeverPull":
        worker.event("Warning", "ErrImageNeverPull", str(error), container=container.name)
        worker.event("Warning", "Failed", "Error: ErrImageNeverPull", container=container.name)
        return Failed(container.name, error.reason, str(error))
    text = str(error).removeprefix("failed to pull image ")
    worker.event("Warning", "Failed", f"Failed to pull image {text}", container=container.name)
    worker.event("Warning", "Failed", "Error: ErrImagePull", container=container.name)
    base, longest = PULL_BACKOFF_SECONDS
    waiting = f'Back-off pulling image "{container.image}": ErrImagePull: {error}'
    return Failed(container.name, error.reason, str(error), base, longest, "ImagePullBackOff", waiting)


def _container_spec(
    worker: Worker, container: Container, action: Start, around: Surroundings, image: Image
) -> ContainerSpec:
    host, pod = worker.host, worker.pod
    try:
        env = environment(pod, container, around)
        mounts = [*_own_files(worker), *host.volumes.mounts(pod, container, env)]
        attempt = Attempt(action.attempt, action.backoff, action.sandbox_id)
        return container_spec(
            pod, container, attempt, image=image, env=env, mounts=mounts, node_memory_bytes=host.memory_bytes
        )
    except ConfigError as error:
        worker.event("Warning", "Failed", f"Error: {error}", container=container.name)
        raise Failed(container.name, "CreateContainerConfigError", str(error)) from error


def _own_files(worker: Worker) -> list[Mount]:
    """/etc/hosts and /etc/resolv.conf. A pod on the host's network has the host's hosts file."""
    host, pod = worker.host, worker.pod
    write = host.volumes.write
    resolv = write(worker.uid, "etc/resolv.conf", resolv_conf(pod, host.dns, host.resolv_conf))
    mounts = [Mount(str(resolv), "/etc/resolv.conf")]
    if not worker.host_network:
        mounts.append(Mount(str(write(worker.uid, "etc/hosts", hosts_file(pod, worker.ip, host.dns))), "/etc/hosts"))
    return mounts


async def _create(worker: Worker, container: Container, spec: ContainerSpec) -> str:
    try:
        container_id = await worker.host.runtime.create_container(spec)
    except EngineUnavailable:
        raise
    except RuntimeFailure as error:
        worker.event("Warning", "Failed", f"Error: {error}", container=container.name)
        raise Failed(container.name, "CreateContainerError", str(error)) from error
    worker.event("Normal", "Created", f"Created container: {container.name}", container=container.name)
    return container_id


async def _start(worker: Worker, container: Container, container_id: str) -> None:
    runtime = worker.host.runtime
    try:
        worker.observe(await runtime.start_container(container_id))
    except EngineUnavailable:
        raise
    except RuntimeFailure as error:
        message = f'Error: failed to start container "{container.name}": {error}'
        worker.event("Warning", "Failed", message, container=container.name)
        refused = await runtime.inspect(container_id)
        if refused is not None:
            # It counts as an attempt that ended: what follows is the same as for a crash.
            worker.observe(replace(refused, error=refused.error or str(error)))
        return
    worker.event("Normal", "Started", f"Started container {container.name}", container=container.name)


# Hooks


def _handler(hook: LifecycleHandler) -> Handler:
    sleep = float(hook.sleep.seconds) if hook.sleep else 0.0
    return Handler(exec=hook.exec, http_get=hook.httpGet, tcp_socket=hook.tcpSocket, sleep=sleep)


async def _post_start(worker: Worker, container: Container, container_id: str, hook: LifecycleHandler) -> None:
    target = Target(container, container_id, worker.ip)
    succeeded, output = await worker.host.handlers.run(_handler(hook), target, seconds=grace_seconds(worker.pod) or 1)
    if succeeded:
        return
    worker.event("Warning", "FailedPostStartHook", f"PostStartHook failed: {output}", container=container.name)
    running = worker.containers.get(container_id)
    if running is not None and running.is_running:
        await kill(worker, Kill(running, "FailedPostStartHook", grace_seconds(worker.pod)))


async def _pre_stop(worker: Worker, container: Observed, seconds: float) -> None:
    snapshot = worker.snapshot()
    spec = next((each for each in [*snapshot.inits, *snapshot.mains] if each.name == container.name), None)
    hook = spec.lifecycle.preStop if spec and spec.lifecycle else None
    if spec is None or hook is None or seconds <= 0:
        return
    target = Target(spec, container.id, worker.ip)
    succeeded, output = await worker.host.handlers.run(_handler(hook), target, seconds=seconds)
    if not succeeded:
        worker.event("Warning", "FailedPreStopHook", f"PreStopHook failed: {output}", container=container.name)


# Ending


async def kill(worker: Worker, action: Kill) -> None:
    """preStop, the stop signal, and SIGKILL when the grace period is over; it may be shortened meanwhile."""
    container, runtime = action.container, worker.host.runtime
    loop = asyncio.get_running_loop()
    begun = loop.time()
    worker.event("Normal", "Killing", action.message, container=container.name)

    def deadline() -> float:
        stop = worker.snapshot().stop
        grace = min(action.grace_seconds, stop.grace_seconds) if stop else action.grace_seconds
        return begun + grace

    await _pre_stop(worker, container, action.grace_seconds)
    if action.grace_seconds > 0:
        floor = loop.time() + min(MIN_GRACE_SECONDS, action.grace_seconds)
        await runtime.signal(container.id, container.stop_signal)
        if await _ended(worker, container.id, lambda: max(deadline(), floor)):
            return
    await runtime.signal(container.id, "SIGKILL")
    limit = loop.time() + KILL_SECONDS
    if not await _ended(worker, container.id, lambda: limit):
        raise RuntimeFailure(f"container {container.name} does not end after SIGKILL")


async def _ended(worker: Worker, container_id: str, deadline: Callable[[], float]) -> bool:
    """Wait for the engine's word that it has, until the deadline, which may move."""
    loop = asyncio.get_running_loop()
    while True:
        container = worker.containers.get(container_id)
        if container is None or not container.is_running:
            return True
        left = deadline() - loop.time()
        if left <= 0:
            return False
        await worker.news_within(left)


async def finalize(worker: Worker) -> None:
    """Clear everything away, send the last status, and let the API server forget the pod."""
    host = worker.host
    await asyncio.gather(worker.reporter.flush(), _clear_away(worker))
    if not worker.snapshot().gone:
        await _delete_at_server(worker)
    host.objects.forget(worker.uid)
    worker.finished = True


async def _clear_away(worker: Worker) -> None:
    await asyncio.gather(*(remove(worker, each) for each in list(worker.containers.values())))
    await worker.host.network.detach(worker.uid)
    await asyncio.to_thread(worker.host.volumes.remove, worker.uid)


async def _delete_at_server(worker: Worker) -> None:
    """Until it is done: a pod that ended must not be held by an API server that was away."""
    while not worker.snapshot().gone:
        try:
            await rest.delete(worker.host.client, worker.pod, grace_seconds=0)
            return
        except ApiError as error:
            if error.status.code in (404, 409):
                return
            log.warning("%s: not deleted: %s", pod_ref(worker.pod), error)
        except (httpx2.HTTPError, OSError):
            pass
        await asyncio.sleep(API_RETRY_SECONDS)
