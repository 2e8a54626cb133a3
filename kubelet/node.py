"""This node in the API: registration, status, and the lease that says it is alive.

Three things run side by side, so that none holds up another: the lease is renewed at a quarter of its duration
whatever the pods do; the status is sent when it changes (or when someone else changed it), and now and then anyway.
Kubernetes: https://kubernetes.io/docs/concepts/architecture/nodes/#node-heartbeats
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import msgspec
from lightkube import ApiError
from lightkube.models.coordination_v1 import LeaseSpec
from lightkube.models.core_v1 import (
    DaemonEndpoint,
    NodeAddress,
    NodeCondition,
    NodeDaemonEndpoints,
    NodeSpec,
    NodeStatus,
    NodeSystemInfo,
    Taint,
)
from lightkube.models.meta_v1 import ObjectMeta, OwnerReference
from lightkube.resources.coordination_v1 import Lease
from lightkube.resources.core_v1 import Node
from lightkube.types import PatchType

from api import meta
from api.resource import resource_info
from api.version import KUBERNETES_VERSION
from client import rest
from client.config import Client
from client.informer import Informer
from kubelet import limits, machine
from kubelet.volumes.in_use import InUse

log = logging.getLogger("node")

LEASE_NAMESPACE = "kube-node-lease"


@dataclass(frozen=True, slots=True)
class Settings:
    name: str
    ip: str
    port: int
    data_dir: Path
    max_pods: int = 110
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()
    status_seconds: float = 10.0
    lease_seconds: float = 40.0
    negative_oom: bool = True


@dataclass(frozen=True, slots=True)
class Health:
    """What stands between the node and Ready: empty strings when nothing does."""

    runtime: str = ""
    network: str = ""
    runtime_version: str = ""


class NodeAgent:
    def __init__(
        self, client: Client, settings: Settings, nodes: Informer[Node], health: Callable[[], Health], in_use: InUse
    ) -> None:
        self._client = client
        self._settings = settings
        self._nodes = nodes
        self._health = health
        self._in_use = in_use
        self._wake = asyncio.Event()
        in_use.changed = self.wake
        self.registered = asyncio.Event()
        nodes.on_change(self._node_changed)

    def wake(self) -> None:
        """The node's health may have changed."""
        self._wake.set()

    async def run(self) -> None:
        await self._register()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._renew_lease())
            tasks.create_task(self._keep_status())

    def _node_changed(self, old: Node | None, new: Node | None) -> None:
        if new is not None and meta.name(new) == self._settings.name:
            self._in_use.see(new)
            self._wake.set()

    # Registration

    async def _register(self) -> None:
        """Until it has worked: a node may well be up before its API server."""
        settings, said = self._settings, False
        while True:
            try:
                await self._create_or_update()
                break
            except (ApiError, httpx2.HTTPError, OSError) as error:
                if not said:
                    log.warning("cannot register yet: %s", str(error) or type(error).__name__)
                said = True
                await asyncio.sleep(limits.NODE_RETRY_SECONDS)
        log.info("registered node %s", settings.name)
        self.registered.set()

    async def _create_or_update(self) -> None:
        settings = self._settings
        labels = {
            "kubernetes.io/hostname": settings.name,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": machine.architecture(),
            **settings.labels,
        }
        node = Node(
            metadata=ObjectMeta(name=settings.name, labels=labels),
            spec=NodeSpec(taints=list(settings.taints) or None),
            status=node_status(settings, self._health(), None),
        )
        try:
            await self._client.create(node)
        except ApiError as error:
            if error.status.code != 409:
                raise
            patch = {"metadata": {"labels": labels}}
            await self._client.patch(Node, settings.name, patch, patch_type=PatchType.MERGE)

    # Status

    async def _keep_status(self) -> None:
        sent: dict[str, Any] = {}
        sent_at = 0.0
        while True:
            self._wake.clear()
            known = self._nodes.get(self._settings.name)
            status = node_status(self._settings, self._health(), known.status if known else None)
            status.volumesInUse = self._in_use.names()
            wire = _without_heartbeats(status)
            if wire != sent or not _agrees(known, status) or time.monotonic() - sent_at > limits.NODE_REPORT_SECONDS:
                if await self._send(status):
                    sent, sent_at = wire, time.monotonic()
                else:
                    await asyncio.sleep(limits.NODE_RETRY_SECONDS)
                    continue
            try:
                async with asyncio.timeout(self._settings.status_seconds):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def _send(self, status: NodeStatus) -> bool:
        path = resource_info(Node).path(None, self._settings.name) + "/status"
        headers = {"Content-Type": "application/strategic-merge-patch+json"}
        try:
            await rest.request(self._client, "PATCH", path, body={"status": status}, headers=headers)
        except (ApiError, httpx2.HTTPError, OSError) as error:
            log.info("node status not sent: %s", str(error) or type(error).__name__)
            return isinstance(error, ApiError) and error.status.code in (400, 404, 422)
        return True

    # The lease

    async def _renew_lease(self) -> None:
        interval = self._settings.lease_seconds / limits.RENEWALS_PER_LEASE
        loop = asyncio.get_running_loop()
        due = loop.time()
        failing = False
        while True:
            try:
                async with asyncio.timeout(max(interval * 2, 1.0)):
                    await self._renew_once()
                failing = False
            except (ApiError, httpx2.HTTPError, OSError) as error:  # TimeoutError is an OSError
                if not failing:
                    log.warning("lease not renewed: %s", str(error) or type(error).__name__)
                failing = True
            due = max(due + interval, loop.time())
            await asyncio.sleep(due - loop.time() or interval)

    async def _renew_once(self) -> None:
        spec = {
            "holderIdentity": self._settings.name,
            "leaseDurationSeconds": max(1, math.ceil(self._settings.lease_seconds)),
            "renewTime": meta.now_micro(),
        }
        path = resource_info(Lease).path(LEASE_NAMESPACE, self._settings.name)
        headers = {"Content-Type": "application/merge-patch+json"}
        try:
            await rest.request(self._client, "PATCH", path, body={"spec": spec}, headers=headers)
        except ApiError as error:
            if error.status.code != 404:
                raise
            await self._create_lease(spec)

    async def _create_lease(self, spec: dict[str, Any]) -> None:
        """Owned by the Node, so that it goes with it."""
        name = self._settings.name
        node = self._nodes.get(name)
        owners = [OwnerReference("v1", "Node", name, meta.uid(node))] if node else None
        metadata = ObjectMeta(name=name, namespace=LEASE_NAMESPACE, ownerReferences=owners)
        await self._client.create(Lease(metadata=metadata, spec=LeaseSpec(**spec)))


