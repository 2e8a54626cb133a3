"""Doing things at the same time."""

import threading

import pytest

from lab import tasks


def test_all_run_at_once() -> None:
    meeting = threading.Barrier(3, timeout=10)
    tasks.finish([tasks.spawn(meeting.wait) for _ in range(3)])


def test_arguments_and_results() -> None:
    assert tasks.spawn(divmod, 7, 2).result() == (3, 1)


def test_the_first_failure_does_not_wait_for_the_others() -> None:
    release = threading.Event()

    def fail() -> None:
        raise ValueError("no luck")

    try:
        with pytest.raises(ValueError, match="no luck"):
            tasks.finish([tasks.spawn(release.wait), tasks.spawn(fail)])
    finally:
        release.set()
