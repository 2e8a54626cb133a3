"""Objects in the forms of `-o`: json, yaml, name, jsonpath=..., custom-columns=... Pure.

parse(output) -> Format            raises CliError for a form there is not
render(format, objects, ...)       the text
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli import jsonpath
from cli.errors import CliError
from cli.tables import Columns

Object = Mapping[str, Any]

FORMS = (
    "json, yaml, name, wide, jsonpath=..., jsonpath-file=..., jsonpath-as-json=..., "
    "custom-columns=..., custom-columns-file=..."
)


@dataclass(frozen=True)
class Format:
    """`table` and `wide` are the server's tables; the other names are forms of whole objects."""

    name: str = "table"
    argument: str = ""

    @property
    def is_table(self) -> bool:
        return self.name in ("table", "wide")


def parse(output: str | None) -> Format:
    """Read the value of `-o`."""
    if not output:
        return Format()
    name, _, argument = output.partition("=")
    if name.endswith("-file") and argument:
        try:
            return Format(name.removesuffix("-file"), Path(argument).read_text())
        except OSError as error:
            raise CliError(f"error reading --template {argument}, {error.strerror}") from None
    if name in ("json", "yaml", "name", "wide") and not argument:
        return Format(name)
    if name in ("jsonpath", "custom-columns", "jsonpath-as-json"):
        if not argument:
            raise CliError(f"{name} format specified but no {_needs(name)} given")
        return Format(name, argument)
    raise CliError(f'unable to match a printer suitable for the output format "{output}", allowed formats are: {FORMS}')


def _needs(name: str) -> str:
    return "custom columns" if name == "custom-columns" else "template"


def render(form: Format, objects: Sequence[Object], *, as_list: bool, headers: bool = True) -> str:
    """The objects in that form: one object as itself unless `as_list`."""
    if form.name == "name":
        return "".join(f"{name_of(each)}\n" for each in objects)
    if form.name == "custom-columns":
        return custom_columns(form.argument, objects, headers=headers)
    whole = list_of(objects) if as_list else without_managed_fields(objects[0])
    return document(form, whole)


def document(form: Format, value: Any) -> str:
    """One value in the forms that take any value."""
    if form.name == "json":
        from cli.documents import to_json

        return to_json(value)
    if form.name == "yaml":
        from cli.documents import to_yaml

        return to_yaml(value)
    if form.name == "jsonpath-as-json":
        from cli.documents import to_json

        return to_json(jsonpath.find(form.argument, value))
    template = form.argument if "{" in form.argument else "{" + form.argument + "}"
    return jsonpath.render(template, value)


def list_of(objects: Sequence[Object]) -> Object:
    """A v1 List of any objects, as `get` prints several."""
    items = [without_managed_fields(each) for each in objects]
    return {"apiVersion": "v1", "items": items, "kind": "List", "metadata": {"resourceVersion": ""}}


def without_managed_fields(obj: Object) -> Object:
    """Server-side bookkeeping nobody reads."""
    meta = obj.get("metadata") or {}
    if "managedFields" not in meta:
        return obj
    return {**obj, "metadata": {key: value for key, value in meta.items() if key != "managedFields"}}


def name_of(obj: Object) -> str:
    """`pod/web-1`, `deployment.apps/web`: an object in the form commands take it back."""
    return f"{qualified_kind(obj)}/{(obj.get('metadata') or {}).get('name', '')}"


def qualified_kind(obj: Object) -> str:
    group = str(obj.get("apiVersion") or "").rpartition("/")[0]
    kind = str(obj.get("kind") or "").lower()
    return f"{kind}.{group}" if group else kind


def custom_columns(specification: str, objects: Sequence[Object], *, headers: bool = True) -> str:
    """`NAME:.metadata.name,NODE:.spec.nodeName`; what is missing is `<none>`."""
    columns = [_column(each) for each in _split_columns(specification)]
    rows = [[title for title, _ in columns]] if headers else []
    rows += [[read(each) for _, read in columns] for each in objects]
    return "".join(f"{line}\n" for line in Columns().render(rows))


def _split_columns(specification: str) -> list[str]:
    """Columns are separated by commas, or, as files have them, titles and paths on two lines."""
    lines = specification.strip().splitlines()
    if len(lines) == 2:
        titles, paths = lines[0].split(), lines[1].split()
        if len(titles) != len(paths):
            raise CliError(f"number of field specifications ({len(paths)}) does not match header count ({len(titles)})")
        return [f"{title}:{path}" for title, path in zip(titles, paths, strict=True)]
    return specification.split(",")


def _column(text: str) -> tuple[str, Callable[[Object], str]]:
    title, colon, path = text.partition(":")
    if not colon or not path:
        raise CliError(f"unexpected custom-columns spec: {text}, expected <header>:<json-path-expr>")

    def read(obj: Object) -> str:
        found = [jsonpath.to_text(each) for each in jsonpath.find(path, obj) if each is not None]
        return ",".join(found) or "<none>"

    return title, read
