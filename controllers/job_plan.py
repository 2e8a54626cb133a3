"""What a Job needs next: whether it has come to an end, which pods to start and which to stop. Pure, up to the clock.

Kubernetes: syncJob and manageJob (pkg/controller/job/job_controller.go);
https://kubernetes.io/docs/concepts/workloads/controllers/job/
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from itertools import count

from lightkube.models.batch_v1 import JobSpec
from lightkube.resources.batch_v1 import Job
from lightkube.resources.core_v1 import Pod

from api import meta, pods
from controllers import job_indexes, job_policies, ranking
from controllers.job_tally import Tally, is_indexed

RETRY_BASE_SECONDS = 10.0
RETRY_MAX_SECONDS = 600.0
MAX_CREATED = 500
"""The most pods started in one round."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a Job ends: `Complete` or `Failed`, announced as SuccessCriteriaMet or FailureTarget while pods still run."""

    type: str
    reason: str
    message: str

    @property
    def announcement(self) -> str:
        return "SuccessCriteriaMet" if self.type == "Complete" else "FailureTarget"


@dataclass(slots=True)
class Plan:
    """Pods to stop, the indexes (or None each) of pods to start, and when to look again."""

    stop: list[Pod] = field(default_factory=list)
    start: list[int | None] = field(default_factory=list)
    wait_seconds: float | None = None


# How it ends


def ending(job: Job, tally: Tally, now: datetime) -> Ending | None:
    """The end that the Job has come to, if any; one announced before stays."""
    spec = job.spec
    assert spec is not None
    return _announced(job) or _failure(job, spec, tally, now) or _success(job, spec, tally)


def _announced(job: Job) -> Ending | None:
    conditions = (job.status and job.status.conditions) or []
    for announcement, type_ in (("FailureTarget", "Failed"), ("SuccessCriteriaMet", "Complete")):
        condition = meta.get_condition(conditions, announcement)
        if condition is not None and condition.status == "True":
            return Ending(type_, condition.reason or "", condition.message or "")
    return None


