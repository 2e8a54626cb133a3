from __future__ import annotations

from datetime import UTC, datetime

import pytest

from api.durations import human_duration, since

M, H, D, Y = 60, 3600, 86400, 365 * 86400


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"),
        (-1, "0s"),
        (-0.5, "0s"),
        (0, "0s"),
        (1.9, "1s"),
        (119, "119s"),
        (2 * M, "2m"),
        (2 * M + 1, "2m1s"),
        (10 * M - 1, "9m59s"),
        (10 * M, "10m"),
        (3 * H - 1, "179m"),
        (3 * H, "3h"),
        (3 * H + M, "3h1m"),
        (8 * H, "8h"),
        (48 * H - 1, "47h"),
        (2 * D, "2d"),
        (2 * D + H, "2d1h"),
        (8 * D, "8d"),
        (2 * Y - 1, "729d"),
        (2 * Y, "2y"),
        (2 * Y + 3 * D, "2y3d"),
        (8 * Y + D, "8y"),
    ],
)
def test_durations_read_as_in_kubectl(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text


@pytest.mark.parametrize(
    ("timestamp", "text"),
    [(None, "<unknown>"), ("2026-01-01T00:00:00Z", "5m30s"), ("2026-01-01T00:00:00.250000Z", "5m29s")],
)
def test_age_of_a_timestamp(timestamp: str | None, text: str) -> None:
    assert since(timestamp, now=datetime(2026, 1, 1, 0, 5, 30, tzinfo=UTC)) == text
