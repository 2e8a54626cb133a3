"""CronJob -> Jobs: one for every time its schedule names.

Kubernetes: pkg/controller/cronjob (cronjob_controllerv2.go).

Invariants
- A Job's name follows from the scheduled minute, so that two managers, or one that crashed and came back, start one.
- Of times missed while nobody watched, only the latest is made up for, and only within startingDeadlineSeconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from itertools import islice

from lightkube.models.batch_v1 import CronJobSpec, CronJobStatus, JobTemplateSpec
from lightkube.models.core_v1 import ObjectReference
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.batch_v1 import CronJob, Job

from api import cron, meta
from client import rest
from controllers import writes
from controllers.manager import Manager

SCHEDULED_AT = "batch.kubernetes.io/cronjob-scheduled-timestamp"
MANY_MISSED = 100
"""More missed times than this are worth a warning: a clock jumped, or the deadline is far too long."""


class CronJobController:
    """Starts Jobs on time and keeps as many finished ones as wanted."""

    def __init__(self, manager: Manager, *, workers: int = 4) -> None:
        self._client = manager.client
        self._events = manager.recorder("cronjob-controller")
        self._cron_jobs = manager.informer(CronJob)
        self._jobs = manager.informer(Job)
        self._controller = manager.controller("cronjob", self.reconcile, workers=workers)
        self._cron_jobs.on_change(self._cron_job_changed)
        self._jobs.on_change(self._job_changed)

    def _cron_job_changed(self, old: CronJob | None, new: CronJob | None) -> None:
        if new is not None:
            self._controller.enqueue(meta.key(new))

    def _job_changed(self, old: Job | None, new: Job | None) -> None:
        changed = new or old
        owner = meta.controller_of(changed) if changed is not None else None
        if changed is not None and owner is not None and owner.kind == "CronJob":
            self._controller.enqueue(f"{meta.namespace(changed)}/{owner.name}")

    async def reconcile(self, key: str) -> None:
        cached = self._cron_jobs.get(key)
        if cached is None or cached.spec is None:
            return
        cron_job = meta.clone(cached)
        jobs = [job for job in self._jobs.list(meta.namespace(cron_job)) if meta.is_controlled_by(job, cron_job)]
        status = cron_job.status = cron_job.status or CronJobStatus()
        self._note_ended(cron_job, status, jobs)
        await self._forget_old(cron_job, cached.spec, jobs)
        if not meta.is_terminating(cron_job):
            await self._start_if_due(cron_job, cached.spec, status)
        if status != (cached.status or CronJobStatus()):
            await writes.put(self._client, cron_job, "status")

    def _note_ended(self, cron_job: CronJob, status: CronJobStatus, jobs: list[Job]) -> None:
        """status.active lists what runs; lastSuccessfulTime is the end of the latest success."""
        running = {meta.uid(job): job for job in jobs if not finished(job)}
        listed = {each.uid for each in status.active or []}
        for job in jobs:
            if finished(job) and meta.uid(job) in listed:
                outcome = "Complete" if finished(job) == "Complete" else "Failed"
                message = f"Saw completed job: {meta.name(job)}, condition: {outcome}"
                self._events.event(cron_job, "Normal", "SawCompletedJob", message)
        ends = [
            job.status.completionTime
            for job in jobs
            if finished(job) == "Complete" and job.status and job.status.completionTime
        ]
        latest = max([*ends, *([status.lastSuccessfulTime] if status.lastSuccessfulTime else [])], default=None)
        status.lastSuccessfulTime = latest
        status.active = [reference(job) for _, job in sorted(running.items())] or None

    async def _forget_old(self, cron_job: CronJob, spec: CronJobSpec, jobs: list[Job]) -> None:
        limits = {
            "Complete": 3 if spec.successfulJobsHistoryLimit is None else spec.successfulJobsHistoryLimit,
            "Failed": 1 if spec.failedJobsHistoryLimit is None else spec.failedJobsHistoryLimit,
        }
        for outcome, limit in limits.items():
            ended = sorted((job for job in jobs if finished(job) == outcome), key=_started, reverse=True)
            for job in ended[limit:]:
                if await writes.delete_quietly(self._client, job, propagation="Background"):
                    self._events.event(cron_job, "Normal", "SuccessfulDelete", f"Deleted job {meta.name(job)}")

    async def _start_if_due(self, cron_job: CronJob, spec: CronJobSpec, status: CronJobStatus) -> None:
        if spec.suspend:
            return
        now = meta.now_micro()
        try:
            due = times_due(cron_job, now)
        except cron.CronError as error:
            self._events.event(cron_job, "Warning", "UnparseableSchedule", f"unparseable schedule: {error}")
            return
        if due.next is not None:
            self._controller.enqueue_after(meta.key(cron_job), (due.next - now).total_seconds() + 0.1)
        if due.missed > MANY_MISSED:
            advice = "Set or decrease .spec.startingDeadlineSeconds or check clock skew"
            message = f"too many missed start times: {due.missed}. {advice}"
            self._events.event(cron_job, "Warning", "TooManyMissedTimes", message)
        if due.at is None:
            return
        if spec.startingDeadlineSeconds is not None and now - due.at > timedelta(seconds=spec.startingDeadlineSeconds):
            self._events.event(
                cron_job,
                "Warning",
                "MissSchedule",
                f"Missed scheduled time to start a job: {due.at:%a, %d %b %Y %H:%M:%S +0000}",
            )
            return
        await self._start(cron_job, spec, status, due.at)

    async def _start(self, cron_job: CronJob, spec: CronJobSpec, status: CronJobStatus, at: datetime) -> None:
        if status.active and spec.concurrencyPolicy == "Forbid":
            message = "Not starting job because prior execution is running and concurrency policy is Forbid"
            self._events.event(cron_job, "Normal", "JobAlreadyActive", message)
            return
        if status.active and spec.concurrencyPolicy == "Replace":
            await self._stop_active(cron_job, status)
        job = job_from(cron_job, at)
        try:
            created = await self._client.create(job)
            self._events.event(cron_job, "Normal", "SuccessfulCreate", f"Created job {meta.name(created)}")
        except Exception as error:
            if not writes.is_status(error, 409):
                self._events.event(cron_job, "Warning", "FailedCreate", f"Error creating job: {error}")
                raise
            # Started before, and the note of it was lost on the way.
            present = await rest.get(self._client, Job, namespace=meta.namespace(job), name=meta.name(job))
            if present is None or not meta.is_controlled_by(present, cron_job):
                self._events.event(cron_job, "Warning", "FailedCreate", f"Error creating job: {error}")
                raise
            created = present
        if not finished(created):
            others = [each for each in status.active or [] if each.uid != meta.uid(created)]
            status.active = [*others, reference(created)]
        status.lastScheduleTime = at

    async def _stop_active(self, cron_job: CronJob, status: CronJobStatus) -> None:
        for active in status.active or []:
            job = self._jobs.get(f"{active.namespace}/{active.name}")
            if job is not None and await writes.delete_quietly(self._client, job, propagation="Background"):
                self._events.event(cron_job, "Normal", "SuccessfulDelete", f"Deleted job {meta.name(job)}")
        status.active = None


# Pure parts


@dataclass(frozen=True, slots=True)
class Due:
    """`at`: the latest time that has passed without a Job; `missed`: how many did; `next`: the one to come."""

    at: datetime | None
    missed: int
    next: datetime | None


def times_due(cron_job: CronJob, now: datetime) -> Due:
    """Raises CronError."""
    spec, status = cron_job.spec, cron_job.status
    assert spec is not None
    earliest = (status and status.lastScheduleTime) or meta.metadata(cron_job).creationTimestamp or now
    if spec.startingDeadlineSeconds is not None:
        earliest = max(earliest, now - timedelta(seconds=spec.startingDeadlineSeconds))
    zone = cron.time_zone(spec.timeZone)
    upcoming = next(cron.after(spec.schedule, now, zone), None)
    passed = []
    # Years of missed minutes cost as much as a hundred: far back, start close to now instead.
    for moment in islice(cron.after(spec.schedule, earliest, zone), MANY_MISSED + 1):
        if moment > now:
            break
        passed.append(moment)
    if len(passed) > MANY_MISSED:
        return Due(_latest(spec.schedule, passed[-1], now, zone), len(passed), upcoming)
    return Due(passed[-1] if passed else None, len(passed), upcoming)


def _latest(schedule: str, known: datetime, now: datetime, zone: tzinfo) -> datetime:
    """The last time before `now`, found by halving instead of counting."""
    low, high = known, now
    while high - low > timedelta(minutes=1):
        middle = low + (high - low) / 2
        following = next(cron.after(schedule, middle, zone), None)
        if following is not None and following <= now:
            low = max(following, middle)
            known = following
        else:
            high = middle
    return known


def job_from(cron_job: CronJob, at: datetime) -> Job:
    """The Job of one scheduled time; its name ends in that time in minutes."""
    spec = cron_job.spec
    template = meta.clone(spec.jobTemplate) if spec is not None else JobTemplateSpec()
    given = template.metadata or ObjectMeta()
    local = at.astimezone(cron.time_zone(spec.timeZone if spec else None))
    return Job(
        metadata=ObjectMeta(
            name=f"{meta.name(cron_job)}-{int(at.timestamp()) // 60}",
            namespace=meta.namespace(cron_job),
            labels=given.labels,
            annotations={**(given.annotations or {}), SCHEDULED_AT: local.isoformat().replace("+00:00", "Z")},
            ownerReferences=[meta.owner_reference(cron_job)],
        ),
        spec=template.spec,
    )


def finished(job: Job) -> str:
    """Complete, Failed, or empty while the Job goes on."""
    for condition in (job.status and job.status.conditions) or []:
        if condition.type in ("Complete", "Failed") and condition.status == "True":
            return condition.type
    return ""


def reference(job: Job) -> ObjectReference:
    metadata = meta.metadata(job)
    return ObjectReference(
        apiVersion="batch/v1", kind="Job", name=metadata.name, namespace=metadata.namespace, uid=metadata.uid
    )


def _started(job: Job) -> tuple[datetime, str]:
    started = (job.status and job.status.startTime) or meta.metadata(job).creationTimestamp
    assert started is not None
    return started, meta.name(job)
