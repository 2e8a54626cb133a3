"""Commands minikctl leaves to kubectl, which talks to the same server by the same kubeconfig and options."""

from __future__ import annotations

import os
import shutil

from cli.errors import CliError

COMMANDS = frozenset(
    """alpha annotate api-resources api-versions attach auth autoscale certificate cluster-info completion config cp
    create debug diff edit exec explain kustomize label options patch plugin port-forward proxy replace set taint top
    version""".split()  # noqa: SIM905
)
"""What kubectl has and minikctl has not."""

INSTALL = "apt-get install kubernetes-client, or see https://kubernetes.io/docs/tasks/tools/"


def hand_over(name: str, argv: list[str]) -> None:
    """Become kubectl, if `name` is one of its commands. Raises CliError where it is not installed."""
    if name not in COMMANDS:
        return
    program = shutil.which("kubectl")
    if program is None:
        raise CliError(f"'{name}' is done by kubectl, which is not installed: {INSTALL}")
    os.execv(program, [program, *argv])
