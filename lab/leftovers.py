"""Removing labs of tests that were interrupted: `python -m lab.leftovers NAME...`; used by scripts/test."""

from __future__ import annotations

import sys

from bootstrap.errors import BootstrapError
from lab import netns, state
from lab.cluster import Lab

TEST_PREFIX = "t"


def test_labs() -> list[str]:
    """Names of labs, or remains of labs, that belong to tests."""
    on_disk = {entry.name for entry in state.LABS.iterdir()} if state.LABS.exists() else set()
    in_kernel = {name.removesuffix("-switch") for name in netns.names(TEST_PREFIX) if name.endswith("-switch")}
    return sorted(name for name in on_disk | in_kernel if name.startswith(TEST_PREFIX))


def main(names: list[str]) -> int:
    for name in names:
        try:
            Lab(name).down()
        except BootstrapError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
