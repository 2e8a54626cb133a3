"""ReplicaSet -> Pods: as many active pods with the template's shape as spec.replicas says.

Kubernetes: pkg/controller/replicaset.

Invariants
- The cache is trusted only when everything this loop wrote is in it (expectations.py).
- Pods that have ended or are being deleted are not counted; pods of others are never touched (adoption.py).
- Failing creations are tried with slowly growing batches, so that a broken template costs one call, not hundreds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from lightkube.models.apps_v1 import ReplicaSetCondition, ReplicaSetStatus
from lightkube.models.core_v1 import PodTemplateSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import ReplicaSet
from lightkube.resources.core_v1 import Pod

from api import meta, pods, selectors
from controllers import adoption, ranking, writes
from controllers.availability import seconds_until_available
from controllers.expectations import Expectations
from controllers.manager import Manager

BURST = 500
"""The most pods created or deleted in one go."""


class ReplicaSetController:
    """Keeps the pods of every ReplicaSet at their number."""

    def __init__(self, manager: Manager, *, workers: int = 8) -> None:
        self._client = manager.client
        self._events = manager.recorder("replicaset-controller")
        self._sets = manager.informer(ReplicaSet)
        self._pods = manager.informer(Pod)
        self._pods.add_index("controller", controller_uid)
        self._pods.add_index("orphan", _orphan_namespace)
        self._sets.add_index("controller", controller_uid)
        self._expectations = Expectations()
        self._controller = manager.controller("replicaset", self.reconcile, workers=workers)
        self._sets.on_change(self._set_changed)
        self._pods.on_change(self._pod_changed)

    def _set_changed(self, old: ReplicaSet | None, new: ReplicaSet | None) -> None:
        if old is not None and (new is None or meta.uid(new) != meta.uid(old)):
            self._expectations.forget(meta.key(old))
        changed = new or old
        if changed is not None:
            self._controller.enqueue(meta.key(changed))

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        for pod in (old, new):
            owner = meta.controller_of(pod) if pod is not None else None
            if pod is not None and owner is not None and owner.kind == "ReplicaSet":
                key = f"{meta.namespace(pod)}/{owner.name}"
                # Both a creation and the beginning (or end) of a deletion show in what the cache holds now.
                if new is None or meta.is_terminating(new) or old is None:
                    self._expectations.observe(key, meta.uid(pod))
                self._controller.enqueue(key)
        if new is not None and meta.controller_of(new) is None:
            self._enqueue_possible_owners(new)

    def _enqueue_possible_owners(self, pod: Pod) -> None:
        """An orphan may be adopted by whoever selects it."""
        for replica_set in self._sets.list(meta.namespace(pod)):
            selector = selectors.from_label_selector(replica_set.spec.selector) if replica_set.spec else None
            if selector and selector.matches(meta.labels(pod)):
                self._controller.enqueue(meta.key(replica_set))

    async def reconcile(self, key: str) -> None:
        replica_set = self._sets.get(key)
        if replica_set is None or replica_set.spec is None:
            return
        ready_to_act = self._expectations.satisfied(key)
        selector = selectors.from_label_selector(replica_set.spec.selector)
        candidates = self._pods.by_index("controller", meta.uid(replica_set))
        candidates += self._pods.by_index("orphan", meta.namespace(replica_set))
        alive = [pod for pod in candidates if not pods.is_terminal(pod)]
        active = [p for p in await adoption.claim(self._client, replica_set, selector, alive) if pods.is_active(p)]
        failure: Exception | None = None
        if ready_to_act and not meta.is_terminating(replica_set):
            try:
                await self._manage(replica_set, active)
            except Exception as error:
                failure = error
        await self._update_status(replica_set, active, failure)
        if failure is not None:
            raise failure

    async def _manage(self, replica_set: ReplicaSet, active: list[Pod]) -> None:
        """Create or delete the difference."""
        wanted = replica_set.spec.replicas if replica_set.spec and replica_set.spec.replicas is not None else 1
        difference = len(active) - wanted
        if difference < 0:
            await self._create(replica_set, min(-difference, BURST))
        elif difference > 0:
            victims = ranking.to_delete(active, min(difference, BURST), self._related(replica_set))
            await all_or_first_error([self._delete(replica_set, pod) for pod in victims])

    def _related(self, replica_set: ReplicaSet) -> list[Pod]:
        """Active pods of all ReplicaSets with the same owner."""
        owner = meta.controller_of(replica_set)
        siblings = [replica_set] if owner is None else self._sets.by_index("controller", owner.uid)
        owned = (pod for each in siblings for pod in self._pods.by_index("controller", meta.uid(each)))
        return [pod for pod in owned if pods.is_active(pod)]

    async def _create(self, replica_set: ReplicaSet, count: int) -> None:
        """In batches of 1, 2, 4, ...: the first batch with a failure is the last."""
        batch = 1
        while count > 0:
            batch = min(batch, count)
            await all_or_first_error([self._create_one(replica_set) for _ in range(batch)])
            count -= batch
            batch *= 2

    async def _create_one(self, replica_set: ReplicaSet) -> None:
        try:
            created = await self._client.create(pod_from(replica_set))
        except Exception as error:
            if writes.is_status(error, 403) and "because it is being terminated" in str(error):
                return  # the namespace is going, and so will the ReplicaSet
            self._events.event(replica_set, "Warning", "FailedCreate", f"Error creating: {error}")
            raise
        key = meta.key(created)
        self._expectations.expect(
            meta.key(replica_set), meta.uid(created), is_done=lambda: self._pods.get(key) is not None
        )
        self._events.event(replica_set, "Normal", "SuccessfulCreate", f"Created pod: {meta.name(created)}")

    async def _delete(self, replica_set: ReplicaSet, pod: Pod) -> None:
        try:
            deleted = await writes.delete_quietly(self._client, pod)
        except Exception as error:
            self._events.event(replica_set, "Warning", "FailedDelete", f"Error deleting: {error}")
            raise
        if deleted:
            self._expectations.expect(meta.key(replica_set), meta.uid(pod), is_done=lambda: self._is_going(pod))
            self._events.event(replica_set, "Normal", "SuccessfulDelete", f"Deleted pod: {meta.name(pod)}")

    def _is_going(self, pod: Pod) -> bool:
        present = self._pods.get(meta.key(pod))
        return present is None or meta.uid(present) != meta.uid(pod) or meta.is_terminating(present)

    async def _update_status(self, replica_set: ReplicaSet, active: list[Pod], failure: Exception | None) -> None:
        wanted = status_of(replica_set, active, failure)
        if wanted != (replica_set.status or ReplicaSetStatus(replicas=0)) or replica_set.status is None:
            updated = meta.clone(replica_set)
            updated.status = wanted
            try:
                await writes.put(self._client, updated, "status")
            except Exception as error:
                if not writes.is_status(error, 404):
                    raise
        self._look_again_when_available(replica_set, active)

    def _look_again_when_available(self, replica_set: ReplicaSet, active: list[Pod]) -> None:
        """Nobody sends an event when minReadySeconds are over."""
        needed = (replica_set.spec and replica_set.spec.minReadySeconds) or 0
        now = meta.now_micro()
        waits = [wait for pod in active if (wait := seconds_until_available(pod, needed, now))]
        if waits:
            self._controller.enqueue_after(meta.key(replica_set), min(waits) + 0.05)


def controller_uid(obj: Any) -> list[str]:
    """Index: the uid of the managing controller."""
    ref = meta.controller_of(obj)
    return [ref.uid] if ref is not None else []


def _orphan_namespace(pod: Pod) -> list[str]:
    return [meta.namespace(pod)] if meta.controller_of(pod) is None else []


def pod_from(replica_set: ReplicaSet) -> Pod:
    """A new pod of the set, from its template. Pure."""
    template = meta.clone((replica_set.spec and replica_set.spec.template) or PodTemplateSpec())
    given = template.metadata or ObjectMeta()
    return Pod(
        metadata=ObjectMeta(
            generateName=f"{meta.name(replica_set)}-",
            namespace=meta.namespace(replica_set),
            labels=given.labels,
            annotations=given.annotations,
            finalizers=given.finalizers,
            ownerReferences=[meta.owner_reference(replica_set)],
        ),
        spec=template.spec,
    )


def status_of(replica_set: ReplicaSet, active: list[Pod], failure: Exception | None) -> ReplicaSetStatus:
    """The status that follows from the active pods. Pure, up to the clock."""
    now = meta.now_micro()
    spec = replica_set.spec
    template = spec.template if spec else None
    labels = ((template.metadata.labels if template and template.metadata else None) or {}).items()
    needed = (spec and spec.minReadySeconds) or 0
    old = replica_set.status
    return ReplicaSetStatus(
        replicas=len(active),
        fullyLabeledReplicas=sum(labels <= meta.labels(pod).items() for pod in active) or None,
        readyReplicas=sum(pods.is_ready(pod) for pod in active) or None,
        availableReplicas=sum(seconds_until_available(pod, needed, now) == 0 for pod in active) or None,
        observedGeneration=meta.metadata(replica_set).generation,
        terminatingReplicas=old.terminatingReplicas if old else None,
        conditions=_conditions(replica_set, len(active), failure),
    )


def _conditions(replica_set: ReplicaSet, active: int, failure: Exception | None) -> list[ReplicaSetCondition] | None:
    """ReplicaFailure is there while creating or deleting fails."""
    old = (replica_set.status.conditions if replica_set.status else None) or []
    conditions = [meta.clone(each) for each in old if each.type != "ReplicaFailure"]
    if failure is not None and not writes.is_status(failure, 409):
        wanted = replica_set.spec.replicas if replica_set.spec and replica_set.spec.replicas is not None else 1
        reason = "FailedCreate" if active < wanted else "FailedDelete"
        present = meta.get_condition(old, "ReplicaFailure")
        since = present.lastTransitionTime if present else meta.now()
        conditions.append(
            ReplicaSetCondition(
                type="ReplicaFailure", status="True", reason=reason, message=str(failure), lastTransitionTime=since
            )
        )
    return conditions or None


async def all_or_first_error(work: list[Coroutine[Any, Any, None]]) -> None:
    """Run all to their end; then raise the first error, if any."""
    results = await asyncio.gather(*work, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
