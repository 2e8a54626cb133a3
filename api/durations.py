"""Durations on command lines: `40`, `1.5`, `40s`, `1m30s`, `500ms`, in seconds. Pure."""

from __future__ import annotations

import re

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