# What the status says. Pure but for a look at the machine.


def allocatable(max_pods: int, data_dir: Path) -> dict[str, str]:
    return {
        "cpu": str(machine.cpus()),
        "memory": f"{machine.memory_bytes() // 1024}Ki",
        "pods": str(max_pods),
        "ephemeral-storage": f"{machine.disk_bytes(data_dir) // 1024}Ki",
    }


def node_status(settings: Settings, health: Health, known: NodeStatus | None) -> NodeStatus:
    capacity = allocatable(settings.max_pods, settings.data_dir)
    return NodeStatus(
        addresses=[NodeAddress(settings.ip, "InternalIP"), NodeAddress(settings.name, "Hostname")],
        capacity=capacity,
        allocatable=capacity,
        conditions=_conditions(settings, health, known),
        daemonEndpoints=NodeDaemonEndpoints(kubeletEndpoint=DaemonEndpoint(settings.port)),
        nodeInfo=_node_info(health, known),
    )


def _node_info(health: Health, known: NodeStatus | None) -> NodeSystemInfo:
    version = health.runtime_version or (known and known.nodeInfo and known.nodeInfo.containerRuntimeVersion) or ""
    return NodeSystemInfo(
        architecture=machine.architecture(),
        bootID=machine.read("/proc/sys/kernel/random/boot_id"),
        containerRuntimeVersion=version,
        kernelVersion=machine.read("/proc/sys/kernel/osrelease"),
        kubeProxyVersion=KUBERNETES_VERSION,
        kubeletVersion=KUBERNETES_VERSION,
        machineID=machine.read("/etc/machine-id"),
        operatingSystem="linux",
        osImage=machine.operating_system(),
        systemUUID=machine.read("/sys/class/dmi/id/product_uuid"),
    )


def _conditions(settings: Settings, health: Health, known: NodeStatus | None) -> list[NodeCondition]:
    short = machine.pressure(settings.data_dir)
    problems = [each for each in (health.runtime, health.network) if each]
    if problems:
        ready = NodeCondition("False", "Ready", reason="KubeletNotReady", message="; ".join(problems))
    else:
        message = "kubelet is posting ready status"
        if not settings.negative_oom:
            message += (
                ". This machine refuses negative oom_score_adj values: no container is shielded from the OOM killer"
            )
        ready = NodeCondition("True", "Ready", reason="KubeletReady", message=message)
    wanted = [
        _pressure("MemoryPressure", short.memory, "SufficientMemory", "InsufficientMemory", "memory available"),
        _pressure("DiskPressure", short.disk, "NoDiskPressure", "DiskPressure", "disk space"),
        _pressure("PIDPressure", short.pids, "SufficientPID", "InsufficientPID", "PID available"),
        ready,
    ]
    now = meta.now()
    for each in wanted:
        old = meta.get_condition(known.conditions if known else None, each.type)
        each.lastHeartbeatTime = now
        each.lastTransitionTime = old.lastTransitionTime if old and old.status == each.status else now
    return wanted


def _pressure(kind: str, short: bool, good: str, bad: str, what: str) -> NodeCondition:
    text = {"NoDiskPressure": "kubelet has no disk pressure"}.get(good, f"kubelet has sufficient {what}")
    message = f"kubelet has insufficient {what}" if short else text
    return NodeCondition(str(short), kind, reason=f"KubeletHas{bad if short else good}", message=message)


def _without_heartbeats(status: NodeStatus) -> dict[str, Any]:
    wire: dict[str, Any] = msgspec.to_builtins(status)
    for condition in wire["conditions"]:
        condition.pop("lastHeartbeatTime", None)
        condition.pop("lastTransitionTime", None)
    return wire


def _agrees(known: Node | None, status: NodeStatus) -> bool:
    """Whether the API server shows what we say: while we were silent, the node controller spoke for us."""
    shown = (known.status.conditions if known and known.status else None) or []
    ours = {(each.type, each.status) for each in status.conditions or []}
    return known is None or ours <= {(each.type, each.status) for each in shown}
