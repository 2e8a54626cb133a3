"""NoExecute taint -> pods that do not tolerate it (any longer) are deleted.

Kubernetes: pkg/controller/tainteviction. Toleration seconds run on the local monotonic clock from when this process
first saw pod and taint together, so a clock that jumps evicts nobody; a restart begins them anew.
"""

from __future__ import annotations

import asyncio

from lightkube.models.core_v1 import Taint
from lightkube.resources.core_v1 import Node, Pod

from api import meta, pods, taints
from controllers import writes
from controllers.manager import Manager
from controllers.node_lifecycle import node_index


class TaintEvictionController:
    """Evicts pods from nodes with NoExecute taints."""

    def __init__(self, manager: Manager, *, workers: int = 8) -> None:
        self._client = manager.client
        self._events = manager.recorder("taint-eviction-controller")
        self._nodes = manager.informer(Node)
        self._pods = manager.informer(Pod)
        self._pods.add_index("node", node_index)
        self._since: dict[str, float] = {}  # pod uid -> when it was first seen on a tainted node
        self._controller = manager.controller("taint-eviction", self.reconcile, workers=workers)
        self._nodes.on_change(self._node_changed)
        self._pods.on_change(self._pod_changed)

    def _node_changed(self, old: Node | None, new: Node | None) -> None:
        if no_execute(old) != no_execute(new):
            for pod in self._pods.by_index("node", meta.name(new or old)):
                self._controller.enqueue(meta.key(pod))

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        if old is not None and (new is None or meta.uid(new) != meta.uid(old)):
            self._since.pop(meta.uid(old), None)
        if new is not None and no_execute(self._nodes.get(pods.node_name(new))):
            self._controller.enqueue(meta.key(new))

    async def reconcile(self, key: str) -> None:
        pod = self._pods.get(key)
        if pod is None:
            return
        present = no_execute(self._nodes.get(pods.node_name(pod)))
        if not present or meta.is_terminating(pod) or pods.is_terminal(pod):
            self._since.pop(meta.uid(pod), None)
            return
        allowed = taints.seconds_tolerated(present, pod.spec.tolerations if pod.spec else None)
        if allowed is None:
            self._since.pop(meta.uid(pod), None)
            return
        now = asyncio.get_running_loop().time()
        left = self._since.setdefault(meta.uid(pod), now) + allowed - now
        if left > 0:
            self._controller.enqueue_after(key, left)
            return
        self._events.event(pod, "Normal", "TaintManagerEviction", f"Marking for deletion Pod {key}")
        await writes.delete_quietly(self._client, pod)


def no_execute(node: Node | None) -> list[Taint]:
    """The node's NoExecute taints."""
    if node is None or node.spec is None:
        return []
    return [each for each in node.spec.taints or () if each.effect == "NoExecute"]
