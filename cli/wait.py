"""`minikctl wait`: until a condition holds, a field has a value, or objects are gone."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from typing import Annotated

import typer

from cli import completion, jsonpath
from cli.apply import Filename, Recursive
from cli.arguments import targets
from cli.cluster import Cluster, Object
from cli.command import cluster as connect
from cli.discovery import Kind
from cli.errors import CliError, not_found, raise_failures
from cli.waiting import seconds, wait_for

A_WEEK = 7 * 86400.0
"""What a negative --timeout means, as in kubectl."""

Holds = Callable[[Object | None], bool]


def wait(
    resources: Annotated[
        list[str] | None, typer.Argument(metavar="(KIND [NAME...] | KIND/NAME...)", autocompletion=completion.resources)
    ] = None,
    for_: Annotated[
        str, typer.Option("--for", help="delete, create, condition=NAME[=VALUE], or jsonpath='{...}'[=VALUE].")
    ] = "",
    timeout: Annotated[str, typer.Option(help="How long to wait at most; 0 checks once, negative is a week.")] = "30s",
    selector: Annotated[str, typer.Option("--selector", "-l", help="Objects with these labels.")] = "",
    field_selector: Annotated[str, typer.Option(help="Objects with these fields.")] = "",
    all_: Annotated[bool, typer.Option("--all", help="All objects of the kind in the namespace.")] = False,
    all_namespaces: Annotated[bool, typer.Option("--all-namespaces", "-A", help="In all namespaces.")] = False,
    filename: Filename = None,
    recursive: Recursive = False,
) -> None:
    """Wait until something holds of objects.

    minikctl wait --for=condition=Available deploy/web; wait --for=delete pod/web-1 --timeout=60s
    """
    holds, done = parse(for_)
    length = seconds(timeout)
    ends = time.monotonic() + (A_WEEK if length < 0 else length)
    cluster = connect()
    if all_namespaces:
        cluster.namespace = ""
    wanted = _objects(cluster, resources, selector, field_selector, all_ or all_namespaces, filename, recursive)
    if not wanted:
        if for_ == "delete":
            return
        raise CliError("no matching resources found")
    failures: list[CliError] = []
    for kind, name, namespace in wanted:
        what = "condition not met for" if length == 0 else "timed out waiting for the condition on"
        message = f"{what} {kind.plural}/{name}"

        def checked(obj: Object | None, kind: Kind = kind, name: str = name) -> bool:
            if obj is None and for_ not in ("delete", "create"):
                raise not_found(kind.qualified, name)
            return holds(obj)

        try:
            if for_ == "delete" and cluster.find(kind, name, namespace=namespace) is None:
                continue
            wait_for(cluster, kind, name, checked, namespace=namespace, ends=ends, message=message)
            print(f"{kind.qualified_kind}/{name} {done}", flush=True)
        except CliError as error:
            failures.append(error)
    raise_failures(failures)


def parse(text: str) -> tuple[Holds, str]:
    """What --for demands, and what to say when it holds. Raises CliError. Pure."""
    if not text:
        raise CliError("must specify --for")
    if text.lower() == "delete":
        return (lambda obj: obj is None), "condition met"
    if text.lower() == "create":
        return (lambda obj: obj is not None), "condition met"
    if text.startswith("condition="):
        name, _, value = text.removeprefix("condition=").partition("=")
        return (lambda obj: _has_condition(obj or {}, name, value or "true")), "condition met"
    if text.startswith("jsonpath="):
        return _parse_jsonpath(text.removeprefix("jsonpath=")), "condition met"
    raise CliError(f'unrecognized condition: "{text}"')


def _has_condition(obj: Object, name: str, value: str) -> bool:
    status = obj.get("status") or {}
    observed = status.get("observedGeneration", math.inf)
    if observed < obj.get("metadata", {}).get("generation", 0):
        return False
    return any(
        each["type"].lower() == name.lower() and each["status"].lower() == value.lower()
        for each in status.get("conditions") or []
    )


def _parse_jsonpath(text: str) -> Holds:
    match = re.fullmatch(r"'?(\{.*?\})'?(?:=(.*))?", text, re.DOTALL)
    if not match:
        raise CliError("jsonpath wait format must be --for=jsonpath='{.status.readyReplicas}'=3")
    path, value = match.groups()
    wanted = value.strip("'\"") if value is not None else None

    def holds(obj: Object | None) -> bool:
        found = jsonpath.find(path, obj)
        return bool(found) and (wanted is None or jsonpath.to_text(found[0]) == wanted)

    return holds


def _objects(
    cluster: Cluster,
    resources: list[str] | None,
    selector: str,
    fields: str,
    all_: bool,
    filename: list[str] | None,
    recursive: bool,
) -> list[tuple[Kind, str, str]]:
    if filename:
        from cli import manifests

        items = manifests.load(cluster, filename, recursive=recursive)
        return [(item.kind, item.name, item.namespace) for item in items]
    found: list[tuple[Kind, str, str]] = []
    for target in targets(cluster, resources or []):
        if target.names:
            found += [(target.kind, name, cluster.namespace) for name in target.names]
        elif selector or fields or all_:
            for each in cluster.objects(target.kind, labelSelector=selector, fieldSelector=fields):
                found.append((target.kind, each["metadata"]["name"], each["metadata"].get("namespace", "")))
        else:
            raise CliError("resource(s) were provided, but no name was specified")
    return found
