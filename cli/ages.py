"""Points in time, and how long ago they are as Kubernetes prints it: `42s`, `5m30s`, `3h`, `2d`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

MINUTE, HOUR, DAY = 60, 3600, 86400
YEAR = 365 * DAY


def now() -> datetime:
    return datetime.now(UTC)


def parse(text: str) -> datetime:
    """A Time or MicroTime of the API. Raises ValueError."""
    return datetime.fromisoformat(text)


def age(timestamp: Any, *, at: datetime | None = None) -> str:
    """How long ago a timestamp of the API is; `<unknown>` for none."""
    if not timestamp:
        return "<unknown>"
    return human_duration(((at or now()) - parse(timestamp)).total_seconds())


def rfc1123(timestamp: Any) -> str:
    """A timestamp in the local zone as `describe` prints it: Mon, 02 Jan 2006 15:04:05 +0000."""
    if not timestamp:
        return "<unset>"
    return parse(timestamp).astimezone().strftime("%a, %d %b %Y %H:%M:%S %z")


def human_duration(seconds: float) -> str:
    """Two units at most, and only one where the second would not matter."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    if whole < 0:
        return "0s"
    if whole < 2 * MINUTE:
        return f"{whole}s"
    if whole < 10 * MINUTE:
        return _two(whole, MINUTE, "m", 1, "s")
    if whole < 3 * HOUR:
        return f"{whole // MINUTE}m"
    if whole < 8 * HOUR:
        return _two(whole, HOUR, "h", MINUTE, "m")
    if whole < 2 * DAY:
        return f"{whole // HOUR}h"
    if whole < 8 * DAY:
        return _two(whole, DAY, "d", HOUR, "h")
    if whole < 2 * YEAR:
        return f"{whole // DAY}d"
    if whole < 8 * YEAR:
        return _two(whole, YEAR, "y", DAY, "d")
    return f"{whole // YEAR}y"


def _two(whole: int, large: int, large_name: str, small: int, small_name: str) -> str:
    rest = whole % large // small
    return f"{whole // large}{large_name}" + (f"{rest}{small_name}" if rest else "")
