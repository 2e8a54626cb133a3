"""`minikctl delete`: ask for the deletion and wait, by watching, until the objects are gone."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated

import typer

from cli import completion
from cli.apply import DRY_RUN_NOTES, DryRun, Filename, Recursive
from cli.arguments import targets
from cli.cluster import Cluster, Object
from cli.command import cluster as connect
from cli.command import settings
from cli.discovery import Kind
from cli.errors import CliError, StatusError, raise_failures
from cli.waiting import deadline, until_gone

FORCE_WARNING = (
    "Warning: Immediate deletion does not wait for confirmation that the running resource has been terminated. "
    "The resource may continue to run on the cluster indefinitely."
)
PROPAGATION = {
    "background": "Background",
    "foreground": "Foreground",
    "orphan": "Orphan",
    "true": "Background",
    "false": "Orphan",
}


@dataclass(frozen=True)
class Doomed:
    """One object to delete."""

    kind: Kind
    name: str
    namespace: str
    source: str = ""


def delete(
    resources: Annotated[
        list[str] | None, typer.Argument(metavar="[KIND NAME... | KIND/NAME...]", autocompletion=completion.resources)
    ] = None,
    filename: Filename = None,
    recursive: Recursive = False,
    selector: Annotated[str, typer.Option("--selector", "-l", help="Objects with these labels.")] = "",
    field_selector: Annotated[str, typer.Option(help="Objects with these fields.")] = "",
    all_: Annotated[bool, typer.Option("--all", help="All objects of the kind in the namespace.")] = False,
    all_namespaces: Annotated[bool, typer.Option("--all-namespaces", "-A", help="In all namespaces.")] = False,
    grace_period: Annotated[int, typer.Option(help="Seconds to end in; -1 means as the object says.")] = -1,
    now: Annotated[bool, typer.Option("--now", help="Same as --grace-period=1.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Forget the object without waiting for its end.")] = False,
    wait: Annotated[bool, typer.Option(help="Return when the objects are gone.")] = True,
    timeout: Annotated[str, typer.Option(help="How long to wait at most, as in 30s; 0s waits on.")] = "0s",
    cascade: Annotated[
        str, typer.Option(metavar="background|foreground|orphan", help="What to do with what it owns.")
    ] = "background",
    ignore_not_found: Annotated[bool, typer.Option("--ignore-not-found", help="A missing object is no error.")] = False,
    dry_run: DryRun = "none",
    output: Annotated[str | None, typer.Option("--output", "-o", help="name: print only kind/name.")] = None,
) -> None:
    """Delete objects, and wait until they are gone.

    minikctl delete pod web-1; delete deploy/web svc/web; delete -f web.yaml; delete pods -l app=web; delete pods --all
    """
    request = Request(
        grace=_grace(grace_period, now=now, force=force),
        forced=force,
        cascade=cascade,
        dry_run=dry_run,
        output=output,
        missing_is_fine=ignore_not_found or all_ or bool(selector),
    )
    request.check()
    cluster = connect()
    if all_namespaces:
        cluster.namespace = ""
    failures: list[CliError] = []
    if filename:
        doomed: Iterable[Doomed] = _of_files(cluster, filename, recursive=recursive, failures=failures)
    else:
        doomed = _named(cluster, resources or [], selector=selector, fields=field_selector, everything=all_)
    ends = deadline(timeout)
    leaving = _delete_all(cluster, doomed, request, failures)
    if wait and request.leaves_slowly:
        for each, uid in leaving:
            until_gone(cluster, each.kind, each.name, namespace=each.namespace, uid=uid, ends=ends)
    if not leaving and not failures and not ignore_not_found:
        print("No resources found", file=sys.stderr)
    raise_failures(failures)


@dataclass(frozen=True, kw_only=True)
class Request:
    """How to delete. `grace` is in seconds, None for the object's own."""

    grace: int | None
    forced: bool
    cascade: str
    dry_run: str
    output: str | None
    missing_is_fine: bool

    @property
    def at_once(self) -> bool:
        return self.forced and self.grace == 0

    @property
    def leaves_slowly(self) -> bool:
        """Whether there is an end to wait for."""
        return self.dry_run == "none" and not self.at_once

    @property
    def body(self) -> Object:
        options: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": PROPAGATION[self.cascade]}
        return options if self.grace is None else {**options, "gracePeriodSeconds": self.grace}

    def check(self) -> None:
        """Raises CliError for options that make no sense, and warns of those that do too much."""
        if self.dry_run not in DRY_RUN_NOTES:
            raise CliError(f'Invalid dry-run value ({self.dry_run}). Must be "none", "server", or "client".')
        if self.cascade not in PROPAGATION:
            raise CliError(f'invalid cascade value ({self.cascade}). Must be "background", "foreground", or "orphan"')
        if self.output not in (None, "name"):
            raise CliError("unexpected -o output mode: only 'name' is supported")
        if self.at_once:
            print(FORCE_WARNING, file=sys.stderr)

    def report(self, each: Doomed) -> None:
        if self.output == "name":
            print(f"{each.kind.qualified_kind}/{each.name}", flush=True)
            return
        what = "force deleted" if self.at_once else "deleted"
        print(f'{each.kind.qualified_kind} "{each.name}" {what}{DRY_RUN_NOTES[self.dry_run]}', flush=True)


