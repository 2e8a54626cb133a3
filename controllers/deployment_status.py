"""A Deployment's status: counts, and the Available, Progressing and ReplicaFailure conditions. Pure.

Kubernetes: pkg/controller/deployment/progress.go and sync.go; reasons and messages are its own because
`rollout status` and people match on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from lightkube.models.apps_v1 import DeploymentCondition, DeploymentStatus
from lightkube.resources.apps_v1 import Deployment, ReplicaSet

from api import meta
from controllers import rollout

NEW_SET_CREATED = "NewReplicaSetCreated"
NEW_SET_FOUND = "FoundNewReplicaSet"
NEW_SET_AVAILABLE = "NewReplicaSetAvailable"
UPDATED = "ReplicaSetUpdated"
TIMED_OUT = "ProgressDeadlineExceeded"
PAUSED = "DeploymentPaused"
RESUMED = "DeploymentResumed"

NO_DEADLINE_SECONDS = 2**31 - 1


def counts(
    deployment: Deployment, new: ReplicaSet | None, sets: Sequence[ReplicaSet], *, collisions: int
) -> DeploymentStatus:
    """The numbers, with the conditions as they were."""
    old = deployment.status or DeploymentStatus()
    statuses = [each.status for each in sets if each.status is not None]
    total = sum(rollout.replicas_of(each) for each in sets)
    available = sum(each.availableReplicas or 0 for each in statuses)
    return DeploymentStatus(
        observedGeneration=meta.metadata(deployment).generation,
        replicas=sum(each.replicas or 0 for each in statuses) or None,
        updatedReplicas=((new.status.replicas if new and new.status else 0) or None),
        readyReplicas=sum(each.readyReplicas or 0 for each in statuses) or None,
        availableReplicas=available or None,
        unavailableReplicas=max(0, total - available) or None,
        collisionCount=collisions or None,
        conditions=[meta.clone(each) for each in old.conditions or []] or None,
    )


def with_conditions(
    deployment: Deployment,
    status: DeploymentStatus,
    new: ReplicaSet | None,
    sets: Sequence[ReplicaSet],
    *,
    now: datetime,
) -> DeploymentStatus:
    """`status` with its conditions brought up to date."""
    conditions = status.conditions or []
    _put(conditions, _availability(deployment, status), now)
    if has_deadline(deployment):
        progress = _progress(deployment, status, new, now)
        if progress is not None:
            _put(conditions, progress, now, renew=progress.reason == UPDATED)
    else:
        conditions = [each for each in conditions if each.type != "Progressing"]
    failures = _failures(sets, new)
    conditions = [each for each in conditions if each.type != "ReplicaFailure" or failures]
    for failure in failures[:1]:
        _put(conditions, failure, now)
    status.conditions = conditions or None
    return status


def progressing(reason: str, message: str, *, status: str = "True") -> DeploymentCondition:
    return DeploymentCondition(type="Progressing", status=status, reason=reason, message=message)


def put_progressing(deployment: Deployment, condition: DeploymentCondition, now: datetime) -> bool:
    """Set the Progressing condition on the object; returns whether it changed."""
    deployment.status = deployment.status or DeploymentStatus()
    deployment.status.conditions = deployment.status.conditions or []
    return _put(deployment.status.conditions, condition, now)


def _put(
    conditions: list[DeploymentCondition], wanted: DeploymentCondition, now: datetime, renew: bool = False
) -> bool:
    """As Kubernetes: a change of the message alone changes nothing, unless progress is to be recorded (`renew`)."""
    present = next((each for each in conditions if each.type == wanted.type), None)
    if present is not None and (present.status, present.reason) == (wanted.status, wanted.reason) and not renew:
        return False
    wanted.lastUpdateTime = now
    wanted.lastTransitionTime = now
    if present is not None and present.status == wanted.status:
        wanted.lastTransitionTime = present.lastTransitionTime
    conditions[:] = [each for each in conditions if each.type != wanted.type] + [wanted]
    return True


def _availability(deployment: Deployment, status: DeploymentStatus) -> DeploymentCondition:
    limit = rollout.limits(deployment)
    if (status.availableReplicas or 0) >= limit.least_available:
        message = "Deployment has minimum availability."
        return DeploymentCondition(type="Available", status="True", reason="MinimumReplicasAvailable", message=message)
    message = "Deployment does not have minimum availability."
    return DeploymentCondition(type="Available", status="False", reason="MinimumReplicasUnavailable", message=message)


def _progress(
    deployment: Deployment, status: DeploymentStatus, new: ReplicaSet | None, now: datetime
) -> DeploymentCondition | None:
    """The Progressing condition that follows, or None when it stays as it is."""
    present = meta.get_condition(status.conditions, "Progressing")
    # A finished rollout stays finished: scaling and restarting pods are no rollout.
    finished = present is not None and present.reason == NEW_SET_AVAILABLE
    if finished and (status.replicas or 0) == (status.updatedReplicas or 0):
        return None
    subject = f'ReplicaSet "{meta.name(new)}"' if new is not None else f'Deployment "{meta.name(deployment)}"'
    if is_complete(deployment, status):
        return progressing(NEW_SET_AVAILABLE, f"{subject} has successfully progressed.")
    if has_progressed(deployment, status):
        return progressing(UPDATED, f"{subject} is progressing.")
    if seconds_to_deadline(deployment, status, now) == 0:
        return progressing(TIMED_OUT, f"{subject} has timed out progressing.", status="False")
    return None


def _failures(sets: Sequence[ReplicaSet], new: ReplicaSet | None) -> list[DeploymentCondition]:
    """What keeps a ReplicaSet from creating or deleting pods, the current one's first."""
    current_first = sorted(sets, key=lambda each: new is None or meta.uid(each) != meta.uid(new))
    found = []
    for each in current_first:
        condition = meta.get_condition(each.status.conditions if each.status else None, "ReplicaFailure")
        if condition is not None:
            found.append(
                DeploymentCondition(
                    type="ReplicaFailure",
                    status=condition.status,
                    reason=condition.reason,
                    message=condition.message,
                )
            )
    return found


