"""What a StatefulSet does next: which pod to create, to delete, or to wait for. Pure, up to the clock.

Kubernetes: updateStatefulSet (pkg/controller/statefulset/stateful_set_control.go);
https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/

Invariants
- OrderedReady: one thing at a time. Pod n exists only once all before it are available, goes only once all after it
  are gone. Parallel drops the waiting, not the identities.
- An update replaces pods from the last to the first, each only when all others are available.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime

from lightkube.models.apps_v1 import StatefulSetSpec, StatefulSetStatus
from lightkube.models.core_v1 import PersistentVolumeClaimVolumeSource, PodSpec, PodTemplateSpec, Volume
from lightkube.models.meta_v1 import ObjectMeta, OwnerReference
from lightkube.resources.apps_v1 import StatefulSet
from lightkube.resources.core_v1 import PersistentVolumeClaim, Pod

from api import meta, pods
from controllers.availability import seconds_until_available
from controllers.history import REVISION_LABEL

POD_NAME = "statefulset.kubernetes.io/pod-name"
POD_INDEX = "apps.kubernetes.io/pod-index"


@dataclass(frozen=True, slots=True)
class Revision:
    """The names of the two revisions in play: pods move from `current` to `update`."""

    current: str
    update: str


@dataclass(slots=True)
class Actions:
    """Pods (by ordinal, with the revision's name) to create, and pods to delete."""

    create: list[tuple[int, str]] = field(default_factory=list)
    delete: list[Pod] = field(default_factory=list)


def ordinal(stateful_set: StatefulSet, pod: Pod) -> int | None:
    """The number at the end of the pod's name; None for a pod that is none of the set's."""
    match = re.fullmatch(re.escape(meta.name(stateful_set)) + r"-(0|[1-9][0-9]{0,9})", meta.name(pod))
    return int(match[1]) if match else None


def replicas_of(spec: StatefulSetSpec) -> int:
    return 1 if spec.replicas is None else spec.replicas


def ordinals(spec: StatefulSetSpec) -> range:
    start = (spec.ordinals and spec.ordinals.start) or 0
    return range(start, start + replicas_of(spec))


def plan(stateful_set: StatefulSet, owned: list[Pod], revision: Revision, now: datetime) -> Actions:
    """The next step of a set that is not being deleted."""
    spec = stateful_set.spec
    assert spec is not None
    ordered = spec.podManagementPolicy != "Parallel"
    places = {place: pod for pod in owned if (place := ordinal(stateful_set, pod)) is not None}
    actions = Actions()
    for place in ordinals(spec):
        pod = places.get(place)
        if pod is None:
            actions.create.append((place, _revision_for(stateful_set, spec, place, revision)))
        elif pods.is_terminal(pod) and not meta.is_terminating(pod):
            actions.delete.append(pod)  # a failed pod makes room for another of its name
        elif not ordered or is_available(spec, pod, now):
            continue
        if ordered:
            return actions
    condemned = sorted((place for place in places if place not in ordinals(spec)), reverse=True)
    if _scale_down(spec, places, condemned, actions, ordered=ordered, now=now) or actions.create or actions.delete:
        return actions
    if spec.updateStrategy is None or spec.updateStrategy.type != "OnDelete":
        _update(spec, places, revision, actions, now)
    return actions


def _revision_for(stateful_set: StatefulSet, spec: StatefulSetSpec, place: int, revision: Revision) -> str:
    """A pod that was lost during an update comes back as what it was, below the partition always."""
    rolling = spec.updateStrategy.rollingUpdate if spec.updateStrategy else None
    start = ordinals(spec).start
    if rolling is not None and rolling.partition is not None:
        return revision.current if place < start + rolling.partition else revision.update
    kept = (stateful_set.status and stateful_set.status.currentReplicas) or 0
    return revision.current if place < start + kept else revision.update


def _scale_down(
    spec: StatefulSetSpec,
    places: dict[int, Pod],
    condemned: list[int],
    actions: Actions,
    *,
    ordered: bool,
    now: datetime,
) -> bool:
    """Pods beyond the number go, the last first. Returns whether there is anything to wait for."""
    if not ordered:
        actions.delete += [places[place] for place in condemned if not meta.is_terminating(places[place])]
        return bool(condemned)
    if not condemned:
        return False
    last = places[condemned[0]]
    # Everything before it must be well, unless the one to go is itself the one that is not.
    ill = [place for place in sorted(places) if not is_available(spec, places[place], now)]
    if not meta.is_terminating(last) and (not ill or ill[0] == condemned[0]):
        actions.delete.append(last)
    return True


def _update(spec: StatefulSetSpec, places: dict[int, Pod], revision: Revision, actions: Actions, now: datetime) -> None:
    rolling = spec.updateStrategy.rollingUpdate if spec.updateStrategy else None
    first = ordinals(spec).start + ((rolling and rolling.partition) or 0)
    for place in reversed(ordinals(spec)):
        pod = places.get(place)
        if place < first or pod is None:
            return
        if meta.labels(pod).get(REVISION_LABEL) != revision.update and not meta.is_terminating(pod):
            actions.delete.append(pod)
            return
        if not is_available(spec, pod, now):
            return


def is_available(spec: StatefulSetSpec, pod: Pod, now: datetime) -> bool:
    return (
        pods.phase(pod) == "Running"
        and not meta.is_terminating(pod)
        and seconds_until_available(pod, spec.minReadySeconds or 0, now) == 0
    )


def status_of(stateful_set: StatefulSet, owned: list[Pod], revision: Revision, now: datetime) -> StatefulSetStatus:
    """The counts; an update that reached every pod makes the update revision the current one."""
    spec, old = stateful_set.spec, stateful_set.status
    assert spec is not None
    alive = [pod for pod in owned if not pods.is_terminal(pod) and ordinal(stateful_set, pod) is not None]
    ready = [pod for pod in alive if pods.is_ready(pod) and pods.phase(pod) == "Running"]

    def made_from(name: str) -> int:
        return sum(meta.labels(pod).get(REVISION_LABEL) == name and not meta.is_terminating(pod) for pod in alive)

    status = StatefulSetStatus(
        replicas=len(alive),
        readyReplicas=len(ready) or None,
        availableReplicas=sum(is_available(spec, pod, now) for pod in alive),
        currentReplicas=made_from(revision.current) or None,
        updatedReplicas=made_from(revision.update) or None,
        currentRevision=revision.current,
        updateRevision=revision.update,
        collisionCount=(old and old.collisionCount) or 0,
        observedGeneration=meta.metadata(stateful_set).generation,
    )
    on_delete = spec.updateStrategy is not None and spec.updateStrategy.type == "OnDelete"
    if not on_delete and status.updatedReplicas == len(alive) == len(ready) == replicas_of(spec) and alive:
        status.currentRevision, status.currentReplicas = revision.update, status.updatedReplicas
    return status


def pod_from(stateful_set: StatefulSet, template: PodTemplateSpec, place: int, revision: str) -> Pod:
    """The pod of one ordinal: its name is its host name, and its claims are its own."""
    spec = stateful_set.spec
    assert spec is not None
    name = f"{meta.name(stateful_set)}-{place}"
    made = meta.clone(template)
    given = made.metadata or ObjectMeta()
    labels = {**(given.labels or {}), POD_NAME: name, POD_INDEX: str(place), REVISION_LABEL: revision}
    pod_spec = made.spec or PodSpec(containers=[])
    pod_spec.hostname, pod_spec.subdomain = name, spec.serviceName or None
    claims = {meta.name(claim): meta.name(claim) + f"-{name}" for claim in spec.volumeClaimTemplates or []}
    others = [each for each in pod_spec.volumes or [] if each.name not in claims]
    mine = [
        Volume(name=volume, persistentVolumeClaim=PersistentVolumeClaimVolumeSource(claimName=claim))
        for volume, claim in claims.items()
    ]
    pod_spec.volumes = [*others, *mine] or None
    return Pod(
        metadata=ObjectMeta(
            name=name,
            namespace=meta.namespace(stateful_set),
            labels=labels,
            annotations=given.annotations,
            finalizers=given.finalizers,
            ownerReferences=[meta.owner_reference(stateful_set)],
        ),
        spec=pod_spec,
    )


def claims_of(stateful_set: StatefulSet, place: int) -> list[PersistentVolumeClaim]:
    """The claims of one ordinal, as the templates say."""
    spec = stateful_set.spec
    made = []
    for template in (spec and spec.volumeClaimTemplates) or []:
        claim = PersistentVolumeClaim(spec=meta.clone(template.spec) if template.spec else None)
        selected = (spec and spec.selector and spec.selector.matchLabels) or {}
        claim.metadata = ObjectMeta(
            name=f"{meta.name(template)}-{meta.name(stateful_set)}-{place}",
            namespace=meta.namespace(stateful_set),
            labels={**meta.labels(template), **selected} or None,
            annotations=meta.annotations(template) or None,
        )
        made.append(claim)
    return made


def claim_owners(
    stateful_set: StatefulSet, claim: PersistentVolumeClaim, pod: Pod, *, is_condemned: bool
) -> list[OwnerReference]:
    """Who takes the claim along: the set (whenDeleted: Delete), a pod that is scaled away (whenScaled: Delete)."""
    policy = stateful_set.spec.persistentVolumeClaimRetentionPolicy if stateful_set.spec else None
    mine = {meta.uid(stateful_set), meta.uid(pod)}
    references = [each for each in meta.metadata(claim).ownerReferences or [] if each.uid not in mine]
    if policy is not None and policy.whenScaled == "Delete" and is_condemned:
        return [*references, _plain_reference(pod)]
    if policy is not None and policy.whenDeleted == "Delete":
        return [*references, _plain_reference(stateful_set)]
    return references


def _plain_reference(owner: StatefulSet | Pod) -> OwnerReference:
    """An owner that is not the managing controller: a claim has none."""
    reference = meta.owner_reference(owner)
    reference.controller = reference.blockOwnerDeletion = None
    return reference
