"""A node that falls silent -> Ready Unknown, its pods not ready, tainted; all of it undone when it is back.

Kubernetes: pkg/controller/nodelifecycle. What follows from what is in node_health.py; tainted nodes' pods are
evicted by taint_eviction.py.

Invariants
- Silence is measured on the local monotonic clock, and only while the API server demonstrably works for us.
- NoSchedule follows the conditions at once; NoExecute, which evicts, waits for the node's turn (zones.py). When no node
  at all is ready, nothing is evicted: then the network or the control plane is the likelier cause.
- Conditions and taints are written compare-and-swap, so a node that reports back at the same moment wins.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass

import httpx2
from lightkube import ApiError
from lightkube.models.coordination_v1 import LeaseSpec
from lightkube.models.core_v1 import NodeSpec, NodeStatus
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.coordination_v1 import Lease
from lightkube.resources.core_v1 import Node, Pod

from api import meta, pods
from controllers import node_health, writes
from controllers.manager import Manager
from controllers.zones import Brake, EvictionLimits, zone_of

NODE_LEASES = "kube-node-lease"
HEARTBEAT_NAMESPACE = "kube-system"
HEARTBEAT_NAME = "minik-node-monitor"

log = logging.getLogger("node-lifecycle")


@dataclass(frozen=True)
class Timing:
    """Seconds; Kubernetes' --node-monitor-grace-period, --node-startup-grace-period, --node-monitor-period."""

    grace: float = 40.0
    startup_grace: float = 60.0
    period: float = 5.0


