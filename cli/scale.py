"""`minikctl scale`: how many replicas. A name without a kind means a Deployment."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated

import typer

from cli import completion
from cli.apply import DRY_RUN_NOTES, DryRun, Filename, Recursive
from cli.arguments import targets
from cli.cluster import MERGE_PATCH, Cluster
from cli.command import cluster as connect
from cli.discovery import Kind
from cli.errors import CliError, StatusError, raise_failures

DEFAULT_KIND = "deployments.apps"


def scale(
    resources: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME | KIND NAME... | KIND/NAME...", autocompletion=completion.scalable),
    ] = None,
    replicas: Annotated[int | None, typer.Option(help="The number of replicas to have.")] = None,
    current_replicas: Annotated[int, typer.Option(help="Only if this is the number now.")] = -1,
    filename: Filename = None,
    recursive: Recursive = False,
    selector: Annotated[str, typer.Option("--selector", "-l", help="Objects with these labels.")] = "",
    all_: Annotated[bool, typer.Option("--all", help="All objects of the kind in the namespace.")] = False,
    timeout: Annotated[str, typer.Option(help="Wait this long for the replicas to be there; 0s does not wait.")] = "0s",
    dry_run: DryRun = "none",
) -> None:
    """Set the number of replicas of a Deployment or ReplicaSet.

    minikctl scale web --replicas 5; scale rs/web-1 --replicas 0; scale deploy/web deploy/api --replicas 2
    """
    if replicas is None or replicas < 0:
        raise CliError("The --replicas=COUNT flag is required, and COUNT must be greater than or equal to 0")
    if dry_run not in DRY_RUN_NOTES:
        raise CliError(f'Invalid dry-run value ({dry_run}). Must be "none", "server", or "client".')
    cluster = connect()
    failures: list[CliError] = []
    for kind, name, namespace in _objects(cluster, resources or [], filename, recursive, selector, all_):
        try:
            _scale_one(cluster, kind, name, namespace, replicas=replicas, expected=current_replicas, dry_run=dry_run)
            print(f"{kind.qualified_kind}/{name} scaled{DRY_RUN_NOTES[dry_run]}", flush=True)
            if timeout != "0s" and dry_run == "none":
                _wait(cluster, kind, name, namespace, replicas=replicas, timeout=timeout)
        except CliError as error:
            failures.append(error)
    raise_failures(failures)


def _objects(
    cluster: Cluster, resources: list[str], filename: list[str] | None, recursive: bool, selector: str, all_: bool
) -> Iterator[tuple[Kind, str, str]]:
    if filename:
        from cli import manifests

        for item in manifests.load(cluster, filename, recursive=recursive):
            yield item.kind, item.name, item.namespace
        return
    if len(resources) == 1 and "/" not in resources[0] and not (selector or all_):
        yield cluster.resolve(DEFAULT_KIND), resources[0], cluster.namespace
        return
    for target in targets(cluster, resources):
        names = target.names
        if not names and (selector or all_):
            names = tuple(each["metadata"]["name"] for each in cluster.objects(target.kind, labelSelector=selector))
        elif not names:
            raise CliError("resource(s) were provided, but no name was specified")
        for name in names:
            yield target.kind, name, cluster.namespace


def _scale_one(
    cluster: Cluster, kind: Kind, name: str, namespace: str, *, replicas: int, expected: int, dry_run: str
) -> None:
    if "scale" not in kind.subresources:
        raise CliError(f'cannot scale {kind.qualified} "{name}": the server does not have a scale for this kind')
    path = cluster.path(kind, name, namespace=namespace, subresource="scale")
    body: dict[str, object] = {"spec": {"replicas": replicas}}
    if expected >= 0:
        current = cluster.fetch(path)
        actual = (current.get("spec") or {}).get("replicas", 0)
        if actual != expected:
            raise CliError(f"Expected replicas to be {expected}, was {actual}")
        body["metadata"] = {"resourceVersion": current["metadata"]["resourceVersion"]}
    if dry_run == "client":
        cluster.fetch(path)
        return
    params = {"dryRun": "All"} if dry_run == "server" else {}
    try:
        cluster.call("PATCH", path, params=params, body=body, content_type=MERGE_PATCH)
    except StatusError as error:
        if expected >= 0 and error.reason == "Conflict":
            raise CliError(f"{kind.qualified_kind}/{name} was changed by somebody else; try again") from None
        raise


def _wait(cluster: Cluster, kind: Kind, name: str, namespace: str, *, replicas: int, timeout: str) -> None:
    from cli.waiting import deadline, wait_for

    ends = deadline(timeout)
    wait_for(
        cluster,
        kind,
        name,
        lambda obj: obj is None or (obj.get("status") or {}).get("replicas", 0) == replicas,
        namespace=namespace,
        ends=ends if ends > 0 else math.inf,
    )
