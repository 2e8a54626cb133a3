"""`minikctl node`: plugs, cables and power switches of a lab's hosts."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from cli.command import PlainCommand, group
from cli.lab_choice import LabName, lab, told

Host = Annotated[str, typer.Argument(metavar="NAME", autocompletion=lambda: _host_names())]


def _host_names() -> list[str]:
    """What Tab offers: the hosts of the lab."""
    try:
        return [each.name for each in lab("").status()]
    except Exception:
        return []  # A completion has nowhere to show an error.


def stop(name: Host, lab_name: LabName = "") -> None:
    """Pull the plug: everything on the host is dead at once."""
    _act(lab_name, lambda chosen: chosen.stop(name), f"{name} is off; back with: minikctl node start {name}")


def start(name: Host, lab_name: LabName = "") -> None:
    """Put the plug in: the host boots and joins again."""
    from cli.progress import listener

    chosen = lab(lab_name)
    with told(), listener() as tell:
        chosen.start(name, tell)
    print(f"{name} is on")


def cut(name: Host, lab_name: LabName = "") -> None:
    """Pull the network cable: the host runs on, but nobody hears of it."""
    _act(lab_name, lambda chosen: chosen.cut(name), f"{name} is cut off; back with: minikctl node heal {name}")


def heal(name: Host, lab_name: LabName = "") -> None:
    """Put the network cable back."""
    _act(lab_name, lambda chosen: chosen.heal(name), f"{name} is connected")


def pause(name: Host, lab_name: LabName = "") -> None:
    """Freeze the host: nothing on it gets any time."""
    _act(lab_name, lambda chosen: chosen.pause(name), f"{name} is frozen; back with: minikctl node resume {name}")


def resume(name: Host, lab_name: LabName = "") -> None:
    """Let a frozen host run on."""
    _act(lab_name, lambda chosen: chosen.resume(name), f"{name} runs")


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


def add(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]")] = None,
    lab_name: LabName = "",
) -> None:
    """Add a new host to the lab; returns when its node is Ready."""
    from cli.progress import listener

    chosen = lab(lab_name)
    with told(), listener() as tell:
        added = chosen.add_node(tell, name)
    print(f"{added.name} ({added.address}) has joined")


def remove(name: Host, lab_name: LabName = "") -> None:
    """Take a host away for good; its pods are started elsewhere. `drain` it first to be gentle."""
    from cli.progress import listener

    chosen = lab(lab_name)
    with told(), listener() as tell:
        chosen.remove_node(name, tell)
    print(f"{name} is removed")


def list_hosts(lab_name: LabName = "") -> None:
    """List the lab's hosts."""
    from cli.tables import Columns

    chosen = lab(lab_name)
    with told():
        hosts = chosen.status()
    rows = [["NAME", "ROLE", "ADDRESS", "STATE"]]
    print("\n".join(Columns().render(rows + [[each.name, each.role, each.address, each.state] for each in hosts])))


def run(
    name: Host,
    argv: Annotated[list[str], typer.Argument(metavar="-- COMMAND [ARG...]")],
    lab_name: LabName = "",
) -> None:
    """Run a program in the host's network, as `node run node-1 -- ip address`."""
    with told():
        done: subprocess.CompletedProcess[str] = lab(lab_name).exec(name, argv)
    sys.stdout.write(done.stdout or "")
    sys.stderr.write(done.stderr or "")
    raise typer.Exit(done.returncode)


def _act(lab_name: str, action: Callable[[Any], None], said: str) -> None:
    with told():
        action(lab(lab_name))
    print(said)


def GROUP() -> Any:
    """The `node` commands."""
    functions: dict[str, Callable[..., None]] = {
        "list": list_hosts,
        "stop": stop,
        "start": start,
        "cut": cut,
        "heal": heal,
        "pause": pause,
        "resume": resume,
        "kill": kill,
        "add": add,
        "remove": remove,
        "run": run,
    }
    return group(functions, name="node", help="Break and mend the hosts of a lab.", cls=PlainCommand)
