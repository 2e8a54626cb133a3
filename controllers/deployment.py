"""Deployment -> ReplicaSets: one per template, and replicas moved from the old ones to the current one.

Kubernetes: pkg/controller/deployment. The decisions are in rollout.py, the conditions in deployment_status.py.

Invariants
- A template's ReplicaSet has a name that follows from the template, so that two managers, or one that crashed and
  came back, create one and the same.
- Every write is compare-and-swap against what the decision was made on; who acted on old data gets a 409 and
  decides again.
"""

from __future__ import annotations

from lightkube.models.apps_v1 import DeploymentStatus
from lightkube.resources.apps_v1 import Deployment, ReplicaSet
from lightkube.resources.core_v1 import Pod

from api import meta, pods, selectors
from client import rest
from controllers import adoption, rollout, templates, writes
from controllers import deployment_status as statuses
from controllers.manager import Manager
from controllers.pod_control import controller_uid

DEFAULT_HISTORY = 10


class DeploymentController:
    """Rolls Deployments out."""

    def __init__(self, manager: Manager, *, workers: int = 4) -> None:
        self._client = manager.client
        self._events = manager.recorder("deployment-controller")
        self._deployments = manager.informer(Deployment)
        self._sets = manager.informer(ReplicaSet)
        self._pods = manager.informer(Pod)
        self._sets.add_index("controller", controller_uid)
        self._pods.add_index("controller", controller_uid)
        self._controller = manager.controller("deployment", self.reconcile, workers=workers)
        self._deployments.on_change(self._deployment_changed)
        self._sets.on_change(self._set_changed)
        self._pods.on_change(self._pod_changed)

    # What changed

    def _deployment_changed(self, old: Deployment | None, new: Deployment | None) -> None:
        if new is not None:
            self._controller.enqueue(meta.key(new))

    def _set_changed(self, old: ReplicaSet | None, new: ReplicaSet | None) -> None:
        for each in (old, new):
            if each is not None:
                self._enqueue_owner(each)
        if new is not None and meta.controller_of(new) is None:
            for deployment in self._deployments.list(meta.namespace(new)):
                if _selector(deployment).matches(meta.labels(new)):
                    self._controller.enqueue(meta.key(deployment))

    def _enqueue_owner(self, replica_set: ReplicaSet) -> None:
        ref = meta.controller_of(replica_set)
        if ref is not None and ref.kind == "Deployment":
            self._controller.enqueue(f"{meta.namespace(replica_set)}/{ref.name}")

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        """Recreate waits for the last old pod to go; nothing else here depends on pods."""
        if old is None or (new is not None and not pods.is_terminal(new)):
            return
        ref = meta.controller_of(old)
        replica_set = self._sets.get(f"{meta.namespace(old)}/{ref.name}") if ref and ref.kind == "ReplicaSet" else None
        if replica_set is not None:
            self._enqueue_owner(replica_set)

    # Acting

    async def reconcile(self, key: str) -> None:
        cached = self._deployments.get(key)
        if cached is None or cached.spec is None:
            return
        deployment = meta.clone(cached)
        selector = _selector(deployment)
        if not selector:
            self._warn(
                deployment, "SelectingAll", "This deployment is selecting all pods. A non-empty selector is required."
            )
            return
        candidates = self._sets.list(meta.namespace(deployment))
        sets = await adoption.claim(self._client, deployment, selector, candidates)
        sets = [each for each in sets if not meta.is_terminating(each)]
        if meta.is_terminating(deployment):
            await self._update_status(deployment, templates.find(deployment, sets), sets)
            return
        await self._note_pause(deployment)
        await Rollout(self, deployment, sets).step()

    async def _note_pause(self, deployment: Deployment) -> None:
        """Paused time does not count against the deadline, so the condition says when it began and ended."""
        condition = meta.get_condition(deployment.status.conditions if deployment.status else None, "Progressing")
        if not statuses.has_deadline(deployment) or (condition and condition.reason == statuses.TIMED_OUT):
            return
        paused = bool(deployment.spec and deployment.spec.paused)
        was_paused = condition is not None and condition.reason == statuses.PAUSED
        if paused == was_paused:
            return
        reason = statuses.PAUSED if paused else statuses.RESUMED
        wanted = statuses.progressing(reason, f"Deployment is {'paused' if paused else 'resumed'}", status="Unknown")
        if statuses.put_progressing(deployment, wanted, meta.now()):
            await self.save_status(deployment)

    async def _update_status(self, deployment: Deployment, new: ReplicaSet | None, sets: list[ReplicaSet]) -> None:
        """Write the status if it changed, and come back when the deadline is due."""
        now = meta.now()
        collisions = (deployment.status and deployment.status.collisionCount) or 0
        wanted = statuses.counts(deployment, new, sets, collisions=collisions)
        if not meta.is_terminating(deployment):
            wanted = statuses.with_conditions(deployment, wanted, new, sets, now=now)
        if wanted != deployment.status:
            deployment.status = wanted
            await self.save_status(deployment)
        left = statuses.seconds_to_deadline(deployment, wanted, now)
        if left:
            self._controller.enqueue_after(meta.key(deployment), left + 1)

    async def save_status(self, deployment: Deployment) -> None:
        """Store the status; the object then carries the version stored."""
        try:
            stored = await writes.put(self._client, deployment, "status")
        except Exception as error:
            if not writes.is_status(error, 404):
                raise
            return
        meta.metadata(deployment).resourceVersion = meta.metadata(stored).resourceVersion

    def _warn(self, deployment: Deployment, reason: str, message: str) -> None:
        self._events.event(deployment, "Warning", reason, message)


