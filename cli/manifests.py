"""Objects from files, folders, URLs and standard input: what `-f` means.

    load(session, chosen, ...) -> iterator of Ref, each with its `obj` and `source`
A document that cannot be read is raised, or, with `failures`, noted there while the others go on, as kubectl does.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cli.command import Chosen
from cli.errors import CliError, Collected
from cli.session import GIVEN, Ref, Session

EXTENSIONS = (".json", ".yaml", ".yml")
DOWNLOAD_SECONDS = 30
DOWNLOAD_BYTES = 64 << 20
"""Enough for any manifest; more is a mistake."""

TYPE_NAMES: dict[type, str] = {
    str: "string",
    dict: "object",
    list: "list",
    int: "integer",
    float: "number",
    bool: "boolean",
}


def load(session: Session, chosen: Chosen, *, failures: Collected | None = None) -> Iterator[Ref]:
    """The objects of the named files in order. Namespaced ones get a namespace: their own or the current one."""
    for name in chosen.filename:
        with _noted(failures):
            for source, text in _texts(name, recursive=chosen.recursive):
                with _noted(failures):
                    for document in _documents(text, source):
                        with _noted(failures):
                            yield _ref(session, document, source)


def _noted(failures: Collected | None) -> Any:
    from contextlib import nullcontext

    return nullcontext() if failures is None else failures


def _texts(name: str, *, recursive: bool) -> Iterator[tuple[str, str]]:
    if name == "-":
        yield "STDIN", _decoded(sys.stdin.buffer.read(), "STDIN")
    elif name.startswith(("http://", "https://")):
        yield name, _decoded(_download(name), name)
    else:
        for path in _files(Path(name), recursive=recursive):
            try:
                yield str(path), _decoded(path.read_bytes(), str(path))
            except OSError as error:
                raise CliError(f"error reading {path}: {error.strerror}") from None


def _decoded(content: bytes, source: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise CliError(f"error parsing {source}: it is not UTF-8 text") from None


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


def _download(url: str) -> bytes:
    from urllib.error import HTTPError
    from urllib.request import urlopen

    try:
        with urlopen(url, timeout=DOWNLOAD_SECONDS) as response:
            content: bytes = response.read(DOWNLOAD_BYTES + 1)
    except HTTPError as error:
        raise CliError(f'unable to read URL "{url}", server reported {error.code} {error.reason}') from None
    except (OSError, ValueError) as error:
        raise CliError(f'unable to read URL "{url}": {getattr(error, "reason", None) or error}') from None
    if len(content) > DOWNLOAD_BYTES:
        raise CliError(f'unable to read URL "{url}": it is larger than {DOWNLOAD_BYTES >> 20} MiB')
    return content


def _documents(text: str, source: str) -> Iterator[Any]:
    from cli.documents import read

    for document in read(text, source=source):
        if isinstance(document, dict) and "items" in document and str(document.get("kind", "")).endswith("List"):
            yield from document["items"] or []
        else:
            yield document


def _ref(session: Session, obj: Any, source: str) -> Ref:
    check(obj, source)
    kind = session.kind_of(obj)
    meta = obj["metadata"]
    name, namespace, explicit = str(meta.get("name") or ""), str(meta.get("namespace") or ""), GIVEN.get("namespace")
    if kind is None:
        raise CliError(
            f'resource mapping not found for name: "{name}" namespace: "{namespace}" '
            f'from "{source}": no matches for kind "{obj["kind"]}" in version "{obj["apiVersion"]}"'
        )
    if not kind.namespaced:
        return Ref(kind, name, source=source, obj=obj)
    if namespace and explicit and namespace != explicit:
        raise CliError(
            f'the namespace from the provided object "{namespace}" does not match the namespace '
            f"\"{explicit}\". You must pass '--namespace={namespace}' to perform this operation."
        )
    meta["namespace"] = namespace or session.namespace
    return Ref(kind, name, meta["namespace"], source, obj)


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
    if obj.get("metadata") is None:
        obj["metadata"] = {}
    _expect(obj, "", {"apiVersion": str, "kind": str, "metadata": dict}, source)
    _expect(obj["metadata"], "metadata.", {"name": str, "generateName": str, "namespace": str}, source)


def _expect(section: dict[str, Any], prefix: str, fields: dict[str, type], source: str) -> None:
    for field, type_ in fields.items():
        value = section.get(field)
        if value is not None and not isinstance(value, type_):
            got = TYPE_NAMES.get(type(value), type(value).__name__)
            raise CliError(
                f'error validating "{source}": error validating data: {prefix}{field}: '
                f"expected {TYPE_NAMES[type_]}, got {got}"
            )
