"""How a worker carries out each action of a plan. Everything here may be cut off at any point and begun again.

Raises Failed for what will be tried again later, Abandoned when the pod has to end meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TypeVar

import httpx2
from lightkube import ApiError
from lightkube.models.core_v1 import Container
from lightkube.resources.core_v1 import Secret

from client import rest
from kubelet import limits
from kubelet.images import ImageError, credentials
from kubelet.network.host_ports import host_ports
from kubelet.network.ipam import NoAddressLeft
from kubelet.objects import NotSynced
from kubelet.pods import hooks, messages, mounting
from kubelet.pods.container_spec import Attempt, container_spec, hosts_file, pod_ref, resolv_conf, sandbox_spec
from kubelet.pods.env import ConfigError, Surroundings, environment
from kubelet.pods.killing import kill
from kubelet.pods.plan import Action, CreateSandbox, Finalize, Kill, ReleaseSandbox, Remove, Start
from kubelet.pods.snapshot import grace_seconds
from kubelet.pods.state import Abandoned, Failed, PodState
from kubelet.runtime.base import ContainerSpec, Credentials, EngineUnavailable, Image, Mount, Observed, RuntimeFailure

T = TypeVar("T")
log = logging.getLogger("pod")


async def carry_out(state: PodState, action: Action) -> None:
    match action:
        case CreateSandbox():
            await create_sandbox(state)
        case ReleaseSandbox():
            await release_sandbox(state)
        case Start():
            await start(state, action)
        case Kill():
            await kill(state, action)
        case Remove():
            await remove(state, action.container)
        case Finalize():
            await finalize(state)


# The sandbox


async def create_sandbox(state: PodState) -> None:
    host, pod = state.host, state.pod
    if not state.host_network and not host.network.ready.is_set():
        await state.unless_stopping(host.network.ready.wait())
    sandbox_id = ""
    try:
        if not state.host_network:
            host.network.address(state.uid)
        mounting.begin(state)
        sandbox_id = await host.runtime.create_sandbox(sandbox_spec(pod, 0))
        state.coming = sandbox_id
        state.wake()
        sandbox = await host.runtime.start_container(sandbox_id)
        if not state.host_network:
            await host.network.attach(state.uid, sandbox.id, sandbox.pid, ports=host_ports(pod.spec))
    except EngineUnavailable:
        raise
    except (RuntimeFailure, NoAddressLeft, OSError) as error:
        state.event("Warning", "FailedCreatePodSandBox", f"Failed to create pod sandbox: {error}")
        if sandbox_id:
            await host.runtime.remove(sandbox_id)
        raise Failed("", "FailedCreatePodSandBox", str(error)) from error
    finally:
        state.coming = ""
    state.failures.pop("", None)
    state.observe(sandbox)


async def _connected(state: PodState, sandbox_id: str) -> None:
    """Wait until containers can run in it. Raises Abandoned when that will never be."""
    while True:
        snapshot = state.snapshot()
        if snapshot.stop is None and snapshot.sandbox is not None and snapshot.sandbox.id == sandbox_id:
            return
        if snapshot.stop is not None or snapshot.coming != sandbox_id:
            raise Abandoned
        await state.news_within(limits.NEWS_SECONDS)


async def release_sandbox(state: PodState) -> None:
    """Of a pod that has ended the claims' volumes go too: others may want them."""
    if state.snapshot().final_phase is not None or state.snapshot().stop is not None:
        await asyncio.to_thread(state.host.volumes.release, state.uid)
        state.host.volumes.in_use.drop(state.uid)
    for each in state.snapshot().sandboxes:
        await remove(state, each)
    await state.host.network.detach(state.uid)


async def remove(state: PodState, container: Observed) -> None:
    await state.host.runtime.remove(container.id)
    state.lost(container.id)


# Starting a container


async def start(state: PodState, action: Start) -> None:
    container = _container_named(state, action.name)
    around = await _surroundings(state, container)
    image = await _image(state, container, around)
    spec = await _container_spec(state, container, action, around, image)
    if state.snapshot().stop is not None:
        raise Abandoned
    container_id = await _create(state, container, spec)
    state.failures.pop(action.name, None)
    await _connected(state, action.sandbox_id)
    await _start(state, container, container_id)
    succeeded = await hooks.post_start(state, container, container_id)
    running = state.containers.get(container_id)
    if not succeeded and running is not None and running.is_running:
        await kill(state, Kill(running, "FailedPostStartHook", grace_seconds(state.pod)))


def _container_named(state: PodState, name: str) -> Container:
    snapshot = state.snapshot()
    for each in [*snapshot.inits, *snapshot.mains]:
        if each.name == name:
            return each
    raise Abandoned


async def _surroundings(state: PodState, container: Container) -> Surroundings:
    """The pod's volumes are made, and what the container's environment refers to is at hand."""
    try:
        await mounting.ready(state)
        return await mounting.surroundings(state)
    except Failed as failure:
        raise replace(failure, name=container.name) from failure
    except (NotSynced, ApiError, httpx2.HTTPError, OSError) as error:
        raise Failed(container.name, "CreateContainerConfigError", str(error)) from error