class NodeLifecycleController:
    """Watches over the nodes' heartbeats."""

    def __init__(self, manager: Manager, *, timing: Timing, limits: EvictionLimits) -> None:
        self._client = manager.client
        self._events = manager.recorder("node-controller")
        self._timing = timing
        self._nodes = manager.informer(Node)
        self._pods = manager.informer(Pod)
        self._leases = manager.informer(Lease)
        self._pods.add_index("node", node_index)
        self._seen = node_health.Observations(time.monotonic, period=timing.period)
        self._brake = Brake(time.monotonic, limits)
        self._controller = manager.controller("node-lifecycle", self.reconcile, workers=4)
        self._nodes.on_change(self._node_changed)
        self._leases.on_change(self._lease_changed)
        manager.loop(self._write_heartbeats)

    # What changed

    def _node_changed(self, old: Node | None, new: Node | None) -> None:
        if new is None:
            if old is not None:
                self._seen.forget(meta.name(old))
            self._survey()
            return
        self._look_at(new)
        self._controller.enqueue(meta.name(new))
        if old is None or _readiness(old) != _readiness(new):
            self._survey()

    def _lease_changed(self, old: Lease | None, new: Lease | None) -> None:
        if new is None:
            return
        if meta.key(new) == f"{HEARTBEAT_NAMESPACE}/{HEARTBEAT_NAME}":
            if self._seen.hear_ourselves():
                log.info("the API server works again: every node gets its grace period anew")
            return
        node = self._nodes.get(meta.name(new)) if meta.namespace(new) == NODE_LEASES else None
        if node is not None:
            self._look_at(node)

    def _look_at(self, node: Node) -> None:
        lease = self._leases.get(f"{NODE_LEASES}/{meta.name(node)}")
        renewed = lease.spec.renewTime if lease is not None and lease.spec else None
        ready = meta.get_condition(node.status.conditions if node.status else None, "Ready")
        self._seen.see(
            meta.name(node),
            lease=renewed.isoformat() if renewed else "",
            heartbeat=ready.lastHeartbeatTime if ready else None,
        )

    async def _write_heartbeats(self) -> None:
        """Our own sign of life, whose way through the API server and back says that others' would arrive too."""
        while True:
            try:
                await self._write_heartbeat()
            except (ApiError, httpx2.HTTPError, OSError) as error:
                log.debug("heartbeat: %s", error)
            await asyncio.sleep(self._timing.period)

    async def _write_heartbeat(self) -> None:
        present = self._leases.get(f"{HEARTBEAT_NAMESPACE}/{HEARTBEAT_NAME}")
        spec = LeaseSpec(holderIdentity="node-lifecycle", renewTime=meta.now_micro())
        if present is None:
            metadata = ObjectMeta(name=HEARTBEAT_NAME, namespace=HEARTBEAT_NAMESPACE)
            await self._client.create(Lease(metadata=metadata, spec=spec))
            return
        renewed = meta.clone(present)
        renewed.spec = spec
        await writes.put(self._client, renewed)

    def _survey(self) -> None:
        nodes, was_stopped = self._nodes.list(), self._brake.stopped
        changed = self._brake.survey(nodes)
        for zone, state in changed.items():
            log.warning("zone %s is in state %s", zone, state.value)
        if was_stopped and not self._brake.stopped:
            self._seen.renew()  # whatever kept all of them silent, each gets its grace period anew
        if changed or was_stopped != self._brake.stopped:
            for node in nodes:
                self._controller.enqueue(meta.name(node))

    # Acting

    async def reconcile(self, key: str) -> None:
        node = self._nodes.get(key)
        if node is None:
            return
        silent = self._seen.silent_for(key)
        ever_reported = meta.get_condition(node.status.conditions if node.status else None, "Ready") is not None
        grace = self._timing.grace if ever_reported else self._timing.startup_grace
        if silent > grace:
            node = await self._mark_lost(node)
        node = await self._taint(node, lost=silent > grace or node_health.ready_status(node) == "False")
        if silent > grace:
            await self._mark_pods_not_ready(node)
        # Come back when this node could have used up its grace; a lost one is woken by its own status.
        left = grace - silent
        self._controller.enqueue_after(key, left + 0.01 if left > 0 else self._timing.period)

    async def _mark_lost(self, node: Node) -> Node:
        """Write the Unknown conditions; on a conflict somebody (the kubelet?) was faster, and the key is retried."""
        wanted = node_health.lost_conditions(node, meta.now())
        if node.status is not None and wanted == (node.status.conditions or []):
            return node
        was_ready = node_health.ready_status(node) == "True"
        lost = meta.clone(node)
        lost.status = lost.status or NodeStatus()
        lost.status.conditions = wanted
        stored = await writes.put(self._client, lost, "status")
        log.warning("%s: silent for %.1f s", meta.name(node), self._seen.silent_for(meta.name(node)))
        if was_ready:
            message = f"Node {meta.name(node)} status is now: NodeNotReady"
            self._events.event(node, "Normal", "NodeNotReady", message)
        return stored

    async def _taint(self, node: Node, *, lost: bool) -> Node:
        evict = False
        if node_health.ready_status(node) != "True" and not self._brake.stopped:
            evict = node_health.is_evicted(node)
            if lost and not evict:
                wait = self._brake.seconds_until(node)
                evict = wait == 0
                if 0 < wait < float("inf"):
                    self._controller.enqueue_after(meta.name(node), wait)
        wanted = node_health.wanted_taints(node, evict=evict)
        taints = node_health.with_taints(node.spec.taints if node.spec else None, wanted, meta.now())
        if taints is None:
            return node
        tainted = meta.clone(node)
        tainted.spec = tainted.spec or NodeSpec()
        tainted.spec.taints = taints or None
        return await writes.put(self._client, tainted)

    async def _mark_pods_not_ready(self, node: Node) -> None:
        """The kubelet cannot take its pods out of rotation any more, so it is done here."""
        on_node = self._pods.by_index("node", meta.name(node))
        ready = [pod for pod in on_node if pods.is_ready(pod)]
        await asyncio.gather(*(self._mark_pod_not_ready(pod) for pod in ready))

    async def _mark_pod_not_ready(self, pod: Pod) -> None:
        changed = meta.clone(pod)
        condition = meta.get_condition(changed.status.conditions if changed.status else None, "Ready")
        if condition is None:
            return
        condition.status = "False"
        condition.lastTransitionTime = meta.now()
        try:
            await writes.put(self._client, changed, "status")
        except Exception as error:
            if not writes.is_status(error, 404):
                raise
            return
        self._events.event(pod, "Warning", "NodeNotReady", "Node is not ready")


def _readiness(node: Node) -> tuple[str, str]:
    """What the brake goes by."""
    return node_health.ready_status(node), zone_of(node)


def node_index(pod: Pod) -> list[str]:
    """Index: the node a pod is bound to."""
    name = pods.node_name(pod)
    return [name] if name else []
