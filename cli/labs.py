"""`minikctl up|down|status|node`: a whole cluster on this machine, and its plugs, cables and power switches.

The work is lab/'s; this shows it. Which lab: --lab NAME, else $MINIK_LAB, else the one the kubeconfig's current context
talks to, else the one called `minik`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from cli.command import group
from cli.errors import CliError
from cli.progress import listener
from cli.tables import Columns

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

        return Lab(lab_name(given), **{key: value for key, value in options.items() if value is not None})


def lab_name(given: str = "") -> str:
    """Which lab is meant."""
    return given or os.environ.get("MINIK_LAB", "") or _of_current_context() or DEFAULT


def _of_current_context() -> str:
    """The lab whose API server commands talk to."""
    from client import kubeconfig
    from client.errors import ConfigError

    try:
        return of_server(kubeconfig.load().server)
    except ConfigError:
        return ""  # No kubeconfig: nothing to go by.


def of_server(server: str) -> str:
    """The lab whose API server this is, judged by its address; "" for none."""
    from bootstrap.errors import BootstrapError
    from lab import state

    try:
        names = sorted(each.name for each in state.LABS.iterdir())
        # Addresses are unique: labs on one machine must have different subnets.
        for name in names:
            found = state.load(name)
            if found and any(f"//{found.address(control)}:" in server for control in found.controls):
                return name
    except (BootstrapError, OSError):
        pass  # No lab.
    return ""


NEXT = """Try next:
  minikctl get nodes                     the machines of the cluster
  minikctl get pods -o wide -w           watch the pods (Ctrl-C ends it)
  minikctl scale web --replicas 5        more of them
  minikctl delete pod POD                see it replaced
  minikctl node stop node-1              pull a plug; `node start node-1` puts it back
  minikctl describe pod POD              what happened, and why
  kubectl get all                        the same cluster: the context is called {context}
  minikctl down                          remove everything"""


def up(
    nodes: Annotated[int | None, typer.Option(help="How many nodes a new lab gets.")] = None,
    control_planes: Annotated[
        int | None, typer.Option(help="How many control planes there shall be: 1, or 3 to survive one.")
    ] = None,
    lab_name: LabName = "",
    subnet: Annotated[str | None, typer.Option(help="The addresses of a new lab's hosts.")] = None,
    sample: Annotated[bool, typer.Option(help="Deploy the sample and show it answering.")] = True,
    write_kubeconfig: Annotated[
        bool, typer.Option(help="Put the lab into your kubeconfig as the current context.")
    ] = True,
) -> None:
    """Start a cluster on this machine: a control plane and some nodes, each a host of its own.

    Running it again starts what is missing and repairs what was broken on purpose.
    """
    chosen = lab(lab_name or os.environ.get("MINIK_LAB") or DEFAULT, subnet=subnet)
    with told(), listener() as tell:
        counted = {} if nodes is None else {"nodes": nodes}
        result = chosen.up(tell, control_planes=control_planes, kubeconfig=write_kubeconfig, **counted)
    print(f"{len(result.nodes)} nodes are Ready after {result.seconds:.1f} s\n", flush=True)
    if sample and result.nodes:
        from cli.sample import show

        show(str(result.kubeconfig), result.nodes[0].address)
    print(NEXT.format(context=chosen.name))


def down(lab_name: LabName = "") -> None:
    """Remove the lab: hosts, containers, networks, files, and its context in your kubeconfig."""
    chosen = lab(lab_name)
    with told(), listener() as tell:
        chosen.down(tell)
    print(f"lab {chosen.name} is removed")


def status(lab_name: LabName = "") -> None:
    """Show the lab's hosts and the processes on them."""
    chosen = lab(lab_name)
    with told():
        hosts = chosen.status()
        if not hosts:
            print(f"there is no lab {chosen.name}; make one with: minikctl up", file=sys.stderr)
            raise typer.Exit(1)
        rows = [["HOST", "ROLE", "ADDRESS", "STATE", "PROCESSES"]]
        rows += [[each.name, each.role, each.address, each.state, _processes(chosen, each.name)] for each in hosts]
    print("\n".join(Columns().render(rows)))


def _processes(chosen: Any, host: str) -> str:
    """`etcd, apiserver (restarted 2x)`: what the host's supervisor keeps running."""
    from bootstrap import supervisor

    texts = []
    for child in supervisor.status(chosen.supervisor_directory(host)):
        notes = [] if child.state == "running" else [child.state]
        notes += [f"restarted {child.restarts}x"] if child.restarts else []
        texts.append(child.name + (f" ({', '.join(notes)})" if notes else ""))
    return ", ".join(texts) or "<none>"


# Single hosts


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
        typer.Argument(
            metavar="COMPONENT", help="kubelet, proxy, ingress, dockerd, apiserver, etcd, scheduler, controllers"
        ),
    ],
    lab_name: LabName = "",
) -> None:
    """kill -9 one process of the host; its supervisor starts it again."""
    with told():
        pid = lab(lab_name).kill(name, component)
    print(f"killed {component} (pid {pid}) on {name}")


def add(name: Annotated[str | None, typer.Argument(metavar="[NAME]")] = None, lab_name: LabName = "") -> None:
    """Add a new host to the lab; returns when its node is Ready."""
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


def run_on(
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
    functions |= {"kill": kill, "add": add, "run": run_on}
    return group(functions, name="node", help="Break and mend the hosts of a lab.")