class Rollout:
    """One step of one Deployment; `sets` are its ReplicaSets."""

    def __init__(self, controller: DeploymentController, deployment: Deployment, sets: list[ReplicaSet]) -> None:
        self._controller = controller
        self._client = controller._client
        self._deployment = deployment
        self._sets = sets
        self._limit = rollout.limits(deployment)

    async def step(self) -> None:
        deployment = self._deployment
        if (deployment.spec and deployment.spec.paused) or self._was_scaled():
            await self._scale_only()
        elif rollout.is_recreate(deployment):
            await self._recreate()
        else:
            await self._roll()
        new = self._new()
        status = statuses.counts(deployment, new, self._sets, collisions=0)
        if statuses.is_complete(deployment, status) or (deployment.spec and deployment.spec.paused and new is None):
            await self._clean_up()
        await self._controller._update_status(deployment, new, self._sets)

    def _new(self) -> ReplicaSet | None:
        return templates.find(self._deployment, self._sets)

    def _old(self) -> list[ReplicaSet]:
        new = self._new()
        return [each for each in self._sets if new is None or meta.uid(each) != meta.uid(new)]

    def _was_scaled(self) -> bool:
        """Whether spec.replicas changed since the active ReplicaSets were last sized."""
        wanted = str(self._limit.wanted)
        return any(
            meta.annotations(each).get(templates.DESIRED_REPLICAS, wanted) != wanted
            for each in rollout.active(self._sets)
        )

    async def _scale_only(self) -> None:
        """Paused, or scaled by the user: sizes change, templates do not."""
        new = await self._get_or_create_new(create=False)
        running = rollout.active(self._sets)
        if len(running) <= 1:
            only = running[0] if running else new or max(self._old(), key=templates.revision, default=None)
            if only is not None:
                await self._resize(only, self._limit.wanted)
        elif new is not None and _is_saturated(self._limit.wanted, new):
            for each in rollout.active(self._old()):
                await self._resize(each, 0)
        elif not rollout.is_recreate(self._deployment):
            scales = rollout.scale_proportionally(self._limit, running)
            for each in running:
                await self._resize(each, scales.get(meta.name(each), rollout.replicas_of(each)))

    async def _roll(self) -> None:
        new = await self._get_or_create_new()
        if new is None:
            return
        size = rollout.scale_new(self._limit, new, self._old())
        new = await self._resize(new, size)
        scales = rollout.scale_old(self._limit, new, rollout.active(self._old()))
        for each in self._old():
            if meta.name(each) in scales:
                await self._resize(each, scales[meta.name(each)])

    async def _recreate(self) -> None:
        await self._get_or_create_new(create=False)
        for each in rollout.active(self._old()):
            await self._resize(each, 0)
        if self._old_pods_run():
            return
        new = await self._get_or_create_new()
        if new is not None:
            await self._resize(new, rollout.scale_new(self._limit, new, self._old(), recreate=True))

    def _old_pods_run(self) -> bool:
        """Whether a pod of an old ReplicaSet still runs, being deleted or not."""
        cache = self._controller._pods
        owned = (pod for each in self._old() for pod in cache.by_index("controller", meta.uid(each)))
        return any(not pods.is_terminal(pod) for pod in owned) or any(
            each.status is not None and each.status.replicas for each in self._old()
        )

    async def _get_or_create_new(self, *, create: bool = True) -> ReplicaSet | None:
        """The current template's ReplicaSet with its revision; None when there is none (or its name was taken)."""
        number = max((templates.revision(each) for each in self._old()), default=0) + 1
        new = self._new()
        if new is None:
            return await self._create_new(number) if create else None
        annotations = templates.annotations_for(self._deployment, new, number=number)
        ready_seconds = self._deployment.spec.minReadySeconds if self._deployment.spec else None
        if annotations != meta.annotations(new) or (new.spec and new.spec.minReadySeconds != ready_seconds):
            changed = meta.clone(new)
            meta.metadata(changed).annotations = annotations
            if changed.spec is not None:
                changed.spec.minReadySeconds = ready_seconds
            new = self._replace(await writes.put(self._client, changed))
        await self._note_revision(
            new, statuses.NEW_SET_FOUND, f'Found new replica set "{meta.name(new)}"', only_first=True
        )
        return new

    async def _create_new(self, number: int) -> ReplicaSet | None:
        deployment = self._deployment
        collisions = (deployment.status and deployment.status.collisionCount) or 0
        wanted = templates.new_replica_set(deployment, replicas=0, collisions=collisions)
        size = rollout.scale_new(self._limit, wanted, self._sets, recreate=rollout.is_recreate(deployment))
        if wanted.spec is not None:
            wanted.spec.replicas = size
        meta.metadata(wanted).annotations = {
            **templates.annotations_for(deployment, wanted, number=number),
            **self._size_annotations(),
        }
        try:
            created = await self._client.create(wanted)
        except Exception as error:
            if not writes.is_status(error, 409):
                await self._creation_failed(meta.name(wanted), error)
                raise
            return await self._name_taken(wanted)
        self._sets.append(created)
        if size > 0:
            self._scaled_event("up", created, 0, size)
        await self._note_revision(created, statuses.NEW_SET_CREATED, f'Created new replica set "{meta.name(created)}"')
        return created

    async def _creation_failed(self, name: str, error: Exception) -> None:
        message = f'Failed to create new replica set "{name}": {error}'
        self._controller._warn(self._deployment, "ReplicaSetCreateError", message)
        wanted = statuses.progressing("ReplicaSetCreateError", message, status="False")
        if statuses.has_deadline(self._deployment) and statuses.put_progressing(self._deployment, wanted, meta.now()):
            await self._controller.save_status(self._deployment)

    async def _name_taken(self, wanted: ReplicaSet) -> ReplicaSet | None:
        """Ours already (the cache was behind), or a hash collision: then the next attempt hashes differently."""
        space, name = meta.namespace(wanted), meta.name(wanted)
        present = await rest.get(self._client, ReplicaSet, name, namespace=space)
        if present is None:
            return None
        same = templates.equal(templates.template_of(present), templates.template_of(wanted))
        if meta.is_controlled_by(present, self._deployment) and same:
            self._sets.append(present)
            return present
        self._deployment.status = self._deployment.status or DeploymentStatus()
        self._deployment.status.collisionCount = (self._deployment.status.collisionCount or 0) + 1
        await self._controller.save_status(self._deployment)
        return None

    async def _note_revision(self, new: ReplicaSet, reason: str, message: str, *, only_first: bool = False) -> None:
        """The Deployment carries the revision of its current ReplicaSet, and begins to progress."""
        deployment = self._deployment
        number = meta.annotations(new).get(templates.REVISION)
        if number and meta.annotations(deployment).get(templates.REVISION) != number:
            status = deployment.status
            meta.metadata(deployment).annotations = {**meta.annotations(deployment), templates.REVISION: number}
            stored = await writes.put(self._client, deployment)
            # Of a Deployment annotations count as a new generation too.
            meta.metadata(deployment).resourceVersion = meta.metadata(stored).resourceVersion
            meta.metadata(deployment).generation = meta.metadata(stored).generation
            deployment.status = status
        conditions = deployment.status.conditions if deployment.status else None
        if only_first and meta.get_condition(conditions, "Progressing") is not None:
            return
        if statuses.has_deadline(deployment):
            condition = statuses.progressing(reason, message)
            if statuses.put_progressing(deployment, condition, meta.now()):
                await self._controller.save_status(deployment)

    def _size_annotations(self) -> dict[str, str]:
        return {
            templates.DESIRED_REPLICAS: str(self._limit.wanted),
            templates.MAX_REPLICAS: str(self._limit.most),
        }

    async def _resize(self, replica_set: ReplicaSet, size: int) -> ReplicaSet:
        """Set spec.replicas and the sizes the Deployment has now, if either differs."""
        before = rollout.replicas_of(replica_set)
        annotations = {**meta.annotations(replica_set), **self._size_annotations()}
        if before == size and annotations == meta.annotations(replica_set):
            return replica_set
        changed = meta.clone(replica_set)
        meta.metadata(changed).annotations = annotations
        if changed.spec is not None:
            changed.spec.replicas = size
        stored = self._replace(await writes.put(self._client, changed))
        if before != size:
            self._scaled_event("up" if size > before else "down", stored, before, size)
        return stored

    def _replace(self, stored: ReplicaSet) -> ReplicaSet:
        self._sets = [stored if meta.uid(each) == meta.uid(stored) else each for each in self._sets]
        return stored

    def _scaled_event(self, direction: str, replica_set: ReplicaSet, before: int, after: int) -> None:
        message = f"Scaled {direction} replica set {meta.name(replica_set)} from {before} to {after}"
        self._controller._events.event(self._deployment, "Normal", "ScalingReplicaSet", message)

    async def _clean_up(self) -> None:
        spec = self._deployment.spec
        history = DEFAULT_HISTORY if spec is None or spec.revisionHistoryLimit is None else spec.revisionHistoryLimit
        for each in rollout.to_clean_up(self._old(), history):
            await writes.delete_quietly(self._client, each)
            self._sets = [other for other in self._sets if other is not each]


def _is_saturated(wanted: int, replica_set: ReplicaSet) -> bool:
    """Whether the rollout to this ReplicaSet is over: it has, and had, all replicas."""
    annotated = meta.annotations(replica_set).get(templates.DESIRED_REPLICAS)
    size = rollout.replicas_of(replica_set)
    available = (replica_set.status and replica_set.status.availableReplicas) or 0
    return annotated == str(size) and available == size and size == wanted


def _selector(deployment: Deployment) -> selectors.LabelSelector:
    if deployment.spec is None:
        return selectors.LabelSelector()
    return selectors.from_label_selector(deployment.spec.selector)
