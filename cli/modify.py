"""`minikctl label|annotate|patch|set image`: change a little of objects that are there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer

from cli import completion
from cli.apply import DryRun, Filename, Output, Recursive, Write, options
from cli.arguments import targets
from cli.cluster import JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH, Cluster, Object
from cli.command import cluster as connect
from cli.command import group
from cli.discovery import Kind
from cli.errors import CliError, raise_failures

PATCH_TYPES = {"strategic": STRATEGIC_MERGE_PATCH, "merge": MERGE_PATCH, "json": JSON_PATCH}

Resources = Annotated[
    list[str] | None,
    typer.Argument(metavar="(KIND NAME... | KIND/NAME...) KEY=VALUE... KEY-...", autocompletion=completion.resources),
]
Selector = Annotated[str, typer.Option("--selector", "-l", help="Objects with these labels.")]
All = Annotated[bool, typer.Option("--all", help="All objects of the kind in the namespace.")]
Overwrite = Annotated[bool, typer.Option(help="Replace values that are there.")]


def label(
    resources: Resources = None,
    overwrite: Overwrite = False,
    list_: Annotated[bool, typer.Option("--list", help="Show the labels.")] = False,
    selector: Selector = "",
    all_: All = False,
    filename: Filename = None,
    recursive: Recursive = False,
    dry_run: DryRun = "none",
    output: Output = None,
) -> None:
    """Set or remove labels: KEY=VALUE sets one, KEY- removes it."""
    edit = _Edit("labels", overwrite=overwrite, dry_run=dry_run, output=output)
    _edit(edit, resources or [], selector, all_, filename, recursive, show=list_)


def annotate(
    resources: Resources = None,
    overwrite: Overwrite = False,
    list_: Annotated[bool, typer.Option("--list", help="Show the annotations.")] = False,
    selector: Selector = "",
    all_: All = False,
    filename: Filename = None,
    recursive: Recursive = False,
    dry_run: DryRun = "none",
    output: Output = None,
) -> None:
    """Set or remove annotations: KEY=VALUE sets one, KEY- removes it."""
    edit = _Edit("annotations", overwrite=overwrite, dry_run=dry_run, output=output)
    _edit(edit, resources or [], selector, all_, filename, recursive, show=list_)


class _Edit:
    """One change of labels or annotations, applied to every object named."""

    def __init__(self, field: str, *, overwrite: bool, dry_run: str, output: str | None) -> None:
        self.field = field
        self.overwrite = overwrite
        self.write = options(dry_run=dry_run, validate="ignore", output=output, manager=f"kubectl-{field.rstrip('s')}")
        self.set: dict[str, str] = {}
        self.remove: list[str] = []

    def read(self, args: Sequence[str]) -> list[str]:
        """Take KEY=VALUE and KEY- out of the arguments; the others name objects."""
        changes = [each for each in args if "=" in each or each.endswith("-")]
        for each in changes:
            if "=" in each:
                key, _, value = each.partition("=")
                self.set[key] = value
            else:
                self.remove.append(each[:-1])
        both = set(self.set) & set(self.remove)
        if both:
            raise CliError(f"cannot modify and remove the same {self.field.rstrip('s')} {', '.join(sorted(both))}")
        return [each for each in args if each not in changes]

    def apply(self, cluster: Cluster, kind: Kind, obj: Object) -> None:
        """Patch one object and say what happened. Raises CliError when a value is there and must not be replaced."""
        meta = obj["metadata"]
        present = meta.get(self.field) or {}
        name = meta["name"]
        taken = [key for key, value in self.set.items() if present.get(key, value) != value]
        if taken and not self.overwrite:
            raise CliError(f"'{taken[0]}' already has a value ({present[taken[0]]}), and --overwrite is false")
        for key in self.remove:
            if key not in present:
                print(f'{self.field.rstrip("s")} "{key}" not found.', flush=True)
        changes = {key: value for key, value in self.set.items() if present.get(key) != value}
        removed = [key for key in self.remove if key in present]
        if changes or removed:
            body = {"metadata": {self.field: {**changes, **dict.fromkeys(removed)}}}
            obj = _send(cluster, kind, obj, body, MERGE_PATCH, self.write)
        self.write.report(f"{kind.qualified_kind}/{name}", self._what(changes, removed), obj)

    def _what(self, changes: dict[str, str], removed: list[str]) -> str:
        if self.field == "annotations":
            return "annotated"
        if removed and not changes:
            return "unlabeled"
        return "labeled" if changes else "not labeled"


def _edit(
    edit: _Edit,
    args: Sequence[str],
    selector: str,
    all_: bool,
    filename: list[str] | None,
    recursive: bool,
    *,
    show: bool,
) -> None:
    named = edit.read(args)
    what = edit.field.rstrip("s")
    if not (edit.set or edit.remove or show):
        raise CliError(f"at least one {what} update is required")
    failures: list[CliError] = []
    cluster = connect()
    for kind, obj in objects(cluster, named, selector, all_, filename, recursive, failures):
        try:
            if show:
                values = obj["metadata"].get(edit.field) or {}
                print("".join(f"{key}={value}\n" for key, value in sorted(values.items())), end="", flush=True)
            else:
                edit.apply(cluster, kind, obj)
        except CliError as error:
            failures.append(error)
    raise_failures(failures)


def objects(
    cluster: Cluster,
    named: Sequence[str],
    selector: str,
    all_: bool,
    filename: list[str] | None,
    recursive: bool,
    failures: list[CliError],
) -> Iterator[tuple[Kind, Object]]:
    """The objects named in one of the usual ways; those that are not there are noted as failures."""
    if filename:
        from cli import manifests

        wanted = [
            (item.kind, item.name, item.namespace)
            for item in manifests.load(cluster, filename, recursive=recursive, failures=failures)
        ]
    else:
        wanted = []
        for target in targets(cluster, named):
            if not target.names and (selector or all_):
                yield from ((target.kind, obj) for obj in cluster.objects(target.kind, labelSelector=selector))
            elif not target.names:
                raise CliError("one or more resources must be specified as <resource> <name> or <resource>/<name>")
            wanted += [(target.kind, name, cluster.namespace) for name in target.names]
    for kind, name, namespace in wanted:
        try:
            yield kind, cluster.get(kind, name, namespace=namespace)
        except CliError as error:
            failures.append(error)


def _send(cluster: Cluster, kind: Kind, obj: Object, body: Any, content_type: str, write: Write) -> Object:
    if write.dry_run == "client":
        return obj
    meta = obj["metadata"]
    path = cluster.path(kind, meta["name"], namespace=meta.get("namespace"))
    params = {key: value for key, value in write.params.items() if key != "fieldValidation"}
    return cluster.call("PATCH", path, params=params, body=body, content_type=content_type)  # type: ignore[no-any-return]


def patch(
    resources: Annotated[
        list[str] | None, typer.Argument(metavar="(KIND NAME | KIND/NAME)", autocompletion=completion.resources)
    ] = None,
    text: Annotated[str, typer.Option("--patch", "-p", help="The patch, in JSON or YAML.")] = "",
    patch_file: Annotated[str, typer.Option(help="A file with the patch.")] = "",
    type_: Annotated[str, typer.Option("--type", help="strategic, merge or json.")] = "strategic",
    subresource: Annotated[str, typer.Option(help="Patch status or scale instead.")] = "",
    filename: Filename = None,
    recursive: Recursive = False,
    dry_run: DryRun = "none",
    output: Output = None,
) -> None:
    """Change fields of an object.

    minikctl patch deploy web -p '{"spec":{"replicas":2}}'; patch node node-1 --type json -p '[...]'
    """
    if type_ not in PATCH_TYPES:
        raise CliError(f'--type must be one of [json merge strategic], not "{type_}"')
    if bool(text) == bool(patch_file):
        raise CliError("must specify --patch or --patch-file containing the contents of the patch")
    body = _patch_body(text, patch_file)
    write = options(dry_run=dry_run, validate="ignore", output=output, manager="kubectl-patch")
    cluster = connect()
    failures: list[CliError] = []
    for kind, obj in objects(cluster, resources or [], "", False, filename, recursive, failures):
        try:
            _patch_one(cluster, kind, obj, body, PATCH_TYPES[type_], subresource, write)
        except CliError as error:
            failures.append(error)
    raise_failures(failures)


def _patch_body(text: str, patch_file: str) -> Any:
    from cli.documents import read

    source = patch_file or "patch"
    if patch_file:
        try:
            with open(patch_file, encoding="utf-8") as file:
                text = file.read()
        except OSError as error:
            raise CliError(f"unable to read patch file: {patch_file}: {error.strerror}") from None
    documents = list(read(text, source=source))
    if len(documents) != 1 or not isinstance(documents[0], dict | list):
        raise CliError(f"unable to parse {text[:80]!r}: the patch is not one object or list")
    return documents[0]


def _patch_one(
    cluster: Cluster, kind: Kind, obj: Object, body: Any, content_type: str, subresource: str, write: Write
) -> None:
    meta = obj["metadata"]
    label_text = f"{kind.qualified_kind}/{meta['name']}"
    if write.dry_run == "client":
        write.report(label_text, "patched", obj)
        return
    path = cluster.path(kind, meta["name"], namespace=meta.get("namespace"), subresource=subresource)
    params = {key: value for key, value in write.params.items() if key != "fieldValidation"}
    after = cluster.call("PATCH", path, params=params, body=body, content_type=content_type)
    changed = after.get("metadata", {}).get("resourceVersion") != meta.get("resourceVersion")
    write.report(label_text, "patched" if changed else "patched (no change)", after)


# set image


def image(
    resources: Annotated[
        list[str] | None,
        typer.Argument(metavar="(NAME | KIND NAME | KIND/NAME) CONTAINER=IMAGE...", autocompletion=completion.scalable),
    ] = None,
    selector: Selector = "",
    all_: All = False,
    filename: Filename = None,
    recursive: Recursive = False,
    dry_run: DryRun = "none",
    output: Output = None,
) -> None:
    """Give containers another image; `*=IMAGE` means all containers of the object.

    minikctl set image deploy/web web=minik/web:2
    """
    args = resources or []
    images = dict(each.split("=", 1) for each in args if "=" in each)
    named = [each for each in args if "=" not in each]
    if not images:
        raise CliError("at least one image update is required")
    write = options(dry_run=dry_run, validate="ignore", output=output, manager="kubectl-set")
    cluster = connect()
    if len(named) == 1 and "/" not in named[0] and not (selector or all_) and cluster.kinds.by_name(named[0]) is None:
        named = [f"deployments.apps/{named[0]}"]
    failures: list[CliError] = []
    for kind, obj in objects(cluster, named, selector, all_, filename, recursive, failures):
        try:
            body = image_patch(obj, images)
            if body:
                after = _send(cluster, kind, obj, body, STRATEGIC_MERGE_PATCH, write)
                write.report(f"{kind.qualified_kind}/{obj['metadata']['name']}", "image updated", after)
        except CliError as error:
            failures.append(error)
    raise_failures(failures)


def image_patch(obj: Object, images: dict[str, str]) -> Object:
    """The strategic merge patch that sets images by container name; {} when all are set already. Pure."""
    on_template = "template" in obj["spec"]
    spec = obj["spec"]["template"]["spec"] if on_template else obj["spec"]
    changes: Object = {}
    found: set[str] = set()
    for field in ("containers", "initContainers"):
        for each in spec.get(field) or []:
            wanted = images.get(each["name"], images.get("*"))
            found |= {each["name"]} if wanted else set()
            if wanted and wanted != each.get("image"):
                changes.setdefault(field, []).append({"name": each["name"], "image": wanted})
    for name in images:
        if name != "*" and name not in found:
            raise CliError(f'unable to find container named "{name}"')
    if not changes:
        return {}
    return {"spec": {"template": {"spec": changes}}} if on_template else {"spec": changes}


def SET() -> Any:
    """The `set` commands."""
    return group({"image": image}, name="set", help="Change a part of objects: set image.")
