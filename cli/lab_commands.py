"""`minikctl up|down|status`: a whole cluster on this machine. The work is lab/'s; this shows it."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer

from cli.lab_choice import DEFAULT, LabName, lab, told
from cli.tables import Columns

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
    from cli.progress import listener

    chosen = lab(lab_name or os.environ.get("MINIK_LAB") or DEFAULT, subnet=subnet)
    with told(), listener() as tell:
        counted = {} if nodes is None else {"nodes": nodes}
        result = chosen.up(tell, kubeconfig=write_kubeconfig, **counted)
    print(f"{len(result.nodes)} nodes are Ready after {result.seconds:.1f} s\n", flush=True)
    if sample and result.nodes:
        from cli.sample import show

        show(str(result.kubeconfig), result.nodes[0].address)
    print(NEXT.format(context=chosen.name))


def down(lab_name: LabName = "") -> None:
    """Remove the lab: hosts, containers, networks, files, and its context in your kubeconfig."""
    from cli.progress import listener

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
