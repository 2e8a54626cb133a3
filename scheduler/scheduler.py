"""The loop: pods and nodes in by watch, decisions in memory, bindings out concurrently.

Invariants
- Deciding never waits: between a look at the snapshot and the decision no event comes in, so none can be missed.
- A decided pod is *assumed* on its node at once and forgotten when its binding fails, so the next decision sees the
  room as it will be.
- The API server has the last word: it binds a pod once, whoever asks. A second scheduler wastes work, nothing else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass
from typing import Any

import httpx2
from lightkube import ApiError
from lightkube.models.core_v1 import PodCondition
from lightkube.resources.core_v1 import Node, Pod
from lightkube.resources.policy_v1 import PodDisruptionBudget
from lightkube.types import PatchType

from api import meta, pods
from api.resource import resource_info
from client import rest
from client.config import Client
from client.events import EventRecorder
from client.informer import Informer
from scheduler.facts import ClassBook, PodFacts
from scheduler.preemption import Candidate, Residents, choose, may_preempt, priority
from scheduler.profile import DEFAULT, Profile
from scheduler.queue import SchedulingQueue
from scheduler.snapshot import Snapshot
from scheduler.volumes import Volumes

DEFAULT_SCHEDULER = "default-scheduler"
CONCURRENT_WRITES = 64
"""Bindings and status patches under way at a time."""
BREATH = 32
"""Decisions in a row before other work gets its turn."""

ERRORS = (ApiError, httpx2.HTTPError, OSError)

log = logging.getLogger("scheduler")


@dataclass(frozen=True)
class Nomination:
    """The node on which room is made for a pod; in the snapshot the pod is there already."""

    node: str
    priority: int


class Scheduler:
    """Places the pods whose schedulerName is `name`."""

    def __init__(self, client: Client, *, name: str = DEFAULT_SCHEDULER, profile: Profile = DEFAULT) -> None:
        self._client = client
        self._name = name
        self._recorder = EventRecorder(client, name)
        self._classes = ClassBook()
        self._queue = SchedulingQueue()
        self._snapshot = Snapshot()
        self._profile = profile
        self._writes = asyncio.Semaphore(CONCURRENT_WRITES)
        self._tasks: set[asyncio.Task[None]] = set()
        self._residents = Residents()
        self._nominated: dict[str, Nomination] = {}
        self._nodes = Informer(client, Node)
        self._pods = Informer(client, Pod)
        self._budgets = Informer(client, PodDisruptionBudget)
        self._volumes = Volumes(client, self._pods, changed=self._reconsider, placed=self._place_of)
        self._nodes.on_change(self._node_changed)
        self._pods.on_change(self._pod_changed)
        self._pods.on_change(lambda old, new: self._volumes.pod_changed(new or old))

    async def run(self) -> None:
        """Schedule until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._nodes.run())
            group.create_task(self._pods.run())
            group.create_task(self._budgets.run())
            group.create_task(self._recorder.run())
            for informer in self._volumes.informers:
                group.create_task(informer.run())
            for informer in self._volumes.informers:
                await informer.wait_synced()
            await self._budgets.wait_synced()
            await self._nodes.wait_synced()
            await self._pods.wait_synced()
            log.info("scheduling onto %d nodes", self._snapshot.known_nodes)
            await self._schedule_forever()

    # What changed

    def _node_changed(self, old: Node | None, new: Node | None) -> None:
        if new is None:
            if old is not None:
                self._snapshot.remove_node(meta.name(old))
        elif self._snapshot.put_node(new):
            self._room_on(meta.name(new))

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        self._residents.changed(old, new)
        if old is not None and (new is None or meta.uid(new) != meta.uid(old)):
            self._pod_left(old)
        if new is None:
            return
        if pods.is_terminal(new):
            self._pod_left(new)
        elif pods.node_name(new):
            self._queue.delete(meta.key(new))
            self._pod_runs(new)
        elif self._is_ours(new):
            self._consider(new)
            nominated = new.status and new.status.nominatedNodeName
            if nominated and self._snapshot.placement(meta.uid(new)) is None:
                self._nominate(new, nominated)  # before this scheduler was there
        else:
            self._queue.delete(meta.key(new))

    def _consider(self, pod: Pod) -> None:
        self._queue.add(meta.key(pod), self._facts(pod), priority=priority(pod))

    def _reconsider(self, waiting: Iterable[Pod]) -> None:
        """Something happened to the volumes of these."""
        for pod in waiting:
            placed = self._snapshot.placement(meta.uid(pod))
            if placed is None and self._is_ours(pod) and not pods.is_terminal(pod):
                self._consider(pod)

    def _place_of(self, pod: Pod) -> str:
        placed = self._snapshot.placement(meta.uid(pod))
        return pods.node_name(pod) or (placed.node if placed is not None else "")

    def _facts(self, pod: Pod) -> PodFacts:
        """Of a pod to be placed."""
        return self._classes.facts_of(pod, self._volumes.needs(pod))

    def _pod_left(self, pod: Pod) -> None:
        self._queue.delete(meta.key(pod))
        self._nominated.pop(meta.uid(pod), None)
        node = self._snapshot.remove_pod(meta.uid(pod))
        if node is not None:
            self._room_on(node)

    def _pod_runs(self, pod: Pod) -> None:
        """Take in where the API says the pod is; its former place and smaller requests may leave room."""
        before = self._snapshot.placement(meta.uid(pod))
        facts = self._classes.facts_of(pod)
        self._nominated.pop(meta.uid(pod), None)
        self._snapshot.put_pod(meta.uid(pod), pods.node_name(pod), facts)
        if before is None or before.assumed:
            self._queue.move(lambda facts: facts.looks_around)
        if before is not None and (before.node != pods.node_name(pod) or before.facts is not facts):
            self._room_on(before.node)

    def _room_on(self, node: str) -> None:
        info = self._snapshot.nodes.get(node)
        if info is None or not info.known:
            return
        with self._snapshot.without(self._nominated):  # it may be for them that room was made
            self._queue.move(lambda facts: facts.looks_around or self._profile.may_fit(facts, self._snapshot, info))

    def _is_ours(self, pod: Pod) -> bool:
        spec = pod.spec
        if spec is None or meta.is_terminating(pod) or spec.schedulingGates:
            return False
        return (spec.schedulerName or DEFAULT_SCHEDULER) == self._name

    # Deciding

    async def _schedule_forever(self) -> None:
        decided = 0
        while True:
            async with self._writes:  # no decision without a free hand to carry it out
                key = await self._queue.pop()
                self._schedule(key)
            decided += 1
            if decided % BREATH == 0:
                await asyncio.sleep(0)

    def _schedule(self, key: str) -> None:
        """Decide about one pod."""
        pod = self._pods.get(key)
        if pod is None or pods.node_name(pod) or not self._is_ours(pod):
            self._queue.delete(key)
            return
        facts = self._facts(pod)
        with self._snapshot.without(self._outranked(pod)):
            node = self._profile.best(facts, self._snapshot)
            why = "" if node is not None else self._profile.explain(facts, self._snapshot)
            room = self._make_room(pod, facts) if node is None else None
        if node is not None:
            self._nominated.pop(meta.uid(pod), None)
            self._snapshot.put_pod(meta.uid(pod), node, facts, assumed=True)
            if facts.volumes.unbound:
                self._keep(self._bind_with_volumes(pod, node, facts))
            else:
                self._start(self._bind(pod, node))
            return
        self._queue.put_unschedulable(key)
        self._report_unschedulable(pod, why)
        if room is not None:
            self._nominate(pod, room.node)
            self._start(self._preempt(pod, room))

    # Preempting

    def _outranked(self, pod: Pod) -> list[str]:
        """Pods that wait for the end of others, and must not keep this one out meanwhile."""
        mine, number = meta.uid(pod), priority(pod)
        return [uid for uid, each in self._nominated.items() if each.priority < number or uid == mine]

    def _make_room(self, pod: Pod, facts: PodFacts) -> Candidate | None:
        waiting = self._nominated.get(meta.uid(pod))
        if not may_preempt(pod) or (waiting is not None and self._has_leaving(waiting)):
            return None
        budgets = self._budgets.list()
        return choose(pod, facts, self._snapshot, self._residents, profile=self._profile, budgets=budgets)

    def _has_leaving(self, nomination: Nomination) -> bool:
        return any(map(meta.is_terminating, self._residents.below(nomination.node, nomination.priority)))

    def _nominate(self, pod: Pod, node: str) -> None:
        """Hold the room on the node for the pod, against all that do not matter more."""
        self._nominated[meta.uid(pod)] = Nomination(node, priority(pod))
        self._snapshot.put_pod(meta.uid(pod), node, self._facts(pod), assumed=True)

    async def _preempt(self, pod: Pod, room: Candidate) -> None:
        """Say where the pod will be, and end the pods that are in its way."""
        try:
            await self._patch_status(pod, {"nominatedNodeName": room.node})
            for victim in room.victims:
                await self._end(victim, pod, room.node)
        except ERRORS as error:
            log.warning("%s: no room made on %s: %s", meta.key(pod), room.node, str(error) or type(error).__name__)
            self._queue.back_off(meta.key(pod))

    async def _end(self, victim: Pod, preemptor: Pod, node: str) -> None:
        message = f"{self._name}: preempting to accommodate a higher priority pod"
        target = PodCondition(
            type="DisruptionTarget",
            status="True",
            reason="PreemptionByScheduler",
            message=message,
            lastTransitionTime=meta.now(),
        )
        try:
            await self._patch_status(victim, {"conditions": [target.to_dict()]})
            await rest.delete(self._client, victim)
        except ApiError as error:
            if error.status.code not in (404, 409):  # it has gone by itself
                raise
            return
        log.info("%s ends on %s for %s", meta.key(victim), node, meta.key(preemptor))
        self._recorder.event(victim, "Normal", "Preempted", f"Preempted by pod {meta.uid(preemptor)} on node {node}")

    # Carrying out

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._keep(self._with_permit(work))

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _with_permit(self, work: Coroutine[Any, Any, None]) -> None:
        async with self._writes:
            await work

    async def _bind_with_volumes(self, pod: Pod, node: str, facts: PodFacts) -> None:
        try:
            await self._volumes.select(facts.volumes.unbound, node)
        except ERRORS as error:  # TimeoutError is an OSError
            self._binding_failed(pod, node, error)
        else:
            await self._with_permit(self._bind(pod, node))

    async def _bind(self, pod: Pod, node: str) -> None:
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": meta.name(pod), "namespace": meta.namespace(pod), "uid": meta.uid(pod)},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        path = resource_info(Pod).path(meta.namespace(pod), meta.name(pod)) + "/binding"
        try:
            await rest.request(self._client, "POST", path, body=binding)
        except ERRORS as error:
            self._binding_failed(pod, node, error)
        else:
            self._recorder.event(pod, "Normal", "Scheduled", f"Successfully assigned {meta.key(pod)} to {node}")

    def _binding_failed(self, pod: Pod, node: str, error: Exception) -> None:
        """Give the room back and try again later, unless the watch says that there is nothing left to do."""
        text = str(error) or type(error).__name__
        log.info("%s: not bound to %s: %s", meta.key(pod), node, text)
        self._snapshot.forget(meta.uid(pod))
        self._volumes.pod_changed(pod)
        self._room_on(node)
        present = self._pods.get(meta.key(pod))
        if present is None or meta.uid(present) != meta.uid(pod) or pods.node_name(present):
            return
        self._queue.back_off(meta.key(pod))
        if not (isinstance(error, ApiError) and error.status.code in (404, 409)):
            self._recorder.event(pod, "Warning", "FailedScheduling", f"binding rejected: {text}")

    def _report_unschedulable(self, pod: Pod, message: str) -> None:
        """Say why in the pod's status and in an event, once per message."""
        conditions = pod.status.conditions if pod.status else None
        known = meta.get_condition(conditions, "PodScheduled")
        if known is not None and (known.status, known.message) == ("False", message):
            return
        log.info("%s: %s", meta.key(pod), message)
        self._recorder.event(pod, "Warning", "FailedScheduling", message)
        condition = PodCondition(
            type="PodScheduled",
            status="False",
            reason="Unschedulable",
            message=message,
            lastTransitionTime=known.lastTransitionTime if known and known.status == "False" else meta.now(),
        )
        self._start(self._write_condition(pod, condition))

    async def _write_condition(self, pod: Pod, condition: PodCondition) -> None:
        try:
            await self._patch_status(pod, {"conditions": [condition.to_dict()]})
        except ERRORS as error:
            log.info("%s: condition not written: %s", meta.key(pod), str(error) or type(error).__name__)

    async def _patch_status(self, pod: Pod, status: dict[str, Any]) -> None:
        # The uid keeps it off another pod that has taken the name meanwhile.
        patch = {"metadata": {"uid": meta.uid(pod)}, "status": status}
        await self._client.patch(
            Pod.Status, meta.name(pod), patch, namespace=meta.namespace(pod), patch_type=PatchType.STRATEGIC
        )
