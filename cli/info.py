"""`minikctl api-resources|version|cluster-info`: about the server and this program."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from cli import discovery
from cli.command import cluster as connect
from cli.errors import CliError
from cli.tables import Columns


def api_resources(
    namespaced: Annotated[str, typer.Option(help="true or false: only kinds that live in namespaces, or not.")] = "",
    api_group: Annotated[str | None, typer.Option(help="Only this group.")] = None,
    output: Annotated[str, typer.Option("--output", "-o", help="wide or name.")] = "",
    no_headers: Annotated[bool, typer.Option("--no-headers", help="Leave the titles out.")] = False,
) -> None:
    """List the kinds the server has."""
    if output not in ("", "wide", "name"):
        raise CliError(f"--output {output} is not available")
    cluster = connect()
    rows = discovery.load(cluster.access.host, cluster.fetch, fresh=True).rows
    rows = [each for each in rows if not namespaced or each.namespaced == (namespaced == "true")]
    rows = [each for each in rows if api_group is None or each.group == api_group]
    rows.sort(key=lambda each: (each.group, each.plural))
    if output == "name":
        print("\n".join(each.qualified for each in rows))
        return
    titles = ["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND"]
    lines = [
        [each.plural, ",".join(each.short_names), each.api_version, str(each.namespaced).lower(), each.kind]
        for each in rows
    ]
    if output == "wide":
        titles += ["VERBS", "CATEGORIES"]
        for line, each in zip(lines, rows, strict=True):
            line += [",".join(each.verbs), ",".join(each.categories)]
    for text in Columns().render(lines if no_headers else [titles, *lines]):
        print(text)


def version(
    client: Annotated[bool, typer.Option("--client", help="Only this program's version.")] = False,
    output: Annotated[str, typer.Option("--output", "-o", help="json or yaml.")] = "",
) -> None:
    """Show the version of this program and of the server."""
    from importlib.metadata import version as installed

    if output not in ("", "json", "yaml"):
        raise CliError("--output must be 'yaml' or 'json'")
    mine = {"gitVersion": f"v{installed('minik')}"}
    if output:
        answer = {"clientVersion": mine} | ({} if client else {"serverVersion": connect().fetch("/version")})
        from cli.documents import to_yaml

        sys.stdout.write(to_yaml(answer) if output == "yaml" else json.dumps(answer, indent=2) + "\n")
        return
    print(f"Client Version: {mine['gitVersion']}", flush=True)
    if not client:
        print(f"Server Version: {connect().fetch('/version')['gitVersion']}")


def cluster_info() -> None:
    """Say where the control plane is, and whether it is well."""
    cluster = connect()
    status, body = cluster.text("/readyz")
    print(f"Kubernetes control plane is running at {cluster.access.server}")
    if status != 200:
        raise CliError(f"the control plane is not ready: {body.strip() or status}")