def _failure(job: Job, spec: JobSpec, tally: Tally, now: datetime) -> Ending | None:
    if tally.fatal:
        return Ending("Failed", "PodFailurePolicy", tally.fatal)
    limit = spec.backoffLimit if spec.backoffLimit is not None else 6
    if tally.failed_count(job) > limit or _restarted_too_often(spec, tally, limit):
        return Ending("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
    left = seconds_left(job, now)
    if left is not None and left <= 0:
        return Ending("Failed", "DeadlineExceeded", "Job was active longer than specified deadline")
    if spec.maxFailedIndexes is not None and len(tally.failed_indexes) > spec.maxFailedIndexes:
        why = "Job has exceeded the specified maximal number of failed indexes"
        return Ending("Failed", "MaxFailedIndexesExceeded", why)
    ended = len(tally.failed_indexes | tally.succeeded_indexes)
    if tally.failed_indexes and spec.completions is not None and ended >= spec.completions:
        return Ending("Failed", "FailedIndexes", "Job has failed indexes")
    return None


def _restarted_too_often(spec: JobSpec, tally: Tally, limit: int) -> bool:
    """With restartPolicy OnFailure the kubelet retries, and its restarts count."""
    if spec.template.spec is None or spec.template.spec.restartPolicy != "OnFailure":
        return False
    restarts = sum(
        each.restartCount
        for pod in tally.active
        if pod.status is not None
        for each in (*(pod.status.containerStatuses or []), *(pod.status.initContainerStatuses or []))
    )
    return restarts > 0 if limit == 0 else restarts >= limit


def _success(job: Job, spec: JobSpec, tally: Tally) -> Ending | None:
    rule = job_policies.success_rule(spec, tally.succeeded_indexes) if is_indexed(job) else None
    if rule is not None:
        return Ending("Complete", "SuccessPolicy", f"Matched rules at index {rule}")
    succeeded = tally.succeeded_count(job)
    # Without a number, the first success says that the work is done; the other pods still come to their end.
    done = succeeded > 0 and not tally.active if spec.completions is None else succeeded >= spec.completions
    if done:
        return Ending("Complete", "CompletionsReached", "Reached expected number of succeeded pods")
    return None


def seconds_left(job: Job, now: datetime) -> float | None:
    """Until activeDeadlineSeconds are over; None without a deadline, and while the Job is suspended."""
    start = job.status.startTime if job.status else None
    if job.spec is None or job.spec.activeDeadlineSeconds is None or start is None or job.spec.suspend:
        return None
    return job.spec.activeDeadlineSeconds - (now - start).total_seconds()


# What to start and stop


def plan(job: Job, tally: Tally, now: datetime) -> Plan:
    """For a Job that is neither ending nor suspended."""
    spec = job.spec
    assert spec is not None
    if is_indexed(job):
        doomed = _doomed(spec, tally)
        active = [pod for pod in tally.active if pod not in doomed]
    else:
        doomed, active = [], tally.active
    wanted = _wanted(job, spec, tally, len(active))
    if len(active) > wanted:
        return Plan(stop=doomed + ranking.to_delete(active, len(active) - wanted, active))
    missing = wanted - len(active)
    if spec.podReplacementPolicy == "Failed":
        missing -= len(tally.terminating)
    if missing <= 0:
        return Plan(stop=doomed)
    missing = min(missing, MAX_CREATED)
    if not is_indexed(job):
        wait = retry_in(tally.all_failed, tally.all_succeeded, now)
        return Plan(stop=doomed, wait_seconds=wait) if wait > 0 else Plan(stop=doomed, start=[None] * missing)
    return _start_indexes(job, spec, tally, Plan(stop=doomed), missing, now)


def _wanted(job: Job, spec: JobSpec, tally: Tally, active: int) -> int:
    parallelism = spec.parallelism if spec.parallelism is not None else 1
    succeeded = tally.succeeded_count(job)
    if spec.completions is None:
        return min(active, parallelism) if succeeded else parallelism
    return max(0, min(parallelism, spec.completions - succeeded - len(tally.failed_indexes)))


def _doomed(spec: JobSpec, tally: Tally) -> list[Pod]:
    """Active pods of an index that is done, has failed, does not exist, or has another pod already."""
    taken = tally.succeeded_indexes | tally.failed_indexes
    found = []
    for pod in sorted(tally.active, key=lambda pod: not pods.is_ready(pod)):
        index = job_indexes.of(pod)
        if index is None or index in taken or (spec.completions is not None and index >= spec.completions):
            found.append(pod)
        else:
            taken = taken | {index}
    return found


def _start_indexes(job: Job, spec: JobSpec, tally: Tally, result: Plan, missing: int, now: datetime) -> Plan:
    """The lowest indexes that nobody works on; each waits for its own retry where failures count per index."""
    busy = {job_indexes.of(pod) for pod in tally.active} | tally.succeeded_indexes | tally.failed_indexes
    if spec.podReplacementPolicy == "Failed":
        busy |= {job_indexes.of(pod) for pod in tally.terminating}
    waits = []
    together = retry_in(tally.all_failed, tally.all_succeeded, now) if spec.backoffLimitPerIndex is None else 0.0
    for index in count():
        if len(result.start) == missing or index >= (spec.completions or 0):
            break
        if index in busy:
            continue
        wait = together
        if spec.backoffLimitPerIndex is not None:
            wait = retry_in([pod for pod in tally.all_failed if job_indexes.of(pod) == index], [], now)
        if wait > 0:
            waits.append(wait)
        else:
            result.start.append(index)
    result.wait_seconds = min(waits, default=None)
    return result


def failures_before(tally: Tally, index: int) -> int:
    """How often an index has failed so far: what its next pod carries along."""
    of_index = [pod for pod in tally.all_failed if job_indexes.of(pod) == index]
    return max((job_indexes.failures_of(pod) + 1 for pod in of_index), default=0)


def retry_in(failed: list[Pod], succeeded: list[Pod], now: datetime) -> float:
    """Seconds to wait after the failures since the last success: 10, 20, 40, ..., at most 600 (10 minutes).

    Counted from the pods that are still there, so a controller that starts anew waits as long as the old one.
    """
    last_success = max((finished_at(pod, now) for pod in succeeded), default=None)
    ends = [finished_at(pod, now) for pod in failed if pods.is_terminal(pod)]
    ends = [end for end in ends if last_success is None or end > last_success]
    if not ends:
        return 0.0
    delay = min(RETRY_BASE_SECONDS * float(2 ** min(len(ends) - 1, 16)), RETRY_MAX_SECONDS)
    return max(0.0, delay - (now - max(ends)).total_seconds())


def finished_at(pod: Pod, now: datetime) -> datetime:
    """When the pod's last container ended; else when it was last heard of, or now."""
    status = pod.status
    statuses = (status and status.containerStatuses) or []
    ends = [
        each.state.terminated.finishedAt
        for each in statuses
        if each.state and each.state.terminated and each.state.terminated.finishedAt
    ]
    if ends:
        return max(ends)
    condition = meta.get_condition(status.conditions if status else None, "Ready")
    changed = condition.lastTransitionTime if condition else None
    return changed or meta.metadata(pod).deletionTimestamp or now