def _grace(period: int, *, now: bool, force: bool) -> int | None:
    """The grace period to ask for; None leaves it to the object."""
    if now:
        if period != -1:
            raise CliError("--now and --grace-period cannot be specified together")
        return 1
    if force and period < 0:
        return 0
    if force and period > 0:
        raise CliError("--force and --grace-period greater than 0 cannot be specified together")
    if period == 0 and not force:
        # As kubectl: without --force nothing is deleted from under a running kubelet.
        return 1
    return None if period < 0 else period


def _of_files(cluster: Cluster, filename: list[str], *, recursive: bool, failures: list[CliError]) -> Iterator[Doomed]:
    from cli import manifests

    for item in manifests.load(
        cluster, filename, recursive=recursive, explicit_namespace=settings.namespace, failures=failures
    ):
        yield Doomed(item.kind, item.name, item.namespace, item.source)


def _named(cluster: Cluster, resources: list[str], *, selector: str, fields: str, everything: bool) -> list[Doomed]:
    if everything and selector:
        raise CliError("setting 'all' parameter but found a non empty selector.")
    if not resources:
        raise CliError("You must provide one or more resources by argument or filename.")
    found: list[Doomed] = []
    for target in targets(cluster, resources):
        if target.names and (selector or everything or fields):
            what = "--all" if everything else "a selector"
            raise CliError(f"name cannot be provided when {what} is specified")
        if target.names:
            found += [Doomed(target.kind, name, cluster.namespace) for name in target.names]
        elif selector or fields or everything:
            items = cluster.objects(target.kind, labelSelector=selector, fieldSelector=fields)
            found += [
                Doomed(target.kind, each["metadata"]["name"], each["metadata"].get("namespace", "")) for each in items
            ]
        else:
            raise CliError("resource(s) were provided, but no name was specified")
    return found


def _delete_all(
    cluster: Cluster, doomed: Iterable[Doomed], request: Request, failures: list[CliError]
) -> list[tuple[Doomed, str]]:
    """Ask for every deletion. Returns what is on its way out, with uids."""
    leaving: list[tuple[Doomed, str]] = []
    for each in doomed:
        try:
            uid = _delete_one(cluster, each, request)
        except StatusError as error:
            if error.reason != "NotFound" or not request.missing_is_fine:
                failures.append(error.within(f'error when deleting "{each.source}"') if each.source else error)
            continue
        request.report(each)
        leaving.append((each, uid))
    return leaving


def _delete_one(cluster: Cluster, each: Doomed, request: Request) -> str:
    """Ask for the deletion. Returns the uid of what is being deleted, as far as the answer tells."""
    path = cluster.path(each.kind, each.name, namespace=each.namespace)
    if request.dry_run == "client":
        return str(cluster.fetch(path)["metadata"].get("uid", ""))
    params = {"dryRun": "All"} if request.dry_run == "server" else {}
    answer = cluster.call("DELETE", path, params=params, body=request.body)
    details = answer.get("details") if answer.get("kind") == "Status" else answer.get("metadata")
    return str((details or {}).get("uid") or "")
