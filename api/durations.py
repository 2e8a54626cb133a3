"""Durations: as command lines have them (`40`, `1m30s`, `500ms`), and as ages are printed (`5m30s`, `2d`). Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")


def parse_duration(text: str) -> float:
    """Seconds. Plain numbers are seconds; otherwise Go's notation. Raises ValueError."""
    try:
        return float(text)
    except ValueError:
        pass
    if not re.fullmatch(rf"(?:{_PART.pattern})+", text):
        raise ValueError(f"invalid duration {text!r}: write seconds, or as in 1m30s")
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))


def since(timestamp: str | None, now: datetime | None = None) -> str:
    """How long ago a Time or MicroTime of the API is, as Kubernetes prints it; `<unknown>` for none."""
    if not timestamp:
        return "<unknown>"
    return human_duration(((now or datetime.now(UTC)) - datetime.fromisoformat(timestamp)).total_seconds())


def human_duration(seconds: float) -> str:
    """`42s`, `5m30s`, `3h`, `2d`: two units at most, and only one where the second would not matter.

    k8s.io/apimachinery/pkg/util/duration.HumanDuration.
    """
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    for below, large, large_unit, small, small_unit in _STEPS:
        if whole < below:
            rest = max(whole, 0) % large // small if small else 0
            return f"{max(whole, 0) // large}{large_unit}" + (f"{rest}{small_unit}" if rest else "")
    return f"{whole // _YEAR}y"


_DAY, _YEAR = 86400, 365 * 86400
_STEPS = (
    (120, 1, "s", 0, ""),
    (600, 60, "m", 1, "s"),
    (3 * 3600, 60, "m", 0, ""),
    (8 * 3600, 3600, "h", 60, "m"),
    (2 * _DAY, 3600, "h", 0, ""),
    (8 * _DAY, _DAY, "d", 3600, "h"),
    (2 * _YEAR, _DAY, "d", 0, ""),
    (8 * _YEAR, _YEAR, "y", _DAY, "d"),
)
"""Below so many seconds: the unit, and the one after it."""
