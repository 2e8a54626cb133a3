"""Follows the pods bound to this node and the containers the engine has, and brings the two together.

News comes as events: from the API server through an informer, from the engine through its event stream. Each is
handed to the worker of its pod. A slow resync catches what an event stream may have missed.

Invariants:
- nothing is started or killed before both the API server's pods and the engine's containers are known;
- containers of a pod the API server does not have are removed, and its address, links and directories with them;
- a pod's worker lives until nothing of the pod is left; a pod of the same name waits for that in its own worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator, Sequence

import httpx2
from lightkube import ApiError
from lightkube.resources.core_v1 import Node, Pod

from api import meta, pods
from client.informer import Informer
from kubelet import limits
from kubelet.admission import refusal
from kubelet.host import Host
from kubelet.pods.worker import Worker
from kubelet.runtime.base import Lost, Observed, RuntimeFailure
from kubelet.source import PodSource
from kubelet.volumes import bound

log = logging.getLogger("kubelet")


class Kubelet:
    def __init__(self, host: Host, node_name: str, pods: PodSource, nodes: Informer[Node]) -> None:
        self._host = host
        self._node_name = node_name
        self.pods = pods
        self.nodes = nodes
        self.workers: dict[str, Worker] = {}
        self.runtime_ready = asyncio.Event()
        """Whether the engine answers."""
        self.engine_trouble = ""
        """Why the containers are not known, if they are not; the node is NotReady then."""
        self._observed: dict[str, Observed] = {}
        self._admitted = False
        """Whether both sides are known and pods are taken on."""
        self._tasks: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Until cancelled. Containers go on."""
        self.pods.on_change(self._pod_changed)
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            tasks.create_task(self.pods.run())
            tasks.create_task(self._follow_engine())
            await self.pods.wait_synced()
            await self.runtime_ready.wait()
            await self.nodes.wait_synced()
            self._begin()
            tasks.create_task(self._resync())
            tasks.create_task(self._watch_usage())
            tasks.create_task(self._watch_disks())

    def find(self, namespace: str, name: str) -> Worker | None:
        """The worker of a pod of this node."""
        pod = self.pods.get(f"{namespace}/{name}")
        return self.workers.get(meta.uid(pod)) if pod else None

    def running(self) -> Iterator[tuple[Pod, list[Observed]]]:
        """The pods of this node that have running containers, with those."""
        for worker in list(self.workers.values()):
            found = [each for each in worker.containers.values() if each.is_running and not each.is_sandbox]
            if found:
                yield worker.pod, found

    def _begin(self) -> None:
        """Both sides are known: take on every pod, then clear away what belongs to none."""
        self._admitted = True
        # Pods that run here come first: they are not turned away for ones that only want to.
        for pod in sorted(self.pods.list(), key=lambda each: not self._containers_of(meta.uid(each))):
            self._take(pod)
        self._clear_orphans()

    # Pods, as the API server has them

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        if not self._admitted:
            return
        if old is not None and (new is None or meta.uid(old) != meta.uid(new)):
            self._forget(meta.uid(old))
        if new is not None:
            worker = self.workers.get(meta.uid(new))
            if worker is None:
                self._take(new)
            else:
                worker.update(new)

    def _forget(self, uid: str) -> None:
        worker = self.workers.get(uid)
        if worker is None:
            return
        worker.forget()
        if worker.finished:
            self.workers.pop(uid, None)

    def _take(self, pod: Pod) -> None:
        uid = meta.uid(pod)
        containers = self._containers_of(uid)
        if pods.is_terminal(pod) and not containers and not meta.is_terminating(pod):
            return  # over and cleared away
        worker = Worker(pod, self._host, containers=containers, rejected=self._refusal(pod, containers))
        self.workers[uid] = worker
        assert self._tasks is not None
        self._tasks.create_task(self._live(worker))

    async def _live(self, worker: Worker) -> None:
        try:
            await worker.run()
        except Exception:
            # A fault in one pod's worker must not be the end of the others; what it left is found again.
            log.exception("%s: the worker failed", meta.key(worker.pod))
            await asyncio.sleep(limits.WORKER_RETRY_SECONDS)
            self.workers.pop(worker.uid, None)
            self._begin_again(worker)
            return
        # The API server's last word on the pod may come later; until then it must not begin anew.
        if self._current(worker) is None:
            self.workers.pop(worker.uid, None)

    def _begin_again(self, worker: Worker) -> None:
        current = self._current(worker)
        if current is not None:  # else the resync clears away what is left
            self._observed.update(worker.containers)
            self._take(current)

    def _current(self, worker: Worker) -> Pod | None:
        """The worker's pod as the API server has it now; None when it has gone."""
        current = self.pods.get(meta.key(worker.pod))
        return current if current is not None and meta.uid(current) == worker.uid else None

    def _refusal(self, pod: Pod, containers: Sequence[Observed]) -> tuple[str, str] | None:
        """A pod that has run here was admitted then."""
        node = self.nodes.get(self._node_name)
        known = pod.status is not None and pod.status.startTime is not None
        if containers or known or node is None or meta.is_terminating(pod):
            return None
        others = [each.pod for each in self.workers.values() if not pods.is_terminal(each.pod) and not each.rejected]
        verdict = refusal(pod, node, others)
        if verdict is not None:
            self._host.recorder.event(pod, "Warning", verdict[0], verdict[1].removeprefix("Pod was rejected: "))
        return verdict

    # Containers, as the engine has them

    def _containers_of(self, uid: str) -> list[Observed]:
        return [each for each in self._observed.values() if each.pod.uid == uid]

    async def _follow_engine(self) -> None:
        async for event in self._host.runtime.events():
            if isinstance(event, Lost):
                await self._relist()
            elif event.gone:
                self._lost(event.pod.uid, event.container_id)
            else:
                try:
                    await self._look_at(event.pod.uid, event.container_id)
                except RuntimeFailure:
                    await self._relist()

    async def _relist(self) -> None:
        """Until the engine has told what it has: nothing is known of this node's containers before."""
        failures = 0
        while True:
            try:
                await self._list_containers()
            except RuntimeFailure as error:
                failures += 1
                log.warning("the container engine: %s", error)
                self.engine_trouble = f"PLEG is not healthy: {error}"
                await asyncio.sleep(limits.ENGINE_RETRY.delay(failures))
            else:
                self.engine_trouble = ""
                return

    async def _look_at(self, uid: str, container_id: str) -> None:
        container = await self._host.runtime.inspect(container_id)
        if container is None:
            self._lost(uid, container_id)
        else:
            self._seen(container)

    def _seen(self, container: Observed) -> None:
        worker = self.workers.get(container.pod.uid)
        if worker is not None:
            worker.observe(container)
        elif not self._admitted:
            self._observed[container.id] = container

    def _lost(self, uid: str, container_id: str) -> None:
        self._observed.pop(container_id, None)
        if uid in self.workers:
            self.workers[uid].lost(container_id)

    async def _list_containers(self) -> None:
        """Everything may have changed."""
        before = {each: worker for worker in self.workers.values() for each in worker.containers}
        found = {each.id: each for each in await self._host.runtime.list()}
        if not self._admitted:
            self._observed = found
        for container_id in before.keys() - found.keys():
            before[container_id].lost(container_id)
        for container in found.values():
            self._seen(container)
        self.runtime_ready.set()
        if self._admitted:
            self._clear_orphans(list(found.values()))

    # What belongs to nobody

    def _clear_orphans(self, containers: Sequence[Observed] | None = None) -> None:
        observed = list(self._observed.values()) if containers is None else list(containers)
        self._observed.clear()
        known = self.workers.keys() | {meta.uid(each) for each in self.pods.list()}
        orphans: dict[str, list[Observed]] = {}
        for each in observed:
            if each.pod.uid not in known:
                orphans.setdefault(each.pod.uid, []).append(each)
        for uid in self._host.volumes.pod_uids():
            if uid not in known:
                orphans.setdefault(uid, [])
        assert self._tasks is not None
        for uid, theirs in orphans.items():
            self._tasks.create_task(self._clear_orphan(uid, theirs))

    async def _clear_orphan(self, uid: str, containers: Sequence[Observed]) -> None:
        """The API server has forgotten the pod, so its grace is over."""
        if containers:
            log.info("removing %d containers of pod %s, which is gone", len(containers), containers[0].pod.name)
        try:
            await asyncio.gather(*(self._host.runtime.remove(each.id) for each in containers))
            await self._host.network.detach(uid)
            await asyncio.to_thread(self._host.volumes.remove, uid)
            self._host.volumes.in_use.drop(uid)
        except (RuntimeFailure, OSError) as error:
            log.warning("pod %s, which is gone: %s", uid, error)

    async def _watch_usage(self) -> None:
        """A pod whose emptyDir on disk holds more than its sizeLimit is evicted, as nothing else would stop it."""
        while True:
            await asyncio.sleep(limits.USAGE_SECONDS)
            for worker in list(self.workers.values()):
                why = await asyncio.to_thread(self._host.volumes.excess, worker.pod)
                if why:
                    worker.evict(why)

    async def _watch_disks(self) -> None:
        while True:
            await asyncio.sleep(limits.DISK_CHECK_SECONDS)
            with contextlib.suppress(ApiError, httpx2.HTTPError, OSError):
                await bound.give_up_lost(self._host.client, self._host.volumes.disks, self._node_name)

    async def _resync(self) -> None:
        while True:
            await asyncio.sleep(limits.RESYNC_SECONDS)
            await self._relist()
            for worker in list(self.workers.values()):
                worker.refresh()
