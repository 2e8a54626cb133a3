"""One lab for all end-to-end tests: three nodes of real engines on a subnet of its own, beside a user's own lab."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator

import pytest
from world import World

from lab.cluster import Lab

LAB_NAME = "te2e"
LAB_SUBNET = "10.87.0.0/24"

_timings: list[tuple[str, float, str]] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.geteuid() != 0:
        for item in items:
            if "e2e" in str(item.path):
                item.add_marker(pytest.mark.skip(reason="a lab needs root"))


@pytest.fixture
def took() -> Callable[..., None]:
    """Note how long something took; the list is printed at the end of the run and never judged."""

    def note(what: str, amount: float, *, unit: str = "s") -> None:
        _timings.append((what, amount, unit))

    return note


def pytest_terminal_summary(terminalreporter) -> None:
    if not _timings:
        return
    terminalreporter.section("how long the cluster took")
    for what, amount, unit in _timings:
        figure = f"{amount:8.2f} s" if unit == "s" else f"{amount:8.0f}  "
        terminalreporter.write_line(f"{figure}  {what}")


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """The running lab. Whatever happens, it is taken down at the end."""
    lab = Lab(name=LAB_NAME, subnet=LAB_SUBNET)
    lab.down()
    try:
        result = lab.up(nodes=3, kubeconfig=False)
        _timings.append(("lab: three Ready nodes from nothing", result.seconds, "s"))
        yield World(lab)
    finally:
        lab.down()


_numbers = itertools.count(1)


@pytest.fixture
def namespace(world, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of the test's own, emptied and gone afterwards."""
    name = f"test-{next(_numbers)}"
    yield name
    world.delete_namespace(name)
    world.forget_added_nodes()
