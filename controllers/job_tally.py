"""Counting a Job's pods so that none is counted twice and none is missed. Pure.

Kubernetes: trackJobStatusAndRemoveFinalizers (pkg/controller/job/job_controller.go). Every pod carries a finalizer
until it is counted. A finished pod goes through three steps, and a crash between any two of them repeats, at most, a
step that changes nothing:

1. its uid is written to status.uncountedTerminatedPods, in the same write that shows what it means for the Job;
2. its finalizer is removed;
3. its uid leaves the list and the counter goes up, in one write.

Interface: `Tally.of(job, pods)` reads the world, `settle` and `note` are steps 3 and 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lightkube.models.batch_v1 import JobStatus, UncountedTerminatedPods
from lightkube.resources.batch_v1 import Job
from lightkube.resources.core_v1 import Pod

from api import meta, pods
from controllers import job_indexes, job_policies

FINALIZER = "batch.kubernetes.io/job-tracking"
MAX_UNCOUNTED = 500
"""The most uids kept in the status at once; the rest waits for the next round (Kubernetes: the same)."""


@dataclass(slots=True)
class Tally:
    """What is there and what happened, with everything seen now already included."""

    active: list[Pod] = field(default_factory=list)
    terminating: list[Pod] = field(default_factory=list)
    succeeded: list[Pod] = field(default_factory=list)
    """Finished pods not yet in a counter or in the uncounted list."""
    failed: list[Pod] = field(default_factory=list)
    ignored: list[Pod] = field(default_factory=list)
    """Failures that the podFailurePolicy says to ignore: they lose their finalizer and are counted nowhere."""
    tracked: set[str] = field(default_factory=set)
    """uids of the pods that still have the finalizer."""
    all_failed: list[Pod] = field(default_factory=list)
    all_succeeded: list[Pod] = field(default_factory=list)
    fatal: str = ""
    """Why a failed pod fails the whole Job at once, if one does."""
    failed_indexes: set[int] = field(default_factory=set)
    succeeded_indexes: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, job: Job, owned: list[Pod]) -> Tally:
        self = cls()
        status: Any = job.status or JobStatus()
        self.succeeded_indexes = job_indexes.parse(status.completedIndexes)
        self.failed_indexes = job_indexes.parse(status.failedIndexes)
        noted = uncounted(status)
        for pod in owned:
            self._take(job, pod, noted)
        return self

    def _take(self, job: Job, pod: Pod, noted: UncountedTerminatedPods) -> None:
        tracked = FINALIZER in (meta.metadata(pod).finalizers or [])
        if tracked:
            self.tracked.add(meta.uid(pod))
        if pods.phase(pod) == "Succeeded":
            self.all_succeeded.append(pod)
            if tracked and self._counts(job, pod) and meta.uid(pod) not in (noted.succeeded or []):
                self.succeeded.append(pod)
            return
        if not pods.is_terminal(pod) and meta.is_terminating(pod):
            self.terminating.append(pod)
        if not has_failed(job, pod):
            if not meta.is_terminating(pod):
                self.active.append(pod)
            return
        self._take_failure(job, pod, noted=meta.uid(pod) in (noted.failed or []), tracked=tracked)

    def _take_failure(self, job: Job, pod: Pod, *, noted: bool, tracked: bool) -> None:
        assert job.spec is not None
        self.all_failed.append(pod)
        if not tracked or noted:
            return
        # Only a pod that ended on its own can be judged by how it ended.
        verdict = job_policies.judge(job.spec, pod) if pods.is_terminal(pod) else job_policies.Judgement()
        if verdict.action == "Ignore":
            self.ignored.append(pod)
            return
        self.failed.append(pod)
        if verdict.action == "FailJob" and not self.fatal:
            self.fatal = verdict.message
        index, limit = job_indexes.of(pod), job.spec.backoffLimitPerIndex
        if index is None or limit is None or index in self.succeeded_indexes:
            return
        if verdict.action == "FailIndex" or job_indexes.failures_of(pod) >= limit:
            self.failed_indexes.add(index)

    def _counts(self, job: Job, pod: Pod) -> bool:
        """Whether a success counts: in an Indexed Job once per index, and only for indexes it has."""
        if not is_indexed(job):
            return True
        index = job_indexes.of(pod)
        if index is None or (job.spec and job.spec.completions is not None and index >= job.spec.completions):
            return False
        self.succeeded_indexes.add(index)
        return True

    def succeeded_count(self, job: Job) -> int:
        """All successes: counted, noted and just seen."""
        if is_indexed(job):
            return len(self.succeeded_indexes)
        status: Any = job.status or JobStatus()
        return (status.succeeded or 0) + len(uncounted(status).succeeded or []) + len(self.succeeded)

    def failed_count(self, job: Job) -> int:
        """All failures, likewise."""
        status: Any = job.status or JobStatus()
        return (status.failed or 0) + len(uncounted(status).failed or []) + len(self.failed)

    def releasable(self, status: JobStatus) -> list[Pod]:
        """Pods whose finalizer may go now: counted nowhere, or noted in the status that is stored."""
        noted = uncounted(status)
        known = {*(noted.succeeded or []), *(noted.failed or [])}
        fresh = {meta.uid(pod) for pod in (*self.succeeded, *self.failed)} - known
        ended = [*self.all_succeeded, *self.all_failed]
        return [pod for pod in ended if meta.uid(pod) in self.tracked and meta.uid(pod) not in fresh]


def note(status: JobStatus, tally: Tally) -> None:
    """Step 1: write the uids of pods that have just ended into the status."""
    present = uncounted(status)
    succeeded, failed = [*(present.succeeded or [])], [*(present.failed or [])]
    for found, listed in ((tally.succeeded, succeeded), (tally.failed, failed)):
        room = max(0, MAX_UNCOUNTED - len(succeeded) - len(failed))
        listed += [meta.uid(pod) for pod in found[:room]]
    status.uncountedTerminatedPods = UncountedTerminatedPods(succeeded=succeeded or None, failed=failed or None)


def settle(status: JobStatus, tracked: set[str], *, indexed: bool) -> bool:
    """Step 3: count the noted pods that have no finalizer any more. Returns whether there were any."""
    present = uncounted(status)
    succeeded = [uid for uid in present.succeeded or [] if uid in tracked]
    failed = [uid for uid in present.failed or [] if uid in tracked]
    done = len(present.succeeded or []) - len(succeeded), len(present.failed or []) - len(failed)
    if indexed:
        status.succeeded = len(job_indexes.parse(status.completedIndexes)) or None
    elif done[0]:
        status.succeeded = (status.succeeded or 0) + done[0]
    if done[1]:
        status.failed = (status.failed or 0) + done[1]
    status.uncountedTerminatedPods = UncountedTerminatedPods(succeeded=succeeded or None, failed=failed or None)
    return any(done)


def uncounted(status: JobStatus) -> UncountedTerminatedPods:
    return status.uncountedTerminatedPods or UncountedTerminatedPods()


def is_indexed(job: Job) -> bool:
    return job.spec is not None and job.spec.completionMode == "Indexed"


def has_failed(job: Job, pod: Pod) -> bool:
    """Failed, or being deleted where the Job does not wait for the end of pods before it replaces them."""
    if pods.phase(pod) == "Failed":
        return True
    waits = job.spec is not None and job.spec.podReplacementPolicy == "Failed"
    return meta.is_terminating(pod) and not pods.is_terminal(pod) and not waits
