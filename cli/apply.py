"""`minikctl apply`: make the cluster look like the files, by server-side apply: the server merges and keeps the books.

Kubernetes: https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from cli import manifests, output
from cli.command import Chosen, Write
from cli.errors import CliError, StatusError, collected
from cli.session import APPLY_PATCH, Object, Ref, Session

VALIDATION = {"true": "Strict", "strict": "Strict", "warn": "Warn", "false": "Ignore", "ignore": "Ignore"}

CONFLICT = """{message}
These fields were last set by others. To take them over: --force-conflicts. To leave them to the others: take them
out of the manifest. See https://kubernetes.io/docs/reference/using-api/server-side-apply/#conflicts"""


def apply(
    session: Session,
    chosen: Chosen,
    write: Write,
    force_conflicts: Annotated[
        bool, typer.Option("--force-conflicts", help="Take over fields that others have set.")
    ] = False,
    field_manager: Annotated[str, typer.Option(help="In whose name the fields are set.")] = "minikctl",
    validate: Annotated[
        str, typer.Option(metavar="strict|warn|ignore", help="What to do about unknown fields.")
    ] = "strict",
    output_: Annotated[
        str | None, typer.Option("--output", "-o", help="Print the objects: name, json, yaml, jsonpath=...")
    ] = None,
    server_side: Annotated[bool, typer.Option(hidden=True)] = True,
) -> None:
    """Make the cluster look like the files: create what is missing, change what differs, leave the rest.

    minikctl apply -f web.yaml; apply -f folder/ -R; apply -f https://...; cat web.yaml | minikctl apply -f -
    """
    if not chosen.filename:
        raise CliError("must specify one of -f and -k")
    if not server_side:
        raise CliError("apply is server-side apply; for client-side apply use: kubectl apply")
    if write.dry_run == "client":
        raise CliError("--dry-run=client doesn't work with --server-side (did you mean --dry-run=server instead?)")
    if validate.lower() not in VALIDATION:
        raise CliError(f"invalid - validate option {validate!r}; must be strict, warn or ignore")
    form = output.parse(output_)
    params = {"fieldManager": field_manager, "fieldValidation": VALIDATION[validate.lower()]}
    params["force"] = str(force_conflicts).lower()
    applied = 0
    with collected() as failures:
        for ref in _selected(manifests.load(session, chosen, failures=failures), chosen.selector):
            applied += 1
            with failures:
                obj = apply_one(session, ref, write.params | params)
                if form.is_table:
                    write.say(ref.label, "serverside-applied")
                else:
                    sys.stdout.write(output.render(form, [obj], as_list=False))
        if not (applied or failures):
            raise CliError("no objects passed to apply")


def apply_one(session: Session, ref: Ref, params: dict[str, str]) -> Object:
    """Apply one object of a manifest; the object as it is now. Raises CliError."""
    if not ref.name and ref.obj and (generated := ref.obj["metadata"].get("generateName")):
        raise CliError(f"from {generated}: cannot use generate name with apply")
    try:
        applied: Object = session.call("PATCH", ref.path(), params=params, body=ref.obj, content_type=APPLY_PATCH)
        return applied
    except StatusError as error:
        if error.reason == "Conflict" and any(each.get("reason") == "FieldManagerConflict" for each in error.causes):
            raise CliError(CONFLICT.format(message=error.message)) from None
        raise


def _selected(refs: Any, selector: str) -> Any:
    """Those whose labels match, when labels are asked for."""
    from api.selectors import SelectorError, parse_label_selector

    try:
        wanted = parse_label_selector(selector)
    except SelectorError as error:
        raise CliError(f"unable to parse requirement: {error}") from None
    return (ref for ref in refs if wanted.matches(ref.obj["metadata"].get("labels") or {}))
