"""`minikctl delete`: ask for the deletion and wait, by watching, until the objects are gone."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cli import objects
from cli.command import Chosen, Write
from cli.errors import CliError, StatusError, collected
from cli.session import Object, Ref, Session
from cli.wait import deadline, until_gone

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


def delete(
    session: Session,
    chosen: Chosen,
    write: Write,
    grace_period: Annotated[int, typer.Option(help="Seconds to end in; -1 means as the object says.")] = -1,
    now: Annotated[bool, typer.Option("--now", help="Same as --grace-period=1.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Forget the object without waiting for its end.")] = False,
    wait: Annotated[bool, typer.Option(help="Return when the objects are gone.")] = True,
    timeout: Annotated[str, typer.Option(help="How long to wait at most, as in 30s; 0s waits on.")] = "0s",
    cascade: Annotated[
        str, typer.Option(metavar="background|foreground|orphan", help="What to do with what it owns.")
    ] = "background",
    ignore_not_found: Annotated[bool, typer.Option("--ignore-not-found", help="A missing object is no error.")] = False,
    output_: Annotated[str, typer.Option("--output", "-o", help="name: print only kind/name.")] = "",
) -> None:
    """Delete objects, and wait until they are gone.

    minikctl delete pod web-1; delete deploy/web svc/web; delete -f web.yaml; delete pods -l app=web; delete pods --all
    """
    if output_ not in ("", "name"):
        raise CliError("unexpected -o output mode: only 'name' is supported")
    if cascade not in PROPAGATION:
        raise CliError(f'invalid cascade value ({cascade}). Must be "background", "foreground", or "orphan"')
    if not (chosen.resources or chosen.filename):
        raise CliError("You must provide one or more resources by argument or filename.")
    seconds = grace(grace_period, now=now, force=force)
    at_once = force and seconds == 0
    if at_once:
        print(FORCE_WARNING, file=sys.stderr)
    options: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": PROPAGATION[cascade]}
    options |= {} if seconds is None else {"gracePeriodSeconds": seconds}
    missing_is_fine = ignore_not_found or chosen.selects
    ends = deadline(timeout)
    leaving: list[tuple[Ref, str]] = []
    with collected() as failures:
        for ref in objects.refs(session, chosen, failures=failures):
            with failures:
                try:
                    uid = _delete(session, write, ref, options)
                except StatusError as error:
                    if error.reason == "NotFound" and missing_is_fine:
                        continue
                    raise error.within(f'error when deleting "{ref.source}"') if ref.source else error from None
                if output_:
                    print(ref.label, flush=True)
                else:
                    write.say(f'{ref.kind.qualified_kind} "{ref.name}"', "force deleted" if at_once else "deleted")
                leaving.append((ref, uid))
        if wait and write.real and not at_once:
            for ref, uid in leaving:
                until_gone(session, ref, uid=uid, ends=ends)
        if not (leaving or failures or ignore_not_found):
            print("No resources found", file=sys.stderr)


def grace(period: int, *, now: bool, force: bool) -> int | None:
    """The grace period to ask for in seconds; None leaves it to the object. Raises CliError. Pure."""
    if now and period != -1:
        raise CliError("--now and --grace-period cannot be specified together")
    if force and period > 0:
        raise CliError("--force and --grace-period greater than 0 cannot be specified together")
    if force and not now:
        return 0
    if now or period == 0:
        return 1  # as kubectl: without --force nothing is deleted from under a running kubelet
    return None if period < 0 else period


def _delete(session: Session, write: Write, ref: Ref, options: Object) -> str:
    """Ask for the deletion. Returns the uid of what is being deleted, as far as the answer tells."""
    answer = write.send(session, "DELETE", ref.path(), options) or session.get(ref)
    details = answer.get("details") if answer.get("kind") == "Status" else answer.get("metadata")
    return str((details or {}).get("uid") or "")
