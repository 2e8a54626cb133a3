"""Pods that no kubelet will ever finish, and finished pods beyond a number -> deleted.

Kubernetes: pkg/controller/podgc. Deleted at once, without a grace period, are
- pods bound to a node that does not exist, after a quarantine and a look past the cache,
- pods being deleted that were never bound,
- pods being deleted on a node that is not ready and has the out-of-service taint,
- of the finished pods the oldest, when there are more than the threshold.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from lightkube.resources.core_v1 import Node, Pod

from api import meta, pods
from client import rest
from controllers import node_health, writes
from controllers.manager import Manager
from controllers.node_lifecycle import node_index

FINISHED = "*"
"""The work-queue key for the number of finished pods; no pod has it."""


@dataclass(frozen=True)
class Limits:
    """`quarantine`: seconds a node must have been gone before its pods are given up; `finished`: pods kept.

    Kubernetes waits 40 s because clouds delete and re-create Node objects; here a Node is deleted by a person.
    """

    quarantine: float = 5.0
    finished: int = 12_500


class PodGarbageCollector:
    """Deletes pods that would stay for ever."""

    def __init__(self, manager: Manager, *, limits: Limits) -> None:
        self._client = manager.client
        self._events = manager.recorder("pod-garbage-collector")
        self._limits = limits
        self._nodes = manager.informer(Node)
        self._pods = manager.informer(Pod)
        self._pods.add_index("node", node_index)
        self._pods.add_index("finished", lambda pod: [FINISHED] if pods.is_terminal(pod) else [])
        self._missing_since: dict[str, float] = {}
        self._controller = manager.controller("pod-gc", self.reconcile, workers=8)
        self._nodes.on_change(self._node_changed)
        self._pods.on_change(self._pod_changed)

    def _node_changed(self, old: Node | None, new: Node | None) -> None:
        node = new or old
        if node is None:
            return
        if new is not None:
            self._missing_since.pop(meta.name(node), None)
        if new is None or out_of_service(new):
            for pod in self._pods.by_index("node", meta.name(node)):
                self._controller.enqueue(meta.key(pod))

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        if new is None:
            return
        if pods.is_terminal(new) and (old is None or not pods.is_terminal(old)):
            self._controller.enqueue(FINISHED)
        if self._nodes.get(pods.node_name(new)) is None or meta.is_terminating(new):
            self._controller.enqueue(meta.key(new))

    async def reconcile(self, key: str) -> None:
        if key == FINISHED:
            await self._trim_finished()
            return
        pod = self._pods.get(key)
        if pod is None:
            return
        if not pods.node_name(pod):
            if meta.is_terminating(pod):
                await self._force_delete(pod)
            return
        node = self._nodes.get(pods.node_name(pod))
        if node is None:
            await self._without_node(pod)
        elif meta.is_terminating(pod) and out_of_service(node):
            await self._force_delete(pod)

    async def _without_node(self, pod: Pod) -> None:
        name = pods.node_name(pod)
        now = asyncio.get_running_loop().time()
        left = self._missing_since.setdefault(name, now) + self._limits.quarantine - now
        if left > 0:
            self._controller.enqueue_after(meta.key(pod), left)
            return
        if await rest.get(self._client, Node, name) is None:
            self._events.event(pod, "Normal", "PodGC", f"node {name} no longer exists")
            await self._force_delete(pod)

    async def _force_delete(self, pod: Pod) -> None:
        await writes.delete_quietly(self._client, pod, grace_seconds=0)

    async def _trim_finished(self) -> None:
        finished = self._pods.by_index("finished", FINISHED)
        surplus = len(finished) - self._limits.finished
        if surplus > 0:
            oldest_first = sorted(finished, key=lambda pod: (meta.metadata(pod).creationTimestamp, meta.name(pod)))
            for pod in oldest_first[:surplus]:
                await self._force_delete(pod)


def out_of_service(node: Node) -> bool:
    """Not ready, and a person said that it will not come back with its pods."""
    taints = (node.spec.taints if node.spec else None) or []
    return node_health.ready_status(node) != "True" and any(each.key == node_health.OUT_OF_SERVICE for each in taints)
