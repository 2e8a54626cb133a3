"""StatefulSet -> Pods with a name, a number and claims of their own. What comes next is decided in statefulset_plan.py.

Kubernetes: pkg/controller/statefulset.

Invariants
- A claim exists before its pod does, and outlives it unless persistentVolumeClaimRetentionPolicy says otherwise.
- A pod is never started while another of its name is still going.
"""

from __future__ import annotations

from lightkube.models.apps_v1 import StatefulSetSpec, StatefulSetStatus
from lightkube.resources.apps_v1 import StatefulSet
from lightkube.resources.core_v1 import PersistentVolumeClaim, Pod

from api import meta
from controllers import history, writes
from controllers import statefulset_plan as plans
from controllers.availability import seconds_until_available
from controllers.history import History, NameTaken, Revisions
from controllers.manager import Manager
from controllers.pod_control import PodControl


class StatefulSetController:
    """Keeps the pods of every StatefulSet in order."""

    def __init__(self, manager: Manager, *, workers: int = 4) -> None:
        self._client = manager.client
        self._events = manager.recorder("statefulset-controller")
        self._history = History(manager)
        self._claims = manager.informer(PersistentVolumeClaim)
        self._control: PodControl[StatefulSet] = PodControl(
            manager, StatefulSet, component="statefulset-controller", workers=workers, reconcile=self.reconcile
        )

    async def reconcile(self, key: str) -> None:
        stateful_set = self._control.owners.get(key)
        if stateful_set is None or stateful_set.spec is None:
            return
        ready_to_act = self._control.is_up_to_date(stateful_set)
        status = stateful_set.status or StatefulSetStatus(replicas=0)
        owned = await self._control.claim(stateful_set, lambda pod: plans.ordinal(stateful_set, pod) is not None)
        try:
            revisions = await self._history.sync(stateful_set, status.collisionCount or 0)
        except NameTaken:
            counted = meta.clone(status)
            counted.collisionCount = (status.collisionCount or 0) + 1
            await self._control.save_status(stateful_set, counted)
            return
        current = revisions.named(status.currentRevision) or revisions.present
        revision = plans.Revision(meta.name(current), meta.name(revisions.present))
        now = meta.now_micro()
        try:
            if ready_to_act and not meta.is_terminating(stateful_set):
                await self._act(stateful_set, plans.plan(stateful_set, owned, revision, now), revisions)
                await self._keep_claims(stateful_set, stateful_set.spec, owned)
        finally:
            wanted = plans.status_of(stateful_set, owned, revision, now)
            wanted.conditions = status.conditions
            await self._control.save_status(stateful_set, wanted)
        in_use = {meta.labels(pod).get(history.REVISION_LABEL) for pod in owned} | {revision.current, revision.update}
        await self._history.truncate(revisions, in_use=in_use, limit=stateful_set.spec.revisionHistoryLimit)
        self._look_again(stateful_set, stateful_set.spec, owned)

    async def _act(self, stateful_set: StatefulSet, actions: plans.Actions, revisions: Revisions) -> None:
        await self._control.delete(stateful_set, actions.delete)
        pods = []
        for place, name in actions.create:
            for claim in plans.claims_of(stateful_set, place):
                await self._ensure_claim(stateful_set, claim)
            template = history.template_of(revisions.named(name) or revisions.present)
            pods.append(plans.pod_from(stateful_set, template, place, name))
        await self._control.create(stateful_set, pods)

    async def _ensure_claim(self, stateful_set: StatefulSet, claim: PersistentVolumeClaim) -> None:
        if self._claims.get(meta.key(claim)) is not None:
            return
        name = meta.name(claim)
        try:
            await self._client.create(claim)
        except Exception as error:
            if writes.is_status(error, 409):
                return
            self._events.event(stateful_set, "Warning", "FailedCreate", f"create Claim {name} failed: {error}")
            raise
        self._events.event(stateful_set, "Normal", "SuccessfulCreate", f"create Claim {name} success")

    async def _keep_claims(self, stateful_set: StatefulSet, spec: StatefulSetSpec, owned: list[Pod]) -> None:
        """Owner references say when a claim goes: with the set, with its pod when scaled down, or never."""
        if not spec.volumeClaimTemplates:
            return
        for pod in owned:
            place = plans.ordinal(stateful_set, pod)
            for wanted in plans.claims_of(stateful_set, place or 0):
                claim = self._claims.get(meta.key(wanted))
                if claim is None:
                    continue
                references = plans.claim_owners(
                    stateful_set, claim, pod, is_condemned=place not in plans.ordinals(spec)
                )
                if references != (meta.metadata(claim).ownerReferences or []):
                    changed = meta.clone(claim)
                    meta.metadata(changed).ownerReferences = references or None
                    await writes.put(self._client, changed)

    def _look_again(self, stateful_set: StatefulSet, spec: StatefulSetSpec, owned: list[Pod]) -> None:
        now, needed = meta.now_micro(), spec.minReadySeconds or 0
        waits = [wait for pod in owned if (wait := seconds_until_available(pod, needed, now))]
        if waits:
            self._control.loop.enqueue_after(meta.key(stateful_set), min(waits) + 0.05)
