"""`minikctl events`: what happened lately, oldest first."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cli import objects, output
from cli.command import Chosen
from cli.errors import CliError
from cli.layout import event_age, last_seen
from cli.session import Object, Session
from cli.tables import Columns

TITLES = ["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]


def events(
    session: Session,
    for_: Annotated[str, typer.Option("--for", help="Only of this object: KIND/NAME.")] = "",
    types: Annotated[str, typer.Option(help="Only these types: Normal,Warning.")] = "",
    all_namespaces: Annotated[bool, typer.Option("--all-namespaces", "-A", help="Look in all namespaces.")] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on as more happens.")] = False,
    no_headers: Annotated[bool, typer.Option("--no-headers", help="Leave the titles out.")] = False,
    output_: Annotated[str | None, typer.Option("--output", "-o", help="json, yaml or name.")] = None,
) -> None:
    """Show what happened, oldest first."""
    if all_namespaces:
        session.namespace = ""
    wanted = [each.strip().capitalize() for each in types.split(",") if each.strip()] or ["Normal", "Warning"]
    if any(each not in ("Normal", "Warning") for each in wanted):
        raise CliError("valid --types are Normal or Warning")
    fields = ""
    if for_:
        about = objects.one(session, Chosen([for_]))
        fields = f"involvedObject.kind={about.kind.kind},involvedObject.name={about.name}"
    kind = session.resolve("events")
    listing = session.list_all(kind, fieldSelector=fields)
    items = [each for each in sorted(listing.get("items") or [], key=last_seen) if each.get("type") in wanted]
    form = output.parse(output_)
    if not form.is_table:
        whole = [{"apiVersion": "v1", "kind": "Event", **each} for each in items]
        sys.stdout.write(output.render(form, whole, as_list=True))
        return
    columns = Columns()
    if items or watch:
        heads = [] if no_headers else [["NAMESPACE", *TITLES] if all_namespaces else TITLES]
        print("\n".join(columns.render([*heads, *(_row(each, all_namespaces) for each in items)])), flush=True)
    else:
        print(f"No events found{f' in {session.namespace} namespace' if session.namespace else ''}.", file=sys.stderr)
    if watch:
        for type_, obj in session.watch(kind, version=listing["metadata"]["resourceVersion"], fieldSelector=fields):
            if type_ != "DELETED" and obj.get("type") in wanted:
                print(*columns.render([_row(obj, all_namespaces)]), flush=True)


def _row(event: Object, with_namespace: bool) -> list[str]:
    about = event.get("involvedObject") or {}
    message = str(event.get("message") or "").strip().replace("\n", " ")
    place = f"{about.get('kind', '')}/{about.get('name', '')}"
    row = [event_age(event), event.get("type", ""), event.get("reason", ""), place, message]
    return [event["metadata"].get("namespace", ""), *row] if with_namespace else row