def is_complete(deployment: Deployment, status: DeploymentStatus) -> bool:
    wanted = rollout.wanted_replicas(deployment)
    return (
        (status.updatedReplicas or 0) == wanted
        and (status.replicas or 0) == wanted
        and (status.availableReplicas or 0) == wanted
        and (status.observedGeneration or 0) >= (meta.metadata(deployment).generation or 0)
    )


def has_progressed(deployment: Deployment, status: DeploymentStatus) -> bool:
    """More new pods, fewer old ones, or more of them ready than the last status said."""
    old = deployment.status or DeploymentStatus()
    return (
        (status.updatedReplicas or 0) > (old.updatedReplicas or 0)
        or (status.replicas or 0) - (status.updatedReplicas or 0) < (old.replicas or 0) - (old.updatedReplicas or 0)
        or (status.readyReplicas or 0) > (old.readyReplicas or 0)
        or (status.availableReplicas or 0) > (old.availableReplicas or 0)
    )


def has_deadline(deployment: Deployment) -> bool:
    seconds = deployment.spec.progressDeadlineSeconds if deployment.spec else None
    return seconds != NO_DEADLINE_SECONDS


def seconds_to_deadline(deployment: Deployment, status: DeploymentStatus, now: datetime) -> float | None:
    """How long the rollout may still go without progress: 0 is over, None is no rollout (or no deadline, or paused)."""
    condition = meta.get_condition(status.conditions, "Progressing")
    spec = deployment.spec
    if condition is None or spec is None or spec.paused or not has_deadline(deployment):
        return None
    if condition.reason == TIMED_OUT:
        return 0.0
    if condition.reason in (NEW_SET_AVAILABLE, PAUSED) or condition.lastUpdateTime is None:
        return None
    allowed = spec.progressDeadlineSeconds if spec.progressDeadlineSeconds is not None else 600
    return max(0.0, allowed - (now - condition.lastUpdateTime).total_seconds())
