"""A pod's volumes: made once, before its first container, and then kept as the API server has their contents.

ready(state)          wait until they are made; all containers of the pod wait for the same work
refresh(state)        something they are made of may have changed
surroundings(state)   what the pod's volumes and containers refer to, as it is now
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from functools import partial

import httpx2
from lightkube import ApiError
from lightkube.resources.core_v1 import Pod

from api import meta
from kubelet.objects import NotSynced
from kubelet.pods.env import ConfigError, Reference, Surroundings
from kubelet.pods.env import references as env_references
from kubelet.pods.state import Failed, PodState
from kubelet.volumes import bound, files

log = logging.getLogger("pod")


def references(pod: Pod) -> set[Reference]:
    spec = pod.spec
    assert spec is not None
    containers = [*(spec.initContainers or []), *spec.containers]
    return files.references(pod).union(pull_secrets(pod), *(env_references(each) for each in containers))


def pull_secrets(pod: Pod) -> list[Reference]:
    return [Reference("Secret", each.name or "") for each in (pod.spec and pod.spec.imagePullSecrets) or []]


async def ready(state: PodState) -> None:
    """Raises Failed."""
    begin(state)
    if not state.mounting.made and state.mounting.task is not None:
        # A container that is given up must not end the work for the others.
        await asyncio.shield(state.mounting.task)


def begin(state: PodState) -> None:
    """Make them, beside whatever else the pod's start takes; `ready` tells how that went."""
    mounting = state.mounting
    if not mounting.made and (mounting.task is None or mounting.task.done()):
        mounting.task = asyncio.create_task(_make(state))
        # Told as an event already, whether or not a container comes to wait for it.
        mounting.task.add_done_callback(lambda task: task.cancelled() or task.exception())


async def _make(state: PodState) -> None:
    await _prepare(state)
    state.mounting.made = True


def refresh(state: PodState) -> None:
    """Returns at once; what was waited for is tried again at once too."""
    mounting = state.mounting
    mounting.stale = True
    for name, failure in list(state.failures.items()):
        if failure.reason in ("ContainerCreating", "CreateContainerConfigError"):
            del state.failures[name]
    state.wake()
    if mounting.made and (mounting.task is None or mounting.task.done()):
        mounting.task = asyncio.create_task(_keep_up(state))


async def _keep_up(state: PodState) -> None:
    while state.mounting.stale and state.snapshot().stop is None and state.snapshot().final_phase is None:
        state.mounting.stale = False
        try:
            await _prepare(state)
        except Failed as failure:
            log.info("%s: volumes not refreshed: %s", meta.key(state.pod), failure.message)


async def _prepare(state: PodState) -> None:
    host, pod = state.host, state.pod
    try:
        around = await surroundings(state)
        around = replace(around, claims=await bound.claims(host.client, pod, host.volumes.in_use))
        tokens = await host.objects.tokens(pod, files.tokens(pod))
        await asyncio.to_thread(host.volumes.prepare, pod, around, tokens)
    except (ConfigError, NotSynced, ApiError, httpx2.HTTPError, OSError) as error:
        text = str(error) or type(error).__name__
        state.event("Warning", "FailedMount", text)
        raise Failed("", "ContainerCreating", text) from error


async def surroundings(state: PodState) -> Surroundings:
    """Raises NotSynced, ApiError, httpx2.HTTPError, OSError."""
    host = state.host
    wanted = references(state.pod)
    host.objects.follow(state.pod, wanted, partial(refresh, state))
    objects = await host.objects.fetch(meta.namespace(state.pod), wanted)
    services = await host.objects.service_environment()
    return Surroundings(objects, state.ip, host.node_ip, host.allocatable, services)