async def _image(state: PodState, container: Container, around: Surroundings) -> Image:
    images, name = state.host.images, container.image or ""
    try:
        image = await images.present(container)
        if image is not None:
            message = f'Container image "{name}" already present on machine'
            state.event("Normal", "Pulled", message, container=container.name)
            return image
        state.event("Normal", "Pulling", f'Pulling image "{name}"', container=container.name)
        pulled = await state.unless_stopping(images.pull(name, _pull_keys(state, name, around)))
        state.event("Normal", "Pulled", pulled.message(name), container=container.name)
        return pulled.image
    except ImageError as error:
        raise _image_failure(state, container, error) from error


def _pull_keys(state: PodState, name: str, around: Surroundings) -> list[Credentials]:
    """A pull secret that is not there is no error in Kubernetes either: the image may be anybody's."""
    found = [around.objects.get(each) for each in mounting.pull_secrets(state.pod)]
    return credentials(name, [each for each in found if isinstance(each, Secret)])


def _image_failure(state: PodState, container: Container, error: ImageError) -> Failed:
    if error.reason == "ErrImageNeverPull":
        state.event("Warning", "ErrImageNeverPull", str(error), container=container.name)
        state.event("Warning", "Failed", "Error: ErrImageNeverPull", container=container.name)
        return Failed(container.name, error.reason, str(error))
    text = str(error).removeprefix("failed to pull image ")
    state.event("Warning", "Failed", f"Failed to pull image {text}", container=container.name)
    state.event("Warning", "Failed", "Error: ErrImagePull", container=container.name)
    base, longest = limits.PULL_BACKOFF_SECONDS
    waiting = f'Back-off pulling image "{container.image}": ErrImagePull: {error}'
    return Failed(container.name, error.reason, str(error), base, longest, "ImagePullBackOff", waiting)


async def _container_spec(
    state: PodState, container: Container, action: Start, around: Surroundings, image: Image
) -> ContainerSpec:
    host, pod = state.host, state.pod
    try:
        env = environment(pod, container, around)
        mounts = await asyncio.to_thread(
            lambda: [*_own_files(state, container, action), *host.volumes.mounts(pod, container, env)]
        )
        attempt = Attempt(action.attempt, action.backoff, action.sandbox_id)
        return container_spec(
            pod, container, attempt, image=image, env=env, mounts=mounts, node_memory_bytes=host.memory_bytes
        )
    except (ConfigError, OSError) as error:
        state.event("Warning", "Failed", f"Error: {error}", container=container.name)
        raise Failed(container.name, "CreateContainerConfigError", str(error)) from error


def _own_files(state: PodState, container: Container, action: Start) -> list[Mount]:
    """/etc/hosts and /etc/resolv.conf. A pod on the host's network has the host's hosts file."""
    host, pod = state.host, state.pod
    write = host.volumes.write
    resolv = write(state.uid, "etc/resolv.conf", resolv_conf(pod, host.dns, host.resolv_conf))
    mounts = [Mount(str(resolv), "/etc/resolv.conf")]
    if not state.host_network:
        mounts.append(Mount(str(write(state.uid, "etc/hosts", hosts_file(pod, state.ip, host.dns))), "/etc/hosts"))
    return [*mounts, messages.mount(state, container, action.attempt)]


async def _create(state: PodState, container: Container, spec: ContainerSpec) -> str:
    try:
        container_id = await state.host.runtime.create_container(spec)
    except EngineUnavailable:
        raise
    except RuntimeFailure as error:
        state.event("Warning", "Failed", f"Error: {error}", container=container.name)
        raise Failed(container.name, "CreateContainerError", str(error)) from error
    state.event("Normal", "Created", f"Created container: {container.name}", container=container.name)
    return container_id


async def _start(state: PodState, container: Container, container_id: str) -> None:
    runtime = state.host.runtime
    try:
        state.observe(await runtime.start_container(container_id))
    except EngineUnavailable:
        raise
    except RuntimeFailure as error:
        message = f'Error: failed to start container "{container.name}": {error}'
        state.event("Warning", "Failed", message, container=container.name)
        refused = await runtime.inspect(container_id)
        if refused is not None:
            # It counts as an attempt that ended: what follows is the same as for a crash.
            state.observe(replace(refused, error=refused.error or str(error)))
        return
    state.event("Normal", "Started", f"Started container {container.name}", container=container.name)


# The end


async def finalize(state: PodState) -> None:
    """Clear everything away, send the last status, and let the API server forget the pod."""
    host = state.host
    await asyncio.gather(state.reporter.flush(), _clear_away(state))
    if not state.snapshot().gone:
        await _delete_at_server(state)
    host.objects.forget(state.uid)
    state.finished = True


async def _clear_away(state: PodState) -> None:
    await asyncio.gather(*(remove(state, each) for each in list(state.containers.values())))
    await state.host.network.detach(state.uid)
    await asyncio.to_thread(state.host.volumes.remove, state.uid)
    state.host.volumes.in_use.drop(state.uid)


async def _delete_at_server(state: PodState) -> None:
    """Until it is done: a pod that ended must not be held by an API server that was away."""
    while not state.snapshot().gone:
        try:
            await rest.delete(state.host.client, state.pod, grace_seconds=0)
            return
        except ApiError as error:
            if error.status.code in (404, 409):
                return
            log.warning("%s: not deleted: %s", pod_ref(state.pod), error)
        except (httpx2.HTTPError, OSError):
            pass
        await asyncio.sleep(limits.DELETE_RETRY_SECONDS)
