"""`minikctl get`: one table per kind, as the server lays it out, or the objects themselves."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Annotated

import typer

from api.durations import since
from cli import objects, output, tables
from cli.command import Chosen
from cli.discovery import Kind
from cli.errors import CliError, Collected, StatusError, collected
from cli.objects import Target
from cli.session import JSON, TABLE, Object, Ref, Session
from cli.tables import Columns, View


def get(
    session: Session,
    chosen: Chosen,
    output_: Annotated[str | None, typer.Option("--output", "-o", help=f"One of: {output.FORMS}.")] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="After the list, show changes as they come.")] = False,
    show_labels: Annotated[bool, typer.Option("--show-labels", help="Show labels as the last column.")] = False,
    label_columns: Annotated[str, typer.Option("--label-columns", "-L", help="Labels to show as columns.")] = "",
    no_headers: Annotated[bool, typer.Option("--no-headers", help="Leave the titles out.")] = False,
    sort_by: Annotated[str, typer.Option(help="JSONPath of the field to sort by.")] = "",
    ignore_not_found: Annotated[bool, typer.Option("--ignore-not-found", help="A missing object is no error.")] = False,
) -> None:
    """Show objects: a table, or with -o the objects themselves.

    minikctl get pods -o wide; get deploy,svc; get pod/web-1 -o yaml; get pods -A -w
    """
    form = output.parse(output_)
    labels = [each for each in label_columns.split(",") if each]
    view = View(form.name == "wide", chosen.all_namespaces, show_labels=show_labels, label_columns=labels)
    wanted = objects.targets(session, chosen)
    rows = Rows(form, view, headers=not no_headers)
    params = {"labelSelector": chosen.selector, "fieldSelector": chosen.field_selector}
    if watch:
        _watch(session, wanted, rows, params)
        return
    accept = TABLE if form.is_table else JSON
    if form.is_table and sort_by:
        params["includeObject"] = "Object"
    with collected() as failures:
        found = [
            (target, list(_answers(session, target, params, failures, accept, ignore_not_found))) for target in wanted
        ]
        if form.is_table:
            shown = _print_tables([(each.kind, merged(answers)) for each, answers in found if answers], rows, sort_by)
            if not (shown or failures or ignore_not_found):
                print(objects.nothing_found(session, wanted), file=sys.stderr)
        else:
            items = [item for target, answers in found for each in answers for item in one_by_one(target.kind, each)]
            single = sum(len(target.names) for target in wanted) == 1 and all(target.names for target in wanted)
            items = output.ordered(items, sort_by) if sort_by else items
            if items or not single:
                sys.stdout.write(output.render(form, items, as_list=not single, headers=not no_headers))
        sys.stdout.flush()


def _answers(
    session: Session, target: Target, params: dict[str, str], failures: Collected, accept: str, missing_is_fine: bool
) -> Iterator[Object]:
    """The list, or an answer for each name; one missing name hides no other."""
    for name in target.names or [""]:
        with failures:
            try:
                if name:
                    path = Ref(target.kind, name, target.namespace).path()
                    yield session.call("GET", path, params={k: v for k, v in params.items() if v}, accept=accept)
                else:
                    yield session.list_all(target.kind, namespace=target.namespace, accept=accept, **params)
            except StatusError as error:
                if not (missing_is_fine and error.reason == "NotFound"):
                    raise


def _print_tables(found: Sequence[tuple[Kind, Object]], rows: Rows, sort_by: str) -> bool:
    """A table for each kind; whether there was anything to show."""
    prefixed = len({kind for kind, _ in found}) > 1
    filled = [(kind, table) for kind, table in found if table.get("rows")]
    for index, (kind, table) in enumerate(filled):
        if sort_by:
            table["rows"] = output.ordered(table["rows"], sort_by, key=lambda row: row.get("object") or {})
        if index and rows.headers:
            print()
        table_rows = Rows(rows.form, _view_for(rows.view, kind, prefixed=prefixed), headers=rows.headers)
        table_rows.show(table)
    return bool(filled)


def _view_for(view: View, kind: Kind, *, prefixed: bool) -> View:
    prefix = kind.qualified_kind if prefixed else ""
    return replace(view, kind_prefix=prefix, namespace=view.namespace and kind.namespaced)


def merged(answers: Sequence[Object]) -> Object:
    """The tables of several names as one."""
    found = [as_table(answer) for answer in answers]
    return {**found[0], "rows": [row for table in found for row in table.get("rows") or []]}


def as_table(answer: Object) -> Object:
    """A Table as it is; name and age for a server that makes no tables of this kind."""
    if answer.get("kind") == "Table":
        return answer
    columns = [{"name": "Name", "format": "name"}, {"name": "Age"}]
    rows = [
        {"cells": [each["metadata"]["name"], since(each["metadata"].get("creationTimestamp"))], "object": each}
        for each in answer.get("items", [answer]) or []
    ]
    return {"kind": "Table", "metadata": answer.get("metadata") or {}, "columnDefinitions": columns, "rows": rows}


def one_by_one(kind: Kind, answer: Object) -> list[Object]:
    """What a list brings, in the form in which a watch would: single objects, or tables of one row."""
    if answer.get("kind") == "Table":
        return [{**answer, "rows": [row]} for row in answer.get("rows") or []]
    if "items" not in answer or not str(answer.get("kind", "")).endswith("List"):
        return [answer]
    return [{"apiVersion": kind.api_version, "kind": kind.kind, **item} for item in answer["items"] or []]


# Watching


def _watch(session: Session, wanted: Sequence[Target], rows: Rows, params: dict[str, str]) -> None:
    if len(wanted) != 1 or len(wanted[0].names) > 1:
        raise CliError("you may only specify a single resource type")
    kind, names, namespace = wanted[0].kind, wanted[0].names, wanted[0].namespace
    if names:
        session.get(Ref(kind, names[0], namespace))  # missing: an error, not a long wait
        params = {"fieldSelector": f"metadata.name={names[0]}"}
    accept = TABLE if rows.form.is_table else JSON
    rows.view = _view_for(rows.view, kind, prefixed=False)
    seen: dict[str, str] = {}
    while True:
        answer = session.list_all(kind, namespace=namespace, accept=accept, **params)
        # At first all of it is news; later only what changed while the server had forgotten the history.
        for obj in one_by_one(kind, answer) if seen or not rows.form.is_table else [answer]:
            if not versions(obj).items() <= seen.items():
                rows.show(obj)
        seen = versions(answer)
        version = answer["metadata"]["resourceVersion"]
        try:
            for _, obj in session.watch(kind, version=version, namespace=namespace, accept=accept, **params):
                rows.show(obj)
                seen |= versions(obj)
        except StatusError as error:
            if error.reason not in ("Expired", "Gone"):
                raise


def versions(answer: Object) -> dict[str, str]:
    """uid -> resourceVersion of every object in a list, a Table, or a single object."""
    rows = answer.get("rows")
    found = [row["object"] for row in rows or []] if rows is not None else answer.get("items")
    metadatas = [each["metadata"] for each in (found if found is not None else [answer])]
    return {each["uid"]: each["resourceVersion"] for each in metadatas if "uid" in each}


class Rows:
    """Prints what a list or a watch brings, rows or an object at a time, under titles printed once."""

    def __init__(self, form: output.Format, view: View, *, headers: bool) -> None:
        self.form, self.view, self.headers = form, view, headers
        self._columns = Columns()
        self._definitions: list[Object] = []

    def show(self, obj: Object) -> None:
        if self.form.is_table:
            table = as_table(obj)
            # Only the first table of a watch says what its columns are.
            self._definitions = table.get("columnDefinitions") or self._definitions
            self._lines({**table, "columnDefinitions": self._definitions})
        else:
            text = output.render(self.form, [obj], as_list=False, headers=self.headers)
            sys.stdout.write(f"---\n{text}" if self.form.name == "yaml" else text)
        self.headers = False
        sys.stdout.flush()

    def _lines(self, table: Object) -> None:
        titles = [tables.header(table, self.view)] if self.headers else []
        for line in self._columns.render([*titles, *tables.rows(table, self.view)]):
            print(line)
