"""CronJobs: Jobs on a schedule (https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/)."""

from __future__ import annotations

from collections.abc import Iterator

from lightkube.models.batch_v1 import CronJobStatus
from lightkube.resources.batch_v1 import CronJob

from api import cron
from api.durations import since
from apiserver.kinds.job import spec_defaults, spec_rules
from apiserver.registry import names, rules
from apiserver.registry.columns import AGE, CONTAINERS, IMAGES, NAME, NONE, SELECTOR, Column, Object, at
from apiserver.registry.defaults import filled
from apiserver.registry.kind import Kind
from apiserver.verbs.status import STATUS

LONGEST_NAME = 52
"""A Job's name adds a dash and ten digits, and must stay a label of 63 characters."""


DEFAULTS = {
    "concurrencyPolicy": "Allow",
    "suspend": False,
    "successfulJobsHistoryLimit": 3,
    "failedJobsHistoryLimit": 1,
    "jobTemplate": {"spec": spec_defaults},
}


def schedule(text: str) -> Iterator[str]:
    if "TZ" in text:
        yield "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
        return
    try:
        cron.check(text)
    except cron.CronError as error:
        yield str(error)


def zone(text: str) -> Iterator[str]:
    try:
        cron.time_zone(text)
    except cron.CronError as error:
        yield str(error)


def name(text: str) -> list[str]:
    wrong = names.dns_subdomain(text)
    return wrong or ([f"must be no more than {LONGEST_NAME} characters"] if len(text) > LONGEST_NAME else [])


def last_schedule(obj: Object) -> str:
    last = obj.get("status", {}).get("lastScheduleTime")
    return since(last) if last else NONE


CRON_JOB = Kind(
    CronJob,
    short_names=("cj",),
    categories=("all",),
    subresources=(STATUS,),
    columns=(
        NAME,
        Column("Schedule", at("spec.schedule")),
        Column("Timezone", at("spec.timeZone")),
        Column("Suspend", lambda obj: str(at("spec.suspend", False)(obj)), "boolean"),
        Column("Active", lambda obj: len(at("status.active", ())(obj)), "integer"),
        Column("Last Schedule", last_schedule),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ),
    counts_generations=True,
    name_rule=name,
    defaults=filled({"spec": DEFAULTS}),
    initial_status=lambda obj: CronJobStatus(),
    rules=(
        rules.required("spec.schedule"),
        rules.check("spec.schedule", schedule),
        rules.check("spec.timeZone", zone, empty=True),
        rules.one_of("spec.concurrencyPolicy", "Allow", "Forbid", "Replace"),
        *rules.not_negative(
            "spec.startingDeadlineSeconds", "spec.successfulJobsHistoryLimit", "spec.failedJobsHistoryLimit"
        ),
        *spec_rules("spec.jobTemplate.spec"),
    ),
)
