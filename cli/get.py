"""`minikctl get`: one table per kind, as the server lays it out, or the objects themselves."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer

from cli import completion, jsonpath, printers, tables
from cli.arguments import Target, targets
from cli.cluster import JSON, TABLE, Cluster, Object
from cli.command import cluster as connect
from cli.discovery import Kind
from cli.errors import CliError, StatusError, raise_failures
from cli.tables import Columns, View


def get(
    resources: Annotated[
        list[str] | None,
        typer.Argument(metavar="(KIND[,KIND] [NAME...] | KIND/NAME...)", autocompletion=completion.resources),
    ] = None,
    output: Annotated[str | None, typer.Option("--output", "-o", help=f"One of: {printers.FORMS}.")] = None,
    all_namespaces: Annotated[bool, typer.Option("--all-namespaces", "-A", help="Look in all namespaces.")] = False,
    selector: Annotated[str, typer.Option("--selector", "-l", help="Label selector, as in app=web,tier!=db.")] = "",
    field_selector: Annotated[str, typer.Option(help="Field selector, as in status.phase=Running.")] = "",
    watch: Annotated[bool, typer.Option("--watch", "-w", help="After the list, show changes as they come.")] = False,
    watch_only: Annotated[bool, typer.Option("--watch-only", help="Show changes only, without the list.")] = False,
    output_watch_events: Annotated[bool, typer.Option(help="With -w, show what happened.")] = False,
    show_labels: Annotated[bool, typer.Option("--show-labels", help="Show labels as the last column.")] = False,
    label_columns: Annotated[
        list[str] | None, typer.Option("--label-columns", "-L", help="Labels to show as columns.")
    ] = None,
    no_headers: Annotated[bool, typer.Option("--no-headers", help="Leave the titles out.")] = False,
    sort_by: Annotated[str, typer.Option(help="JSONPath of the field to sort by.")] = "",
    ignore_not_found: Annotated[bool, typer.Option("--ignore-not-found", help="A missing object is no error.")] = False,
    filename: Annotated[list[str] | None, typer.Option("--filename", "-f", help="Get the objects of a file.")] = None,
    recursive: Annotated[bool, typer.Option("--recursive", "-R", help="Folders with what is below them.")] = False,
) -> None:
    """Show objects: a table, or with -o the objects themselves.

    minikctl get pods -o wide; get deploy,svc; get pod/web-1 -o yaml; get pods -A -w
    """
    cluster = connect()
    if all_namespaces:
        cluster.namespace = ""
    if filename:
        wanted = _targets_of_files(cluster, filename, recursive=recursive)
    else:
        wanted = targets(cluster, resources or []) if resources else _nothing_named()
    query = Query(cluster, label=selector, field=field_selector, ignore_not_found=ignore_not_found)
    labels = [name for each in label_columns or [] for name in each.split(",")]
    form = printers.parse(output)
    view = View(wide=form.name == "wide", namespace=all_namespaces, show_labels=show_labels, label_columns=labels)
    if watch or watch_only:
        rows = _Rows(form, view, headers=not no_headers, events=output_watch_events)
        _watch(query, wanted, rows, listed=not watch_only)
    elif form.is_table:
        _print_tables(query, wanted, view, headers=not no_headers, sort_by=sort_by)
    else:
        _print_objects(query, wanted, form, headers=not no_headers, sort_by=sort_by)


def _nothing_named() -> list[Target]:
    raise CliError(
        "You must specify the type of resource to get. "
        "Use `minikctl api-resources` for a complete list of supported resources."
    )


def _targets_of_files(cluster: Cluster, names: Sequence[str], *, recursive: bool) -> list[Target]:
    from cli import manifests

    found = []
    for item in manifests.load(cluster, names, recursive=recursive):
        found.append(Target(item.kind, (item.name,), item.namespace or None))
    return found


class Query:
    """What to ask the server for each target; failures are collected, so that one missing name hides no other."""

    def __init__(self, cluster: Cluster, *, label: str, field: str, ignore_not_found: bool) -> None:
        self.cluster = cluster
        self.params = {"labelSelector": label, "fieldSelector": field}
        self.ignore_not_found = ignore_not_found
        self.failures: list[CliError] = []

    def answers(self, target: Target, *, accept: str, **params: str) -> Iterator[Object]:
        """The list, or an answer for each name."""
        if not target.names:
            yield from self._try(lambda: self.cluster.list_all(target.kind, accept=accept, **self.params, **params))
            return
        if self.params["labelSelector"] or self.params["fieldSelector"]:
            raise CliError("name cannot be provided when a selector is specified")
        if not (target.namespace or self.cluster.namespace) and target.kind.namespaced:
            raise CliError("a resource cannot be retrieved by name across all namespaces")
        for name in target.names:
            path = self.cluster.path(target.kind, name, namespace=target.namespace)
            yield from self._try(lambda path=path: self.cluster.call("GET", path, params=params, accept=accept))

    def _try(self, ask: Any) -> Iterator[Object]:
        try:
            yield ask()
        except StatusError as error:
            if not (self.ignore_not_found and error.reason == "NotFound"):
                self.failures.append(error)


def _print_tables(query: Query, wanted: Sequence[Target], view: View, *, headers: bool, sort_by: str) -> None:
    params = {"includeObject": "Object"} if sort_by else {}
    found = [(target.kind, _merged(query.answers(target, accept=TABLE, **params))) for target in wanted]
    answered = [(kind, table) for kind, table in found if table is not None]
    prefixed = len({kind for kind, _ in answered}) > 1
    filled = [(kind, table) for kind, table in answered if table.get("rows")]
    for index, (kind, table) in enumerate(filled):
        if sort_by:
            table["rows"] = _sorted(table["rows"], sort_by, key=lambda row: row.get("object") or {})
        if index and headers:
            print()
        _print_table(table, _view_for(view, kind, prefixed=prefixed), headers=headers, columns=Columns())
    if not filled and not query.failures and not query.ignore_not_found:
        print(_nothing_found(query.cluster, wanted), file=sys.stderr)
    sys.stdout.flush()
    raise_failures(query.failures)


def _nothing_found(cluster: Cluster, wanted: Sequence[Target]) -> str:
    if cluster.namespace and all(target.kind.namespaced for target in wanted):
        return f"No resources found in {cluster.namespace} namespace."
    return "No resources found"


def _view_for(view: View, kind: Kind, *, prefixed: bool) -> View:
    from dataclasses import replace

    return replace(
        view, kind_prefix=kind.qualified_kind if prefixed else "", namespace=view.namespace and kind.namespaced
    )


def _merged(answers: Iterator[Object]) -> Object | None:
    """The tables of several names as one."""
    whole: Object | None = None
    for table in answers:
        if table.get("kind") != "Table":
            table = _plain_table(table)
        if whole is None:
            whole = table
        else:
            whole["rows"] = (whole.get("rows") or []) + (table.get("rows") or [])
    return whole


def _plain_table(answer: Object) -> Object:
    """Name and age, for a server that makes no tables of this kind."""
    from cli.ages import age

    objects = answer.get("items", [answer])
    columns = [{"name": "Name", "format": "name"}, {"name": "Age"}]
    rows = [
        {"cells": [each["metadata"]["name"], age(each["metadata"].get("creationTimestamp"))], "object": each}
        for each in objects or []
    ]
    return {"kind": "Table", "metadata": answer.get("metadata") or {}, "columnDefinitions": columns, "rows": rows}


def _print_table(table: Object, view: View, *, headers: bool, columns: Columns) -> None:
    lines = [tables.header(table, view)] if headers else []
    for line in columns.render([*lines, *tables.rows(table, view)]):
        print(line)


def _print_objects(
    query: Query, wanted: Sequence[Target], form: printers.Format, *, headers: bool, sort_by: str
) -> None:
    objects: list[Object] = []
    for target in wanted:
        for answer in query.answers(target, accept=JSON):
            objects += _items(target.kind, answer)
    single = sum(len(target.names) for target in wanted) == 1 and all(target.names for target in wanted)
    if sort_by:
        objects = _sorted(objects, sort_by)
    if objects or not single:
        sys.stdout.write(printers.render(form, objects, as_list=not single, headers=headers))
    sys.stdout.flush()
    raise_failures(query.failures)


def _items(kind: Kind, answer: Object) -> list[Object]:
    if "items" not in answer or not str(answer.get("kind", "")).endswith("List"):
        return [answer]
    return [{"apiVersion": kind.api_version, "kind": kind.kind, **item} for item in answer["items"] or []]


def _sorted(values: list[Any], path: str, *, key: Any = lambda value: value) -> list[Any]:
    """Sorted by a field; numbers as numbers, quantities as amounts, and what has no such field first."""

    def rank(value: Any) -> tuple[int, Any]:
        found = jsonpath.find(path, key(value))
        if not found or found[0] is None:
            return 0, 0
        if isinstance(found[0], int | float):
            return 1, found[0]
        from api.quantity import QuantityError, parse

        try:
            return 1, parse(str(found[0]))
        except QuantityError:
            return 2, str(found[0])

    return sorted(values, key=rank)


def _watch(query: Query, wanted: Sequence[Target], rows: _Rows, *, listed: bool) -> None:
    if len(wanted) != 1 or len(wanted[0].names) > 1:
        raise CliError("you may only specify a single resource type")
    kind, names, namespace = wanted[0].kind, wanted[0].names, wanted[0].namespace
    params = dict(query.params)
    if names:
        query.cluster.get(kind, names[0], namespace=namespace)  # a missing object is an error, not a long wait
        params["fieldSelector"] = f"metadata.name={names[0]}"
    accept = TABLE if rows.form.is_table else JSON
    answer = query.cluster.list_all(kind, namespace=namespace, accept=accept, **params)
    rows.show_kind(kind)
    if listed:
        rows.listing(answer)
    seen = _versions(answer)
    while True:
        version = answer["metadata"]["resourceVersion"]
        try:
            for type_, obj in query.cluster.watch(kind, version=version, namespace=namespace, accept=accept, **params):
                rows.event(type_, obj)
                seen |= _versions(obj)
        except StatusError as error:
            if error.reason not in ("Expired", "Gone"):
                raise
        # The server has forgotten the history, as a restarted one has: list anew, and show what is news.
        answer = query.cluster.list_all(kind, namespace=namespace, accept=accept, **params)
        for obj in _one_by_one(kind, answer):
            if not _versions(obj).items() <= seen.items():
                rows.event("MODIFIED", obj)
        seen = _versions(answer)


def _versions(answer: Object) -> dict[str, str]:
    """uid -> resourceVersion of every object in a list, a Table, or a single object."""
    rows = answer.get("rows")
    objects = [row["object"] for row in rows or []] if rows is not None else answer.get("items")
    metadatas = [each["metadata"] for each in (objects if objects is not None else [answer])]
    return {each["uid"]: each["resourceVersion"] for each in metadatas if "uid" in each}


def _one_by_one(kind: Kind, answer: Object) -> list[Object]:
    """What a list brings, in the form in which a watch would."""
    if answer.get("kind") == "Table":
        return [{**answer, "rows": [row]} for row in answer.get("rows") or []]
    return list(_items(kind, answer))


class _Rows:
    """Prints what a watch brings, a row or an object at a time, under the titles printed once."""

    def __init__(self, form: printers.Format, view: View, *, headers: bool, events: bool) -> None:
        self.form = form
        self._view = view
        self._headers, self._events = headers, events
        self._columns = Columns()
        self._definitions: list[Any] = []

    def show_kind(self, kind: Kind) -> None:
        self._kind = kind
        self._view = _view_for(self._view, kind, prefixed=False)

    def listing(self, answer: Object) -> None:
        if self.form.is_table:
            table = answer if answer.get("kind") == "Table" else _plain_table(answer)
            if table.get("rows"):
                self._table(table, "ADDED")
            self._definitions = table.get("columnDefinitions") or self._definitions
        else:
            for item in _items(self._kind, answer):
                self._object(item, "ADDED")
        sys.stdout.flush()

    def event(self, type_: str, obj: Object) -> None:
        if self.form.is_table:
            self._table(obj if obj.get("kind") == "Table" else _plain_table(obj), type_)
        else:
            self._object(obj, type_)
        sys.stdout.flush()

    def _table(self, table: Object, type_: str) -> None:
        # Only the first table of a watch says what its columns are.
        self._definitions = table.get("columnDefinitions") or self._definitions
        table = {**table, "columnDefinitions": self._definitions}
        rows = [tables.header(table, self._view)] if self._headers else []
        rows = [["EVENT", *row] for row in rows] if self._events else rows
        rows += [[type_, *row] if self._events else row for row in tables.rows(table, self._view)]
        self._headers = False
        for line in self._columns.render(rows):
            print(line)

    def _object(self, obj: Object, type_: str) -> None:
        if self._events and self.form.name in ("json", "yaml"):
            obj = {"object": obj, "type": type_}
        if self.form.name == "yaml":
            print("---")
        text = printers.render(self.form, [obj], as_list=False, headers=self._headers)
        self._headers = False
        sys.stdout.write(text)
