"""Objects from files, folders, URLs and standard input: what `-f` means.

    load(cluster, names, ...) -> iterator of Item
A document that cannot be read is raised, or, with `failures`, noted there while the others go on, as kubectl does.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.cluster import Cluster, Object
from cli.discovery import Kind
from cli.errors import CliError
from cli.printers import qualified_kind

EXTENSIONS = (".json", ".yaml", ".yml")
DOWNLOAD_SECONDS = 30
DOWNLOAD_BYTES = 64 << 20
"""Enough for any manifest; more is a mistake."""


@dataclass(frozen=True)
class Item:
    """One object of a manifest, with its kind as the server has it and the place it came from."""

    kind: Kind
    obj: Object
    source: str

    @property
    def name(self) -> str:
        return str(self.obj["metadata"].get("name") or "")

    @property
    def namespace(self) -> str:
        return str(self.obj["metadata"].get("namespace") or "")

    @property
    def label(self) -> str:
        """`deployment.apps/web`, as output names it."""
        return f"{qualified_kind(self.obj)}/{self.name}"


def load(
    cluster: Cluster,
    names: Sequence[str],
    *,
    recursive: bool = False,
    explicit_namespace: str | None = None,
    failures: list[CliError] | None = None,
) -> Iterator[Item]:
    """The objects of the named files in order. Namespaced ones get a namespace: their own or the current one."""
    for source, text in _texts(names, recursive=recursive, failures=failures):
        try:
            for document in _documents(text, source):
                try:
                    yield _item(cluster, document, source, explicit_namespace)
                except CliError as error:
                    _note(error, failures)
        except CliError as error:
            _note(error, failures)


def _note(error: CliError, failures: list[CliError] | None) -> None:
    if failures is None:
        raise error
    failures.append(error)


def _texts(names: Sequence[str], *, recursive: bool, failures: list[CliError] | None) -> Iterator[tuple[str, str]]:
    for name in names:
        try:
            if name == "-":
                yield "STDIN", sys.stdin.read()
            elif name.startswith(("http://", "https://")):
                yield name, _download(name)
            else:
                for path in _files(Path(name), recursive=recursive):
                    yield str(path), _read(path)
        except UnicodeDecodeError:
            _note(CliError(f"error parsing {name}: it is not UTF-8 text"), failures)
        except CliError as error:
            _note(error, failures)


def _files(path: Path, *, recursive: bool) -> list[Path]:
    if not path.exists():
        raise CliError(f'the path "{path}" does not exist')
    if not path.is_dir():
        return [path]
    inside = path.rglob("*") if recursive else path.iterdir()
    found = sorted(each for each in inside if each.suffix in EXTENSIONS and each.is_file())
    if not found:
        raise CliError(f"error reading [{path}]: recognized file extensions are [{' '.join(EXTENSIONS)}]")
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise CliError(f"error reading {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CliError(f"error parsing {path}: it is not UTF-8 text") from None


def _download(url: str) -> str:
    from urllib.error import HTTPError
    from urllib.request import urlopen

    try:
        with urlopen(url, timeout=DOWNLOAD_SECONDS) as response:
            content = response.read(DOWNLOAD_BYTES + 1)
    except HTTPError as error:
        raise CliError(f'unable to read URL "{url}", server reported {error.code} {error.reason}') from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise CliError(f'unable to read URL "{url}": {reason}') from None
    if len(content) > DOWNLOAD_BYTES:
        raise CliError(f'unable to read URL "{url}": it is larger than {DOWNLOAD_BYTES >> 20} MiB')
    return str(content.decode("utf-8-sig"))


def _documents(text: str, source: str) -> Iterator[Any]:
    from cli.documents import read

    found = False
    for document in read(text, source=source):
        found = True
        if isinstance(document, dict) and "items" in document and str(document.get("kind", "")).endswith("List"):
            yield from document["items"] or []
        else:
            yield document
    if not found and source == "STDIN":
        raise CliError("no objects passed to apply")


def _item(cluster: Cluster, obj: Any, source: str, explicit_namespace: str | None) -> Item:
    check(obj, source)
    kind = cluster.kind_of(obj)
    meta = obj["metadata"]
    if kind is None:
        raise CliError(
            f'resource mapping not found for name: "{meta.get("name", "")}" namespace: "{meta.get("namespace", "")}" '
            f'from "{source}": no matches for kind "{obj["kind"]}" in version "{obj["apiVersion"]}"'
        )
    if kind.namespaced:
        namespace = meta.get("namespace")
        if namespace and explicit_namespace and namespace != explicit_namespace:
            raise CliError(
                f'the namespace from the provided object "{namespace}" does not match the namespace '
                f"\"{explicit_namespace}\". You must pass '--namespace={namespace}' to perform this operation."
            )
        meta["namespace"] = namespace or cluster.namespace
    return Item(kind, obj, source)


def check(obj: Any, source: str) -> None:
    """What must be right before the server can be asked about an object. Raises CliError."""
    if not isinstance(obj, dict):
        found = "a list" if isinstance(obj, list) else "text" if isinstance(obj, str) else f"a {type(obj).__name__}"
        raise CliError(
            f'error validating "{source}": expected an object with apiVersion, kind and metadata, got {found}'
        )
    missing = [f"{field} not set" for field in ("apiVersion", "kind") if not obj.get(field)]
    if missing:
        text = missing[0] if len(missing) == 1 else f"[{', '.join(missing)}]"
        raise CliError(f'error validating "{source}": error validating data: {text}')
    for field in ("apiVersion", "kind"):
        _expect(obj[field], str, field, source)
    meta = obj.setdefault("metadata", {})
    _expect(meta, dict, "metadata", source)
    for field, type_ in (("name", str), ("generateName", str), ("namespace", str), ("annotations", dict)):
        if meta.get(field) is not None:
            _expect(meta[field], type_, f"metadata.{field}", source)


_TYPE_NAMES: dict[type, str] = {
    str: "string",
    dict: "object",
    list: "list",
    int: "integer",
    float: "number",
    bool: "boolean",
}


def _expect(value: Any, type_: type, path: str, source: str) -> None:
    if not isinstance(value, type_):
        got = _TYPE_NAMES.get(type(value), type(value).__name__)
        raise CliError(
            f'error validating "{source}": error validating data: {path}: expected {_TYPE_NAMES[type_]}, got {got}'
        )
