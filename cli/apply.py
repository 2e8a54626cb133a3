"""`minikctl apply`: make the cluster look like the files. The merge itself is pure and in threeway.py."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from cli import manifests, printers, threeway
from cli.cluster import JSON, MERGE_PATCH, STRATEGIC_MERGE_PATCH, Cluster, Object
from cli.command import cluster as connect
from cli.command import settings
from cli.errors import CliError, StatusError, raise_failures
from cli.manifests import Item

FIELD_MANAGER = "kubectl-client-side-apply"
ATTEMPTS = 5
"""How often to compute the patch again when somebody else changed the object in between."""

VALIDATION = {"true": "Strict", "strict": "Strict", "warn": "Warn", "false": "Ignore", "ignore": "Ignore"}
DRY_RUN_NOTES = {"none": "", "client": " (dry run)", "server": " (server dry run)"}

TABLE_FORMAT = printers.Format()

Filename = Annotated[
    list[str] | None, typer.Option("--filename", "-f", help="File, folder, URL, or - for standard input.")
]
Recursive = Annotated[bool, typer.Option("--recursive", "-R", help="Folders with everything below them.")]
DryRun = Annotated[str, typer.Option(metavar="none|client|server", help="Only say what would be done.")]
Validate = Annotated[str, typer.Option(metavar="strict|warn|ignore", help="What to do about unknown fields.")]
Output = Annotated[str | None, typer.Option("--output", "-o", help="Print the objects: name, json, yaml, jsonpath=...")]
Label = Annotated[str, typer.Option("--selector", "-l", help="Only objects with these labels.")]


@dataclass(frozen=True)
class Write:
    """How to write objects: for real or not, and how strictly."""

    dry_run: str = "none"
    validation: str = "Strict"
    form: printers.Format = TABLE_FORMAT
    manager: str = FIELD_MANAGER

    @property
    def params(self) -> dict[str, str]:
        params = {"fieldManager": self.manager, "fieldValidation": self.validation}
        return params | ({"dryRun": "All"} if self.dry_run == "server" else {})

    @property
    def note(self) -> str:
        return DRY_RUN_NOTES[self.dry_run]

    def report(self, label: str, what: str, obj: Object) -> None:
        """Say what was done, or print the object."""
        if self.form.is_table:
            print(f"{label} {what}{self.note}", flush=True)
        else:
            sys.stdout.write(printers.render(self.form, [obj], as_list=False))


def options(*, dry_run: str, validate: str, output: str | None, manager: str = FIELD_MANAGER) -> Write:
    """Check and combine the options. Raises CliError."""
    if dry_run not in DRY_RUN_NOTES:
        raise CliError(f'Invalid dry-run value ({dry_run}). Must be "none", "server", or "client".')
    if validate.lower() not in VALIDATION:
        raise CliError(f"invalid - validate option {validate!r}; must be strict, warn or ignore")
    return Write(dry_run, VALIDATION[validate.lower()], printers.parse(output), manager)


def apply(
    filename: Filename = None,
    recursive: Recursive = False,
    selector: Label = "",
    dry_run: DryRun = "none",
    validate: Validate = "strict",
    output: Output = None,
) -> None:
    """Make the cluster look like the files: create what is missing, change what differs, leave the rest.

    minikctl apply -f web.yaml; apply -f folder/ -R; apply -f https://...; cat web.yaml | minikctl apply -f -
    """
    if not filename:
        raise CliError("must specify one of -f and -k")
    write = options(dry_run=dry_run, validate=validate, output=output)
    cluster = connect()
    failures: list[CliError] = []
    applied = 0
    loaded = manifests.load(
        cluster, filename, recursive=recursive, explicit_namespace=settings.namespace, failures=failures
    )
    for item in loaded:
        if selector and not _matches(selector, item.obj):
            continue
        applied += 1
        try:
            apply_one(cluster, item, write)
        except StatusError as error:
            failures.append(error)
    raise_failures(failures)
    if not applied:
        raise CliError("no objects passed to apply")


def apply_one(cluster: Cluster, item: Item, write: Write) -> str:
    """Apply one object and say what happened: created, configured or unchanged. Raises StatusError."""
    if not item.name:
        generated = item.obj["metadata"].get("generateName")
        problem = (
            f"from {generated}: cannot use generate name with apply" if generated else "resource name may not be empty"
        )
        raise StatusError({"code": 422, "message": f'error when applying "{item.source}": {problem}'})
    for attempt in range(ATTEMPTS):
        try:
            what, obj = _apply_once(cluster, item, write)
            write.report(item.label, what, obj)
            return what
        except StatusError as error:
            raced = error.reason in ("Conflict", "AlreadyExists")
            if not raced or attempt == ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")


def _apply_once(cluster: Cluster, item: Item, write: Write) -> tuple[str, Object]:
    modified = threeway.annotated(item.obj)
    path = cluster.path(item.kind, item.name, namespace=item.namespace)
    try:
        current = cluster.find(item.kind, item.name, namespace=item.namespace)
    except StatusError as error:
        raise error.within(
            f'error when retrieving current configuration of "{item.name}" from "{item.source}"'
        ) from None
    if current is None:
        return "created", _create(cluster, item, modified, write)
    original = threeway.last_applied(current)
    if original is None:
        _warn_missing(item)
    strategic = threeway.is_strategic(item.kind.group)
    changes = threeway.patch(original, modified, current, strategic=strategic)
    if write.dry_run == "client":
        return "configured", modified
    if not changes:
        return "unchanged", current
    content_type = STRATEGIC_MERGE_PATCH if strategic else MERGE_PATCH
    try:
        return "configured", cluster.call("PATCH", path, params=write.params, body=changes, content_type=content_type)
    except StatusError as error:
        raise error.within(f'error when patching "{item.source}"') from None


def _create(cluster: Cluster, item: Item, obj: Object, write: Write) -> Object:
    if write.dry_run == "client":
        return obj
    try:
        path = item.kind.path(item.namespace)
        return cluster.call("POST", path, params=write.params, body=obj, accept=JSON)  # type: ignore[no-any-return]
    except StatusError as error:
        raise error.within(f'error when creating "{item.source}"') from None


def _warn_missing(item: Item) -> None:
    print(
        f"Warning: resource {item.kind.plural}/{item.name} is missing the {threeway.ANNOTATION} annotation which is "
        "required by minikctl apply. minikctl apply should only be used on resources created declaratively by either "
        "minikctl create --save-config or minikctl apply. The missing annotation will be patched automatically.",
        file=sys.stderr,
    )


def _matches(selector: str, obj: dict[str, Any]) -> bool:
    from api.selectors import SelectorError, parse_label_selector

    try:
        return parse_label_selector(selector).matches((obj.get("metadata") or {}).get("labels") or {})
    except SelectorError as error:
        raise CliError(f"unable to parse requirement: {error}") from None
