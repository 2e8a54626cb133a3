"""`minikctl get`: one table per kind, as the server lays it out, or the objects themselves."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Annotated

import typer

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
    label_columns: Annotated[
        list[str] | None, typer.Option("--label-columns", "-L", help="Labels to show as columns.")
    ] = None,
    no_headers: Annotated[bool, typer.Option("--no-headers", help="Leave the titles out.")] = False,
    sort_by: Annotated[str, typer.Option(help="JSONPath of the field to sort by.")] = "",
    ignore_not_found: Annotated[bool, typer.Option("--ignore-not-found", help="A missing object is no error.")] = False,
) -> None:
    """Show objects: a table, or with -o the objects themselves.

    minikctl get pods -o wide; get deploy,svc; get pod/web-1 -o yaml; get pods -A -w
    """
    form = output.parse(output_)
    wanted = objects.targets(session, chosen)
    labels = [name for each in label_columns or [] for name in each.split(",")]
    view = View(form.name == "wide", chosen.all_namespaces, show_labels=show_labels, label_columns=labels)
    query = Query(session, chosen, ignore_not_found=ignore_not_found)
    if watch:
        _watch(query, wanted, Rows(form, view, headers=not no_headers))
    elif form.is_table:
        _print_tables(query, wanted, view, headers=not no_headers, sort_by=sort_by)
    else:
        _print_objects(query, wanted, form, headers=not no_headers, sort_by=sort_by)


class Query:
    """What to ask the server for each target; failures are collected, so that one missing name hides no other."""

    def __init__(self, session: Session, chosen: Chosen, *, ignore_not_found: bool) -> None:
        self.session = session
        self.params = {"labelSelector": chosen.selector, "fieldSelector": chosen.field_selector}
        self.ignore_not_found = ignore_not_found

    def answers(self, target: Target, failures: Collected, *, accept: str, **params: str) -> Iterator[Object]:
        """The list, or an answer for each name."""
        for name in target.names or [""]:
            with failures:
                try:
                    if name:
                        path = Ref(target.kind, name, target.namespace).path()
                        yield self.session.call("GET", path, params=params, accept=accept)
                    else:
                        yield self.list(target, accept=accept, **params)
                except StatusError as error:
                    if not (self.ignore_not_found and error.reason == "NotFound"):
                        raise

    def list(self, target: Target, *, accept: str, **params: str) -> Object:
        return self.session.list_all(
            target.kind, namespace=target.namespace, accept=accept, **{**self.params, **params}
        )


def _print_tables(query: Query, wanted: Sequence[Target], view: View, *, headers: bool, sort_by: str) -> None:
    params = {"includeObject": "Object"} if sort_by else {}
    with collected() as failures:
        found = [(each.kind, merged(query.answers(each, failures, accept=TABLE, **params))) for each in wanted]
        prefixed = len({kind for kind, table in found if table is not None}) > 1
        filled = [(kind, table) for kind, table in found if table and table.get("rows")]
        for index, (kind, table) in enumerate(filled):
            if sort_by:
                table["rows"] = output.ordered(table["rows"], sort_by, key=lambda row: row.get("object") or {})
            if index and headers:
                print()
            shown = _view_for(view, kind, prefixed=prefixed)
            lines = [tables.header(table, shown)] if headers else []
            for line in Columns().render([*lines, *tables.rows(table, shown)]):
                print(line)
        if not filled and not failures and not query.ignore_not_found:
            print(objects.nothing_found(query.session, list(wanted)), file=sys.stderr)
        sys.stdout.flush()


def _view_for(view: View, kind: Kind, *, prefixed: bool) -> View:
    prefix = kind.qualified_kind if prefixed else ""
    return replace(view, kind_prefix=prefix, namespace=view.namespace and kind.namespaced)


def merged(answers: Iterator[Object]) -> Object | None:
    """The tables of several names as one."""
    whole: Object | None = None
    for answer in answers:
        table = as_table(answer)
        if whole is None:
            whole = table
        else:
            whole["rows"] = (whole.get("rows") or []) + (table.get("rows") or [])
    return whole


def as_table(answer: Object) -> Object:
    """A Table as it is; name and age for a server that makes no tables of this kind."""
    from cli.ages import age

    if answer.get("kind") == "Table":
        return answer
    columns = [{"name": "Name", "format": "name"}, {"name": "Age"}]
    rows = [
        {"cells": [each["metadata"]["name"], age(each["metadata"].get("creationTimestamp"))], "object": each}
        for each in answer.get("items", [answer]) or []
    ]
    return {"kind": "Table", "metadata": answer.get("metadata") or {}, "columnDefinitions": columns, "rows": rows}


def _print_objects(query: Query, wanted: Sequence[Target], form: output.Format, *, headers: bool, sort_by: str) -> None:
    with collected() as failures:
        found: list[Object] = []
        for target in wanted:
            for answer in query.answers(target, failures, accept=JSON):
                found += one_by_one(target.kind, answer)
        single = sum(len(target.names) for target in wanted) == 1 and all(target.names for target in wanted)
        if sort_by:
            found = output.ordered(found, sort_by)
        if found or not single:
            sys.stdout.write(output.render(form, found, as_list=not single, headers=headers))
        sys.stdout.flush()


def one_by_one(kind: Kind, answer: Object) -> list[Object]:
    """What a list brings, in the form in which a watch would: single objects, or tables of one row."""
    if answer.get("kind") == "Table":
        return [{**answer, "rows": [row]} for row in answer.get("rows") or []]
    if "items" not in answer or not str(answer.get("kind", "")).endswith("List"):
        return [answer]
    return [{"apiVersion": kind.api_version, "kind": kind.kind, **item} for item in answer["items"] or []]


# Watching


def _watch(query: Query, wanted: Sequence[Target], rows: Rows) -> None:
    if len(wanted) != 1 or len(wanted[0].names) > 1:
        raise CliError("you may only specify a single resource type")
    target = wanted[0]
    kind, params, accept = target.kind, dict(query.params), TABLE if rows.form.is_table else JSON
    if target.names:
        query.session.get(Ref(kind, target.names[0], target.namespace))  # missing: an error, not a long wait
        query.params["fieldSelector"] = params["fieldSelector"] = f"metadata.name={target.names[0]}"
    answer = query.list(target, accept=accept)
    rows.listing(kind, answer)
    seen = versions(answer)
    while True:
        version = answer["metadata"]["resourceVersion"]
        events = query.session.watch(kind, version=version, namespace=target.namespace, accept=accept, **params)
        try:
            for _, obj in events:
                rows.show(obj)
                seen |= versions(obj)
        except StatusError as error:
            if error.reason not in ("Expired", "Gone"):
                raise
        # The server has forgotten the history, as a restarted one has: list anew, and show what is news.
        answer = query.list(target, accept=accept)
        for obj in one_by_one(kind, answer):
            if not versions(obj).items() <= seen.items():
                rows.show(obj)
        seen = versions(answer)


def versions(answer: Object) -> dict[str, str]:
    """uid -> resourceVersion of every object in a list, a Table, or a single object."""
    rows = answer.get("rows")
    found = [row["object"] for row in rows or []] if rows is not None else answer.get("items")
    metadatas = [each["metadata"] for each in (found if found is not None else [answer])]
    return {each["uid"]: each["resourceVersion"] for each in metadatas if "uid" in each}


class Rows:
    """Prints what a watch brings, a row or an object at a time, under the titles printed once."""

    def __init__(self, form: output.Format, view: View, *, headers: bool) -> None:
        self.form = form
        self._view, self._headers = view, headers
        self._columns = Columns()
        self._definitions: list[Object] = []

    def listing(self, kind: Kind, answer: Object) -> None:
        """What was there already."""
        self._view = _view_for(self._view, kind, prefixed=False)
        if self.form.is_table:
            self.show(answer)
        else:
            for each in one_by_one(kind, answer):
                self.show(each)

    def show(self, obj: Object) -> None:
        if self.form.is_table:
            table = as_table(obj)
            # Only the first table of a watch says what its columns are.
            self._definitions = table.get("columnDefinitions") or self._definitions
            if table.get("rows"):
                self._lines({**table, "columnDefinitions": self._definitions})
        else:
            text = output.render(self.form, [obj], as_list=False, headers=self._headers)
            sys.stdout.write(f"---\n{text}" if self.form.name == "yaml" else text)
            self._headers = False
        sys.stdout.flush()

    def _lines(self, table: Object) -> None:
        rows = [tables.header(table, self._view)] if self._headers else []
        self._headers = False
        for line in self._columns.render([*rows, *tables.rows(table, self._view)]):
            print(line)
