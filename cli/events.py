"""`minikctl events`: what happened lately, oldest first."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cli import completion, printers
from cli.arguments import one
from cli.cluster import Object
from cli.command import cluster as connect
from cli.errors import CliError
from cli.layout import event_age, last_seen
from cli.tables import Columns


def events(
    for_: Annotated[
        str, typer.Option("--for", help="Only of this object: KIND/NAME.", autocompletion=completion.resources)
    ] = "",
    types: Annotated[str, typer.Option(help="Only these types: Normal,Warning.")] = "",
    all_namespaces: Annotated[bool, typer.Option("--all-namespaces", "-A", help="Look in all namespaces.")] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on as more happens.")] = False,
    no_headers: Annotated[bool, typer.Option("--no-headers", help="Leave the titles out.")] = False,
    output: Annotated[str | None, typer.Option("--output", "-o", help="json, yaml or name.")] = None,
) -> None:
    """Show what happened, oldest first."""
    cluster = connect()
    if all_namespaces:
        cluster.namespace = ""
    wanted = [each.strip().capitalize() for each in types.split(",") if each.strip()]
    if any(each not in ("Normal", "Warning") for each in wanted):
        raise CliError("valid --types are Normal or Warning")
    fields = ""
    if for_:
        about, name = one(cluster, [for_])
        fields = f"involvedObject.kind={about.kind},involvedObject.name={name}"
    kind = cluster.resolve("events")
    listing = cluster.list_all(kind, fieldSelector=fields)
    items = [each for each in listing.get("items") or [] if not wanted or each.get("type") in wanted]
    items = [{"apiVersion": "v1", "kind": "Event", **each} for each in sorted(items, key=last_seen)]
    form = printers.parse(output)
    if not form.is_table:
        sys.stdout.write(printers.render(form, items, as_list=True))
        return
    columns = Columns()
    rows = [_row(each, all_namespaces) for each in items]
    titles = ["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    if rows or watch:
        heads = [] if no_headers else [["NAMESPACE", *titles] if all_namespaces else titles]
        print("\n".join(columns.render([*heads, *rows])), flush=True)
    else:
        place = f" in {cluster.namespace} namespace." if cluster.namespace else "."
        print(f"No events found{place}", file=sys.stderr)
    if watch:
        version = listing["metadata"]["resourceVersion"]
        for type_, obj in cluster.watch(kind, version=version, fieldSelector=fields):
            if type_ != "DELETED" and (not wanted or obj.get("type") in wanted):
                print(*columns.render([_row(obj, all_namespaces)]), flush=True)


def _row(event: Object, with_namespace: bool) -> list[str]:
    about = event.get("involvedObject") or {}
    message = str(event.get("message") or "").strip().replace("\n", " ")
    row = [
        event_age(event),
        event.get("type", ""),
        event.get("reason", ""),
        f"{about.get('kind', '')}/{about.get('name', '')}",
        message,
    ]
    return [event["metadata"].get("namespace", ""), *row] if with_namespace else row
