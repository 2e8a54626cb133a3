"""CronJobs: which times are due, and what is made of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from lightkube.models.batch_v1 import CronJobSpec, CronJobStatus, JobSpec, JobTemplateSpec
from lightkube.models.core_v1 import Container, PodSpec, PodTemplateSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.batch_v1 import CronJob

from api import cron
from controllers.cronjob import job_from, times_due

NOW = datetime(2026, 1, 1, 12, 0, 30, tzinfo=UTC)


def cron_job(schedule: str = "*/5 * * * *", *, last: datetime | None = None, **more) -> CronJob:
    template = PodTemplateSpec(spec=PodSpec(containers=[Container(name="c")]))
    return CronJob(
        metadata=ObjectMeta(name="c", namespace="ns", uid="u", creationTimestamp=more.pop("created", NOW)),
        spec=CronJobSpec(schedule=schedule, jobTemplate=JobTemplateSpec(spec=JobSpec(template=template)), **more),
        status=CronJobStatus(lastScheduleTime=last),
    )


def test_nothing_is_due_before_its_time() -> None:
    due = times_due(cron_job(), NOW)
    assert (due.at, due.missed, due.next) == (None, 0, datetime(2026, 1, 1, 12, 5, tzinfo=UTC))


def test_of_missed_times_the_latest_counts() -> None:
    due = times_due(cron_job(last=NOW - timedelta(minutes=21)), NOW)
    assert (due.at, due.missed) == (datetime(2026, 1, 1, 12, 0, tzinfo=UTC), 5)


def test_years_of_missed_times_cost_no_more_than_a_hundred() -> None:
    due = times_due(cron_job("* * * * *", last=NOW - timedelta(days=3650)), NOW)
    assert due.at == datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
    assert due.missed > 100


def test_a_deadline_forgets_what_is_older() -> None:
    last = NOW - timedelta(days=2)
    assert times_due(cron_job("0 3 * * *", last=last, startingDeadlineSeconds=60), NOW).at is None
    assert times_due(cron_job("0 12 * * *", last=last, startingDeadlineSeconds=60), NOW).at is not None


def test_time_zones_and_their_clock_changes() -> None:
    # 2:30 does not exist on the night clocks go forward; the schedule must not be lost for good.
    given = cron_job("30 9 * * *", timeZone="Europe/Berlin", last=datetime(2026, 3, 28, 9, tzinfo=UTC))
    due = times_due(given, datetime(2026, 3, 29, 8, tzinfo=UTC))
    assert due.at == datetime(2026, 3, 29, 7, 30, tzinfo=UTC)
    moments = cron.after("30 2 * * *", datetime(2026, 3, 28, 12, tzinfo=UTC), ZoneInfo("Europe/Berlin"))
    assert [next(moments).date().day for _ in range(2)] == [29, 30]


@pytest.mark.parametrize("schedule", ["", "* * * *", "60 * * * *", "@every 5m", "0 0 L * *", "0 0 * * 1#2", "x"])
def test_what_kubernetes_does_not_know_is_refused(schedule: str) -> None:
    with pytest.raises(cron.CronError):
        cron.check(schedule)


@pytest.mark.parametrize("schedule", ["@daily", "*/5 1-3,7 * JUL MON-FRI", "0 0 ? * *", "30 4 1 1 0"])
def test_what_kubernetes_knows_is_read(schedule: str) -> None:
    cron.check(schedule)


@pytest.mark.parametrize("name", ["Mars/Olympus", "Local", "../etc/passwd"])
def test_unknown_time_zones_are_refused(name: str) -> None:
    with pytest.raises(cron.CronError):
        cron.time_zone(name)


def test_a_job_is_named_after_its_minute() -> None:
    at = datetime(2026, 1, 1, 12, 5, tzinfo=UTC)
    made = job_from(cron_job(timeZone="Europe/Berlin"), at)
    assert made.metadata.name == f"c-{int(at.timestamp()) // 60}"
    assert made.metadata.annotations == {"batch.kubernetes.io/cronjob-scheduled-timestamp": "2026-01-01T13:05:00+01:00"}
    assert made.metadata.ownerReferences[0].controller
