"""`minikctl up|down|status`: a whole cluster on this machine. The work is lab/'s; this shows it."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cli.lab_choice import LabName, lab, told

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
    nodes: Annotated[int, typer.Option(help="How many nodes a new lab gets.")] = 3,
    lab_name: LabName = "",
    subnet: Annotated[str, typer.Option(help="The addresses of a new lab's hosts.")] = "10.89.0.0/24",
    sample: Annotated[bool, typer.Option(help="Deploy the sample and show it answering.")] = True,
    write_kubeconfig: Annotated[
        bool, typer.Option(help="Put the lab into your kubeconfig as the current context.")
    ] = True,
) -> None:
    """Start a cluster on this machine: a control plane and some nodes, each a host of its own.

    Running it again starts what is missing and repairs what was broken on purpose.
    """
    import os

    from cli.lab_choice import DEFAULT
    from cli.progress import listener

    chosen = lab(lab_name or os.environ.get("MINIK_LAB") or DEFAULT, subnet=subnet)
    with told(), listener() as tell:
        result = chosen.up(tell, nodes=nodes, kubeconfig=write_kubeconfig)
    print(f"{len(result.nodes)} nodes are Ready after {result.seconds:.1f} s\n", flush=True)
    if sample and result.nodes:
        _sample(result)
    print(NEXT.format(context=chosen.name))


def _sample(result) -> None:  # type: ignore[no-untyped-def]
    from cli import kubeconfig, sample
    from cli.cluster import Cluster

    path = sample.find()
    if path is None:
        print(f"{sample.FILE} is not here; the sample is left out\n", file=sys.stderr)
        return
    cluster = Cluster(kubeconfig.load(str(result.kubeconfig)))
    print(f"Deploying {sample.FILE}", flush=True)
    sample.deploy(cluster, path)
    url = sample.node_port_url(cluster, result.nodes[0].address)
    sample.show_round_robin(cluster, url)
    print()


def down(lab_name: LabName = "") -> None:
    """Remove the lab: hosts, containers, networks, files, and its context in your kubeconfig."""
    from cli.progress import listener

    chosen = lab(lab_name)
    with told(), listener() as tell:
        chosen.down(tell)
    print(f"lab {chosen.name} is removed")


def status(lab_name: LabName = "") -> None:
    """Show the lab's hosts and the processes on them."""
    from cli.tables import Columns

    chosen = lab(lab_name)
    with told():
        hosts = chosen.status()
        if not hosts:
            print(f"there is no lab {chosen.name}; make one with: minikctl up", file=sys.stderr)
            raise typer.Exit(1)
        rows = [["HOST", "ROLE", "ADDRESS", "STATE", "PROCESSES"]]
        rows += [[each.name, each.role, each.address, each.state, _processes(chosen, each.name)] for each in hosts]
    print("\n".join(Columns().render(rows)))


def _processes(chosen, host: str) -> str:  # type: ignore[no-untyped-def]
    """`etcd, apiserver (restarted 2x)`: what the host's supervisor keeps running."""
    from bootstrap import supervisor

    texts = []
    for child in supervisor.status(chosen.supervisor_directory(host)):
        notes = [] if child.state == "running" else [child.state]
        notes += [f"restarted {child.restarts}x"] if child.restarts else []
        texts.append(child.name + (f" ({', '.join(notes)})" if notes else ""))
    return ", ".join(texts) or "<none>"
