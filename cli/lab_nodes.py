"""`minikctl node`: plugs, cables and power switches of a lab's hosts."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from cli.command import group
from cli.lab_choice import LabName, lab, told
from cli.tables import Columns


def _host_names() -> list[str]:
    """What Tab offers: the hosts of the lab."""
    try:
        return [each.name for each in lab("").status()]
    except Exception:
        return []  # A completion has nowhere to show an error.


Host = Annotated[str, typer.Argument(metavar="NAME", autocompletion=_host_names)]

FAULTS = {
    "stop": ("Pull the plug: everything on the host is dead at once.", "is off; back with: minikctl node start {}"),
    "cut": (
        "Pull the network cable: the host runs on, but nobody hears of it.",
        "is cut off; back with: minikctl node heal {}",
    ),
    "heal": ("Put the network cable back.", "is connected"),
    "pause": ("Freeze the host: nothing on it gets any time.", "is frozen; back with: minikctl node resume {}"),
    "resume": ("Let a frozen host run on.", "runs"),
}
"""Command, also the name of the Lab's method -> what it does, and what is said afterwards."""

STEPS = {
    "start": ("start", "Put the plug in: the host boots and joins again.", "is on"),
    "remove": (
        "remove_node",
        "Take a host away for good; its pods are started elsewhere. `drain` it first to be gentle.",
        "is removed",
    ),
}
"""Command -> the Lab's method, what it does, what is said: what takes a while and is shown as it goes."""


def _fault(method: str, help: str, said: str) -> Callable[..., None]:
    def act(name: Host, lab_name: LabName = "") -> None:
        with told():
            getattr(lab(lab_name), method)(name)
        print(f"{name} {said.format(name)}")

    act.__doc__ = help
    return act


def _step(method: str, help: str, said: str) -> Callable[..., None]:
    def act(name: Host, lab_name: LabName = "") -> None:
        from cli.progress import listener

        chosen = lab(lab_name)
        with told(), listener() as tell:
            getattr(chosen, method)(name, tell)
        print(f"{name} {said}")

    act.__doc__ = help
    return act


def kill(
    name: Host,
    component: Annotated[
        str,
        typer.Argument(metavar="COMPONENT", help="kubelet, proxy, dockerd, apiserver, etcd, scheduler, controllers"),
    ],
    lab_name: LabName = "",
) -> None:
    """kill -9 one process of the host; its supervisor starts it again."""
    with told():
        pid = lab(lab_name).kill(name, component)
    print(f"killed {component} (pid {pid}) on {name}")


def add(name: Annotated[str | None, typer.Argument(metavar="[NAME]")] = None, lab_name: LabName = "") -> None:
    """Add a new host to the lab; returns when its node is Ready."""
    from cli.progress import listener

    chosen = lab(lab_name)
    with told(), listener() as tell:
        added = chosen.add_node(tell, name)
    print(f"{added.name} ({added.address}) has joined")


def list_hosts(lab_name: LabName = "") -> None:
    """List the lab's hosts."""
    with told():
        hosts = lab(lab_name).status()
    rows = [["NAME", "ROLE", "ADDRESS", "STATE"]]
    print("\n".join(Columns().render(rows + [[each.name, each.role, each.address, each.state] for each in hosts])))


def run(
    name: Host,
    argv: Annotated[list[str], typer.Argument(metavar="-- COMMAND [ARG...]")],
    lab_name: LabName = "",
) -> None:
    """Run a program in the host's network, as `node run node-1 -- ip address`."""
    with told():
        done = lab(lab_name).exec(name, argv)
    sys.stdout.write(done.stdout or "")
    sys.stderr.write(done.stderr or "")
    raise typer.Exit(done.returncode)


def GROUP() -> Any:
    """The `node` commands."""
    functions: dict[str, Callable[..., None]] = {"list": list_hosts}
    functions |= {name: _fault(name, help, said) for name, (help, said) in FAULTS.items()}
    functions |= {name: _step(*row) for name, row in STEPS.items()}
    functions |= {"kill": kill, "add": add, "run": run}
    return group(functions, name="node", help="Break and mend the hosts of a lab.")
