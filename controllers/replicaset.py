"""ReplicaSet (and its ancestor, ReplicationController) -> Pods: as many active ones as spec.replicas says.

Kubernetes: pkg/controller/replicaset, which serves both kinds, too. The pods' own bookkeeping is in pod_control.py.

Invariants
- Pods that have ended or are being deleted are not counted.
- Nothing is created or deleted while the cache lacks what this loop did before.
"""

from __future__ import annotations

from typing import Any

from lightkube.models.apps_v1 import ReplicaSetCondition, ReplicaSetStatus
from lightkube.models.core_v1 import PodTemplateSpec, ReplicationControllerCondition, ReplicationControllerStatus
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import ReplicaSet
from lightkube.resources.core_v1 import Pod, ReplicationController

from api import meta, pods
from controllers import ranking, writes
from controllers.availability import seconds_until_available
from controllers.manager import Manager
from controllers.pod_control import PodControl, controller_uid

Owner = ReplicaSet | ReplicationController


class ReplicaSetController:
    """Keeps the pods of every ReplicaSet, or of every ReplicationController, at their number."""

    def __init__(self, manager: Manager, kind: type[Owner] = ReplicaSet, *, workers: int = 8) -> None:
        self._control: PodControl[Any] = PodControl(
            manager, kind, component=COMPONENTS[kind], workers=workers, reconcile=self.reconcile
        )
        self._control.owners.add_index("controller", controller_uid)

    async def reconcile(self, key: str) -> None:
        owner = self._control.owners.get(key)
        if owner is None or owner.spec is None:
            return
        ready_to_act = self._control.is_up_to_date(owner)
        claimed = await self._control.claim(owner, lambda pod: not pods.is_terminal(pod))
        active = [pod for pod in claimed if pods.is_active(pod)]
        failure: Exception | None = None
        if ready_to_act and not meta.is_terminating(owner):
            try:
                await self._manage(owner, active)
            except Exception as error:
                failure = error
        await self._control.save_status(owner, status_of(owner, active, failure))
        self._look_again_when_available(owner, active)
        if failure is not None:
            raise failure

    async def _manage(self, owner: Owner, active: list[Pod]) -> None:
        """Create or delete the difference."""
        difference = len(active) - _wanted(owner)
        if difference < 0:
            await self._control.create(owner, [pod_from(owner)] * -difference)
        elif difference > 0:
            await self._control.delete(owner, ranking.to_delete(active, difference, self._related(owner)))

    def _related(self, owner: Owner) -> list[Pod]:
        """Active pods of all ReplicaSets with the same owner."""
        above = meta.controller_of(owner)
        siblings = [owner] if above is None else self._control.owners.by_index("controller", above.uid)
        owned = (pod for each in siblings for pod in self._control.pods.by_index("controller", meta.uid(each)))
        return [pod for pod in owned if pods.is_active(pod)]

    def _look_again_when_available(self, owner: Owner, active: list[Pod]) -> None:
        """Nobody sends an event when minReadySeconds are over."""
        needed = (owner.spec and owner.spec.minReadySeconds) or 0
        now = meta.now_micro()
        waits = [wait for pod in active if (wait := seconds_until_available(pod, needed, now))]
        if waits:
            self._control.loop.enqueue_after(meta.key(owner), min(waits) + 0.05)


COMPONENTS: dict[type[Any], str] = {
    ReplicaSet: "replicaset-controller",
    ReplicationController: "replication-controller",
}


def _wanted(owner: Owner) -> int:
    return owner.spec.replicas if owner.spec and owner.spec.replicas is not None else 1


def pod_from(owner: Owner) -> Pod:
    """A new pod of the owner, from its template. Pure."""
    template = meta.clone((owner.spec and owner.spec.template) or PodTemplateSpec())
    given = template.metadata or ObjectMeta()
    return Pod(
        metadata=ObjectMeta(
            generateName=f"{meta.name(owner)}-",
            namespace=meta.namespace(owner),
            labels=given.labels,
            annotations=given.annotations,
            finalizers=given.finalizers,
            ownerReferences=[meta.owner_reference(owner)],
        ),
        spec=template.spec,
    )


def status_of(owner: Owner, active: list[Pod], failure: Exception | None) -> Any:
    """The status that follows from the active pods. Pure, up to the clock."""
    now = meta.now_micro()
    spec = owner.spec
    template = spec.template if spec else None
    labels = ((template.metadata.labels if template and template.metadata else None) or {}).items()
    needed = (spec and spec.minReadySeconds) or 0
    counts: dict[str, Any] = {
        "replicas": len(active),
        "fullyLabeledReplicas": sum(labels <= meta.labels(pod).items() for pod in active) or None,
        "readyReplicas": sum(pods.is_ready(pod) for pod in active) or None,
        "availableReplicas": sum(seconds_until_available(pod, needed, now) == 0 for pod in active) or None,
        "observedGeneration": meta.metadata(owner).generation,
        "conditions": _conditions(owner, len(active), failure),
    }
    if isinstance(owner, ReplicationController):
        return ReplicationControllerStatus(**counts)
    return ReplicaSetStatus(**counts, terminatingReplicas=owner.status.terminatingReplicas if owner.status else None)


def _conditions(owner: Owner, active: int, failure: Exception | None) -> list[Any] | None:
    """ReplicaFailure is there while creating or deleting fails."""
    old: list[Any] = list((owner.status.conditions if owner.status else None) or [])
    conditions = [meta.clone(each) for each in old if each.type != "ReplicaFailure"]
    if failure is not None and not writes.is_status(failure, 409):
        reason = "FailedCreate" if active < _wanted(owner) else "FailedDelete"
        present = meta.get_condition(old, "ReplicaFailure")
        since = present.lastTransitionTime if present else meta.now()
        kind = ReplicationControllerCondition if isinstance(owner, ReplicationController) else ReplicaSetCondition
        conditions.append(
            kind(type="ReplicaFailure", status="True", reason=reason, message=str(failure), lastTransitionTime=since)
        )
    return conditions or None
