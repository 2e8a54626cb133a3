"""Job -> Pods that run to their end. What comes next is decided in job_plan.py, the counting in job_tally.py.

Kubernetes: pkg/controller/job and pkg/controller/ttlafterfinished.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from lightkube.models.batch_v1 import JobCondition, JobStatus
from lightkube.models.core_v1 import EnvVar, EnvVarSource, ObjectFieldSelector, PodSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.batch_v1 import Job
from lightkube.resources.core_v1 import Pod

from api import meta, pods
from controllers import job_indexes, job_plan, job_tally, writes
from controllers.cronjob import finished
from controllers.job_plan import Ending
from controllers.job_tally import FINALIZER, Tally
from controllers.manager import Manager
from controllers.pod_control import PodControl, all_or_first_error

JOB_NAME = "batch.kubernetes.io/job-name"
MANAGER = "kubernetes.io/job-controller"
"""A Job whose spec.managedBy names another is left to that one."""


class JobController:
    """Runs every Job to its end, and removes it when its time to live is over."""

    def __init__(self, manager: Manager, *, workers: int = 4) -> None:
        self._client = manager.client
        self._events = manager.recorder("job-controller")
        self._control: PodControl[Job] = PodControl(
            manager, Job, component="job-controller", workers=workers, reconcile=self.reconcile
        )

        self._control.pods.add_index("job", _tracking_job)
        self._control.pods.on_change(self._pod_changed)

    async def reconcile(self, key: str) -> None:
        job = self._control.owners.get(key)
        await self._release(self._orphans(key, job))
        if job is None or job.spec is None or (job.spec.managedBy or MANAGER) != MANAGER:
            return
        ready_to_act = self._control.is_up_to_date(job)
        owned = await self._control.claim(job)
        if finished(job):
            await self._release([pod for pod in owned if FINALIZER in (meta.metadata(pod).finalizers or [])])
            await self._expire(job)
            return
        tally, now = Tally.of(job, owned), meta.now_micro()
        failure: Exception | None = None
        ending = job_plan.ending(job, tally, now)
        if ready_to_act and not meta.is_terminating(job):
            try:
                await self._manage(job, tally, ending, now)
            except Exception as error:
                failure = error
        await self._record(job, tally, ending, now)
        if failure is not None:
            raise failure

    # Pods

    def _orphans(self, key: str, job: Job | None) -> list[Pod]:
        """Pods of a Job that is no more: nobody else would ever take their finalizer away."""
        tracked = self._control.pods.by_index("job", key)
        if job is None:
            return tracked
        return [pod for pod in tracked if meta.controller_of(pod) and not meta.is_controlled_by(pod, job)]

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        """A pod without an owner wakes nobody else."""
        for key in _tracking_job(new) if new is not None else []:
            self._control.loop.enqueue(key)

    async def _manage(self, job: Job, tally: Tally, ending: Ending | None, now: datetime) -> None:
        assert job.spec is not None
        if ending is not None:
            await self._control.delete(job, tally.active)
            return
        left = job_plan.seconds_left(job, now)
        if left is not None:
            self._control.loop.enqueue_after(meta.key(job), left + 0.05)
        if job.spec.suspend:
            await self._stop(job, tally.active)
            return
        plan = job_plan.plan(job, tally, now)
        await self._stop(job, plan.stop)
        await self._control.create(job, [pod_from(job, index, tally) for index in plan.start])
        if plan.wait_seconds is not None:
            self._control.loop.enqueue_after(meta.key(job), plan.wait_seconds + 0.05)

    async def _stop(self, job: Job, victims: list[Pod]) -> None:
        """Pods that are not needed are neither a success nor a failure: their finalizer goes first."""
        await self._release(victims)
        await self._control.delete(job, victims)

    async def _release(self, counted: list[Pod]) -> None:
        await all_or_first_error([self._remove_finalizer(pod) for pod in counted])

    async def _remove_finalizer(self, pod: Pod) -> None:
        present = meta.metadata(pod).finalizers or []
        if FINALIZER not in present:
            return
        changed = meta.clone(pod)
        meta.metadata(changed).finalizers = [each for each in present if each != FINALIZER] or None
        try:
            await writes.put(self._client, changed)
        except Exception as error:
            if not writes.is_status(error, 404):
                raise

    # The status, in the order of job_tally.py's three steps

    async def _record(self, job: Job, tally: Tally, ending: Ending | None, now: datetime) -> None:
        status = meta.clone(job.status or JobStatus())
        # The version the loop read goes with the write, so nothing is counted on the word of an old cache.
        job_tally.settle(status, tally.tracked, indexed=job_tally.is_indexed(job))
        job_tally.note(status, tally)
        _count(job, status, tally)
        events = _conclude(job, status, tally, ending, now)
        releasable = tally.releasable(job.status or JobStatus())
        await self._control.save_status(job, status)
        for type_, reason, message in events:
            self._events.event(job, type_, reason, message)
        await self._release(releasable)

    async def _expire(self, job: Job) -> None:
        """ttlSecondsAfterFinished."""
        ttl = job.spec.ttlSecondsAfterFinished if job.spec else None
        if ttl is None or meta.is_terminating(job):
            return
        left = (_ended_at(job) + timedelta(seconds=ttl) - meta.now_micro()).total_seconds()
        if left > 0:
            self._control.loop.enqueue_after(meta.key(job), left + 0.05)
        else:
            await writes.delete_quietly(self._client, job, propagation="Foreground")


# Pure parts


def _tracking_job(pod: Pod) -> list[str]:
    """Index: the Job that a pod's finalizer waits for, by its owner, or by its label once it has none."""
    if FINALIZER not in (meta.metadata(pod).finalizers or []):
        return []
    owner = meta.controller_of(pod)
    name = meta.labels(pod).get(JOB_NAME) if owner is None else owner.name if owner.kind == "Job" else None
    return [f"{meta.namespace(pod)}/{name}"] if name else []


