"""For all tests: how long an example takes on a busy machine proves nothing; and with `--all-installed`, which says
that every program is there, no test may be skipped for want of one."""

from __future__ import annotations

from collections.abc import Generator
from types import SimpleNamespace

import pytest
from hypothesis import settings
from network_objects import make as network_objects

MISSING = "is not installed"

settings.register_profile("minik", deadline=None)
settings.load_profile("minik")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all-installed", action="store_true", help=f"a test that is skipped because X {MISSING} fails")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and MISSING in str(report.longrepr) and item.config.getoption("--all-installed"):
        report.outcome = "failed"
    return report


@pytest.fixture
def make() -> SimpleNamespace:
    """Builders of Services and their endpoints."""
    return network_objects
