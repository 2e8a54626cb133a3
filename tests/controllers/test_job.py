"""Jobs: how they end, which pods they start, and that no pod is counted twice or missed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from lightkube.models.batch_v1 import (
    JobSpec,
    JobStatus,
    PodFailurePolicy,
    PodFailurePolicyOnExitCodesRequirement,
    PodFailurePolicyOnPodConditionsPattern,
    PodFailurePolicyRule,
    SuccessPolicy,
    SuccessPolicyRule,
    UncountedTerminatedPods,
)
from lightkube.models.core_v1 import (
    Container,
    ContainerState,
    ContainerStateTerminated,
    ContainerStatus,
    PodCondition,
    PodSpec,
    PodStatus,
    PodTemplateSpec,
)
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.batch_v1 import Job
from lightkube.resources.core_v1 import Pod

from controllers import job_indexes, job_plan, job_policies, job_tally
from controllers.job import _conclude, _count, pod_from
from controllers.job_tally import FINALIZER, Tally

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def job(status: JobStatus | None = None, **spec) -> Job:
    template = PodTemplateSpec(spec=PodSpec(containers=[Container(name="c")], restartPolicy="Never"))
    given = {"template": template, "parallelism": 2, "completions": 3, "backoffLimit": 6, **spec}
    return Job(metadata=ObjectMeta(name="j", namespace="ns", uid="j"), spec=JobSpec(**given), status=status)


def indexed(status: JobStatus | None = None, **spec) -> Job:
    return job(status, completionMode="Indexed", **spec)


def pod(
    name: str, phase: str = "Running", *, index: int | None = None, code: int = 1, ago: float = 1000, **more
) -> Pod:
    annotations = {} if index is None else {job_indexes.INDEX: str(index)}
    annotations |= more.pop("annotations", {})
    ended = ContainerStateTerminated(exitCode=code, finishedAt=NOW - timedelta(seconds=ago))
    state = ContainerState(terminated=ended) if phase in ("Failed", "Succeeded") else None
    conditions = more.pop("conditions", None)
    tracked = more.pop("tracked", True)
    return Pod(
        metadata=ObjectMeta(
            name=name,
            namespace="ns",
            uid=name,
            annotations=annotations,
            finalizers=[FINALIZER] if tracked else None,
            **more,
        ),
        spec=PodSpec(containers=[Container(name="c")]),
        status=PodStatus(
            phase=phase,
            conditions=conditions,
            containerStatuses=[
                ContainerStatus(name="c", image="i", imageID="", ready=False, restartCount=0, state=state)
            ],
        ),
    )


@pytest.mark.parametrize(
    ("numbers", "text"),
    [(set(), ""), ({1}, "1"), ({1, 2}, "1,2"), ({1, 2, 3}, "1-3"), ({0, 2, 3, 4, 7, 8}, "0,2-4,7,8")],
)
def test_indexes_are_written_as_runs(numbers: set[int], text: str) -> None:
    assert job_indexes.show(numbers) == text
    assert job_indexes.parse(text) == numbers


def plan(given: Job, owned: list[Pod]) -> job_plan.Plan:
    return job_plan.plan(given, Tally.of(given, owned), NOW)


def test_as_many_pods_as_parallelism_and_completions_allow() -> None:
    assert len(plan(job(), []).start) == 2
    done = [pod("a", "Succeeded"), pod("b", "Succeeded")]
    assert len(plan(job(), done).start) == 1
    assert plan(job(), [pod("a"), pod("b")]).start == []
    assert [p.metadata.name for p in plan(job(parallelism=1), [pod("a"), pod("b")]).stop] == ["a"]


def test_without_completions_the_first_success_stops_new_pods() -> None:
    queue = job(completions=None)
    assert len(plan(queue, []).start) == 2
    assert plan(queue, [pod("a", "Succeeded"), pod("b")]).start == []
    assert job_plan.ending(queue, Tally.of(queue, [pod("a", "Succeeded"), pod("b")]), NOW) is None
    ending = job_plan.ending(queue, Tally.of(queue, [pod("a", "Succeeded")]), NOW)
    assert ending is not None and ending.type == "Complete"


def test_a_failure_is_retried_later_and_later() -> None:
    waiting = plan(job(), [pod("a", "Failed", ago=3)])
    assert (waiting.start, waiting.wait_seconds) == ([], 7.0)
    twice = [pod("a", "Failed", ago=30), pod("b", "Failed", ago=5)]
    assert plan(job(), twice).wait_seconds == 15.0
    assert len(plan(job(), [pod("a", "Failed", ago=11)]).start) == 2
    # A success in between begins the count anew.
    assert plan(job(), [*twice, pod("c", "Succeeded", ago=1)]).wait_seconds is None


def ending(given: Job, owned: list[Pod]) -> str | None:
    found = job_plan.ending(given, Tally.of(given, owned), NOW)
    return found and found.reason


def test_how_jobs_end() -> None:
    assert ending(job(), [pod(name, "Succeeded") for name in "abc"]) == "CompletionsReached"
    assert ending(job(backoffLimit=1), [pod("a", "Failed")]) is None
    assert ending(job(backoffLimit=1), [pod("a", "Failed"), pod("b", "Failed")]) == "BackoffLimitExceeded"
    late = JobStatus(startTime=NOW - timedelta(seconds=60))
    assert ending(job(late, activeDeadlineSeconds=60), [pod("a")]) == "DeadlineExceeded"
    assert ending(job(late, activeDeadlineSeconds=61), [pod("a")]) is None


def test_a_pod_that_is_being_deleted_counts_as_failed_unless_the_job_waits_for_its_end() -> None:
    going = pod("a", deletionTimestamp=NOW)
    assert Tally.of(job(), [going]).failed_count(job()) == 1
    waits = job(podReplacementPolicy="Failed")
    assert Tally.of(waits, [going]).failed_count(waits) == 0
    assert len(plan(waits, [going]).start) == 1


def test_a_finished_pod_is_counted_once_wherever_the_controller_dies() -> None:
    """Noted, then released, then counted; repeating any step, or starting anew from any of them, changes nothing."""
    given, ended = job(), pod("a", "Succeeded")
    status = JobStatus()
    for _ in range(2):  # died after reading, before writing: all is done again
        tally = Tally.of(given, [ended])
        job_tally.settle(status, tally.tracked, indexed=False)
        assert tally.releasable(JobStatus()) == []
    job_tally.note(status, tally)
    assert status.uncountedTerminatedPods == UncountedTerminatedPods(succeeded=["a"])
    given.status = status
    for _ in range(2):  # died before the finalizer was removed
        tally = Tally.of(given, [ended])
        assert tally.succeeded == [] and tally.succeeded_count(given) == 1
        assert tally.releasable(status) == [ended]
        assert not job_tally.settle(status, tally.tracked, indexed=False)
    for present in ([], [pod("a", "Succeeded", tracked=False)]):  # the pod may be gone, too
        again = JobStatus(uncountedTerminatedPods=UncountedTerminatedPods(succeeded=["a"]))
        given.status = again
        tally = Tally.of(given, present)
        assert tally.succeeded_count(given) == 1
        assert job_tally.settle(again, tally.tracked, indexed=False)
        assert again.succeeded == 1 and not again.uncountedTerminatedPods.succeeded
        assert Tally.of(given, present).succeeded_count(given) == 1


def test_indexes_are_started_lowest_first_and_never_twice() -> None:
    given = indexed(completions=4, parallelism=2)
    assert plan(given, []).start == [0, 1]
    owned = [pod("a", "Succeeded", index=0), pod("b", index=2), pod("c", index=2)]
    found = plan(given, owned)
    assert found.start == [1]
    assert len(found.stop) == 1
    assert Tally.of(given, [pod("a", "Succeeded", index=9)]).succeeded_indexes == set()


def test_failures_per_index() -> None:
    given = indexed(completions=2, backoffLimitPerIndex=1, backoffLimit=2**31 - 1)
    first = pod("a", "Failed", index=0)
    assert plan(given, [first]).start == [0, 1]
    again = pod_from(given, 0, Tally.of(given, [first]))
    assert again.metadata.annotations[job_indexes.FAILURES_OF_INDEX] == "1"
    second = pod("b", "Failed", index=0, annotations={job_indexes.FAILURES_OF_INDEX: "1"})
    tally = Tally.of(given, [first, second])
    assert tally.failed_indexes == {0}
    assert job_plan.plan(given, tally, NOW).start == [1]
    assert ending(given, [first, second, pod("c", "Succeeded", index=1)]) == "FailedIndexes"
    assert ending(indexed(completions=9, backoffLimitPerIndex=0, maxFailedIndexes=0), [first]) == (
        "MaxFailedIndexesExceeded"
    )


def rule(action: str, **more) -> PodFailurePolicy:
    return PodFailurePolicy(rules=[PodFailurePolicyRule(action=action, **more)])


def codes(operator: str, *values: int, container: str | None = None) -> PodFailurePolicyOnExitCodesRequirement:
    return PodFailurePolicyOnExitCodesRequirement(operator=operator, values=list(values), containerName=container)


def test_pod_failure_policy() -> None:
    failed = pod("a", "Failed", code=42)
    fatal = job(podFailurePolicy=rule("FailJob", onExitCodes=codes("In", 42)))
    assert ending(fatal, [failed]) == "PodFailurePolicy"
    assert job_policies.judge(fatal.spec, failed).message == (
        "Container c for pod ns/a failed with exit code 42 matching FailJob rule at index 0"
    )
    assert ending(job(podFailurePolicy=rule("FailJob", onExitCodes=codes("NotIn", 42))), [failed]) is None
    assert ending(job(podFailurePolicy=rule("FailJob", onExitCodes=codes("In", 42, container="x"))), [failed]) is None
    disruption = [PodFailurePolicyOnPodConditionsPattern(type="DisruptionTarget", status="True")]
    ignoring = job(podFailurePolicy=rule("Ignore", onPodConditions=disruption))
    hit = pod("a", "Failed", conditions=[PodCondition(type="DisruptionTarget", status="True")])
    tally = Tally.of(ignoring, [hit])
    assert tally.failed_count(ignoring) == 0
    assert tally.releasable(JobStatus()) == [hit]


def test_success_policy() -> None:
    policy = SuccessPolicy(rules=[SuccessPolicyRule(succeededIndexes="0,2-3", succeededCount=2)])
    given = indexed(completions=4, successPolicy=policy)
    assert ending(given, [pod("a", "Succeeded", index=0), pod("b", "Succeeded", index=1)]) is None
    assert ending(given, [pod("a", "Succeeded", index=0), pod("b", "Succeeded", index=3)]) == "SuccessPolicy"


def test_conditions_come_in_order_and_only_when_nothing_runs() -> None:
    given = job(backoffLimit=0)
    running = [pod("a", "Failed"), pod("b")]
    tally = Tally.of(given, running)
    status = JobStatus()
    job_tally.note(status, tally)
    _count(given, status, tally)
    events = _conclude(given, status, tally, job_plan.ending(given, tally, NOW), NOW)
    assert [(each.type, each.reason) for each in status.conditions] == [("FailureTarget", "BackoffLimitExceeded")]
    assert events == []
    given.status = status
    tally = Tally.of(given, [])
    final = JobStatus(conditions=status.conditions)
    events = _conclude(given, final, tally, job_plan.ending(given, tally, NOW), NOW)
    assert [each.type for each in final.conditions] == ["FailureTarget", "Failed"]
    assert events == [("Warning", "BackoffLimitExceeded", "Job has reached the specified backoff limit")]


def test_suspending_and_resuming() -> None:
    given = job(suspend=True)
    status = JobStatus(startTime=NOW)
    assert _conclude(given, status, Tally(), None, NOW) == [("Normal", "Suspended", "Job suspended")]
    assert status.startTime is None
    given.spec.suspend = False
    assert _conclude(given, status, Tally(), None, NOW) == [("Normal", "Resumed", "Job resumed")]
    assert status.startTime == NOW
