"""Cron schedules as CronJobs write them: five fields or a macro such as `@daily`. Pure.

Kubernetes: https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#schedule-syntax. The reading is
`cronsim`'s; what it knows beyond Kubernetes (`L`, `#`) is refused, as a manifest must mean the same on both.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}

_BEYOND = re.compile(r"#|\bL", re.IGNORECASE)


class CronError(ValueError):
    """A schedule or time zone that cannot be read."""


def check(schedule: str) -> None:
    """Raises CronError, saying what is wrong."""
    try:
        _fields(schedule, datetime.now(UTC))
    except CronSimError as error:
        raise CronError(str(error)) from None


def after(schedule: str, moment: datetime, zone: tzinfo) -> Iterator[datetime]:
    """The times later than `moment`, in order, in UTC. Raises CronError; ends when there is none in 50 years."""
    try:
        for each in _fields(schedule, moment.astimezone(zone)):
            yield each.astimezone(UTC)
    except CronSimError as error:
        raise CronError(str(error)) from None


def _fields(schedule: str, moment: datetime) -> CronSim:
    text = MACROS.get(schedule.strip(), schedule)
    if _BEYOND.search(text.upper().replace("JUL", "")):
        raise CronError("L and # are not supported")
    return CronSim(text.replace("?", "*"), moment)


def time_zone(name: str | None) -> tzinfo:
    """The zone of a CronJob; UTC when it names none, as the control plane's own zone is nobody's business."""
    if not name:
        return UTC
    try:
        if name.lower() == "local":
            raise CronError("timeZone must be an explicit time zone as defined in the IANA time zone database")
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise CronError(f"unknown time zone {name}") from None
