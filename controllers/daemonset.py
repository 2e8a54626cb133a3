"""DaemonSet -> a Pod on every node that wants one. Which nodes, and what is replaced next: daemonset_plan.py.

Kubernetes: pkg/controller/daemon.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from lightkube.models.apps_v1 import DaemonSetStatus
from lightkube.resources.apps_v1 import DaemonSet
from lightkube.resources.core_v1 import Node, Pod

from api import meta
from client.backoff import Backoff
from controllers import daemonset_plan as plans
from controllers import history
from controllers.availability import seconds_until_available
from controllers.history import History, NameTaken
from controllers.manager import Manager
from controllers.pod_control import PodControl

FAILED_PODS = Backoff(base=1.0, maximum=900.0, jitter=0.0)
"""Seconds until a failed daemon pod is replaced (Kubernetes: the same)."""


class DaemonSetController:
    """Keeps one pod of every DaemonSet on every node that wants it, nodes that come later included."""

    def __init__(self, manager: Manager, *, workers: int = 2) -> None:
        self._events = manager.recorder("daemonset-controller")
        self._history = History(manager)
        self._nodes = manager.informer(Node)
        self._control: PodControl[DaemonSet] = PodControl(
            manager, DaemonSet, component="daemonset-controller", workers=workers, reconcile=self.reconcile
        )
        self._nodes.on_change(self._node_changed)
        self._failures: dict[tuple[str, str], tuple[int, datetime]] = {}
        """(daemon set, node) -> how often its pod failed, and since when another may be tried."""

    def _node_changed(self, old: Node | None, new: Node | None) -> None:
        """Only name, labels and taints decide; heartbeats wake nobody."""
        if old is not None and new is not None and _matters(old) == _matters(new):
            return
        for daemon_set in self._control.owners.list():
            self._control.loop.enqueue(meta.key(daemon_set))

    async def reconcile(self, key: str) -> None:
        daemon_set = self._control.owners.get(key)
        if daemon_set is None or daemon_set.spec is None or meta.is_terminating(daemon_set):
            return
        ready_to_act = self._control.is_up_to_date(daemon_set)
        owned = await self._control.claim(daemon_set)
        status = daemon_set.status or DaemonSetStatus(0, 0, 0, 0)
        try:
            revisions = await self._history.sync(daemon_set, status.collisionCount or 0)
        except NameTaken:
            counted = meta.clone(status)
            counted.collisionCount = (status.collisionCount or 0) + 1
            await self._control.save_status(daemon_set, counted)
            return
        revision = meta.labels(revisions.present).get(history.HASH, "")
        nodes, now = self._nodes.list(), meta.now_micro()
        try:
            if ready_to_act:
                await self._act(daemon_set, nodes, owned, revision)
        finally:
            await self._control.save_status(daemon_set, plans.status_of(daemon_set, nodes, owned, revision, now))
        in_use = {
            meta.name(each)
            for each in revisions.all
            if any(meta.labels(pod).get(history.REVISION_LABEL) == meta.labels(each).get(history.HASH) for pod in owned)
        }
        await self._history.truncate(revisions, in_use=in_use, limit=daemon_set.spec.revisionHistoryLimit)
        needed = daemon_set.spec.minReadySeconds or 0
        waits = [wait for pod in owned if (wait := seconds_until_available(pod, needed, now))]
        if waits:
            self._control.loop.enqueue_after(key, min(waits) + 0.05)

    async def _act(self, daemon_set: DaemonSet, nodes: list[Node], owned: list[Pod], revision: str) -> None:
        now = meta.now_micro()
        actions = plans.place(daemon_set, nodes, owned, revision, now)
        strategy = daemon_set.spec.updateStrategy if daemon_set.spec else None
        if not actions.create and not actions.delete and (strategy is None or strategy.type != "OnDelete"):
            actions = plans.update(daemon_set, nodes, owned, revision, now)
        for pod in actions.failed:
            message = f"Found failed daemon pod {meta.key(pod)} on node {plans.node_of(pod)}, will try to kill it"
            self._events.event(daemon_set, "Warning", "FailedDaemonPod", message)
            self._hold(daemon_set, plans.node_of(pod), now)
        await self._control.delete(daemon_set, actions.delete)
        free = [node for node in actions.create if not self._is_held(daemon_set, node, now)]
        await self._control.create(daemon_set, [plans.pod_from(daemon_set, node, revision) for node in free])

    def _hold(self, daemon_set: DaemonSet, node: str, now: datetime) -> None:
        """A pod that fails at once, on a node that refuses it for instance, is not replaced in a hot loop."""
        key = (meta.uid(daemon_set), node)
        count, until = self._failures.get(key, (0, now))
        count = 1 if (now - until).total_seconds() > FAILED_PODS.maximum else count + 1
        delay = FAILED_PODS.delay(count)
        self._failures[key] = (count, now + timedelta(seconds=delay))
        self._control.loop.enqueue_after(meta.key(daemon_set), delay + 0.05)

    def _is_held(self, daemon_set: DaemonSet, node: str, now: datetime) -> bool:
        _, until = self._failures.get((meta.uid(daemon_set), node), (0, now))
        return now < until


def _matters(node: Node) -> object:
    return meta.labels(node), (node.spec and node.spec.taints) or []
