"""Which lab a command is about, and errors of lab/ and bootstrap/ as errors of this CLI.

--lab NAME, else $MINIK_LAB, else the lab the kubeconfig's current context talks to, else the one called `minik`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from cli.errors import CliError

DEFAULT = "minik"

LabName = Annotated[str, typer.Option("--lab", help="The lab, if there are several. Also: $MINIK_LAB.")]


@contextmanager
def told() -> Iterator[None]:
    """Turn bootstrap's one-line errors into this CLI's."""
    from bootstrap.errors import BootstrapError

    try:
        yield
    except BootstrapError as error:
        raise CliError(str(error)) from None


def lab(given: str, **options: Any) -> Any:
    """The Lab meant; options that are None are left to it. Raises CliError."""
    with told():
        from lab.cluster import Lab

        name = given or os.environ.get("MINIK_LAB", "") or _of_current_context() or DEFAULT
        return Lab(name, **{key: value for key, value in options.items() if value is not None})


def _of_current_context() -> str:
    """The lab whose API server commands talk to, judged by its address."""
    from bootstrap.errors import BootstrapError
    from client import kubeconfig
    from client.errors import ConfigError
    from lab import state

    try:
        server = kubeconfig.load().server
        names = sorted(each.name for each in state.LABS.iterdir())
        # Addresses are unique: labs on one machine must have different subnets.
        for name in names:
            found = state.load(name)
            if found and f"//{found.address(state.CONTROL)}:" in server:
                return name
    except (ConfigError, BootstrapError, OSError):
        pass  # No kubeconfig or no lab: nothing to go by.
    return ""