def _ended_at(job: Job) -> datetime:
    conditions = (job.status and job.status.conditions) or []
    times = [each.lastTransitionTime for each in conditions if each.type in ("Complete", "Failed")]
    return max((time for time in times if time is not None), default=meta.now_micro())


def _count(job: Job, status: JobStatus, tally: Tally) -> None:
    status.active = len(tally.active) or None
    status.ready = sum(pods.is_ready(pod) for pod in tally.active)
    status.terminating = len(tally.terminating)
    if job_tally.is_indexed(job):
        status.completedIndexes = job_indexes.show(tally.succeeded_indexes) or None
        status.succeeded = len(tally.succeeded_indexes) or None
        if job.spec is not None and job.spec.backoffLimitPerIndex is not None:
            status.failedIndexes = job_indexes.show(tally.failed_indexes)


def _conclude(
    job: Job, status: JobStatus, tally: Tally, ending: Ending | None, now: datetime
) -> list[tuple[str, str, str]]:
    """Conditions and times that follow; returns the events to write once they are stored."""
    suspended = bool(job.spec and job.spec.suspend)
    events = _note_suspension(status, suspended=suspended, now=now)
    if ending is None:
        if status.startTime is None and not suspended:
            status.startTime = now.replace(microsecond=0)
        return events
    _put(status, ending.announcement, ending.reason, ending.message, now)
    left = tally.active or tally.terminating or (status.uncountedTerminatedPods and _open(status))
    if left:
        return events
    status.active = None
    status.ready = 0
    _put(status, ending.type, ending.reason, ending.message, now)
    if ending.type == "Failed":
        return [*events, ("Warning", ending.reason, ending.message)]
    status.completionTime = now.replace(microsecond=0)
    return [*events, ("Normal", "Completed", "Job completed")]


def _open(status: JobStatus) -> bool:
    noted = job_tally.uncounted(status)
    return bool(noted.succeeded or noted.failed)


def _note_suspension(status: JobStatus, *, suspended: bool, now: datetime) -> list[tuple[str, str, str]]:
    present = meta.get_condition(status.conditions, "Suspended")
    was = present is not None and present.status == "True"
    if suspended == was:
        return []
    if suspended:
        _put(status, "Suspended", "JobSuspended", "Job suspended", now)
        status.startTime = None
        return [("Normal", "Suspended", "Job suspended")]
    _put(status, "Suspended", "JobResumed", "Job resumed", now, value="False")
    status.startTime = now.replace(microsecond=0)
    return [("Normal", "Resumed", "Job resumed")]


def _put(status: JobStatus, type_: str, reason: str, message: str, now: datetime, *, value: str = "True") -> None:
    moment = now.replace(microsecond=0)
    status.conditions = [*(status.conditions or [])]
    wanted = JobCondition(
        type=type_, status=value, reason=reason, message=message, lastProbeTime=moment, lastTransitionTime=moment
    )
    meta.set_condition(status.conditions, wanted)


def pod_from(job: Job, index: int | None, tally: Tally) -> Pod:
    """A pod of the Job; in an Indexed one it knows its index by annotation, label, environment and host name."""
    assert job.spec is not None
    template = meta.clone(job.spec.template)
    given, spec = template.metadata or ObjectMeta(), template.spec or PodSpec(containers=[])
    metadata = ObjectMeta(
        generateName=f"{meta.name(job)}-" if index is None else f"{meta.name(job)}-{index}-",
        namespace=meta.namespace(job),
        labels=given.labels,
        annotations=given.annotations,
        finalizers=[*(given.finalizers or []), FINALIZER],
        ownerReferences=[meta.owner_reference(job)],
    )
    if index is not None:
        metadata.annotations = {**(given.annotations or {}), job_indexes.INDEX: str(index)}
        metadata.labels = {**(given.labels or {}), job_indexes.INDEX: str(index)}
        if job.spec.backoffLimitPerIndex is not None:
            metadata.annotations[job_indexes.FAILURES_OF_INDEX] = str(job_plan.failures_before(tally, index))
        spec.hostname = f"{meta.name(job)}-{index}"[:63]
        source = EnvVarSource(fieldRef=ObjectFieldSelector(f"metadata.annotations['{job_indexes.INDEX}']"))
        for container in (*spec.containers, *(spec.initContainers or [])):
            if not any(each.name == "JOB_COMPLETION_INDEX" for each in container.env or []):
                container.env = [*(container.env or []), EnvVar(name="JOB_COMPLETION_INDEX", valueFrom=source)]
    return Pod(metadata=metadata, spec=spec)
