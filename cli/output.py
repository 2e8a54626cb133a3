"""Objects in the forms of `-o`: json, yaml, name, jsonpath=..., custom-columns=... Pure.

parse(output) -> Format            raises CliError for a form there is not
render(format, objects, ...)       the text
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cli.errors import CliError
from cli.tables import Columns

Object = Mapping[str, Any]

FORMS = "json, yaml, name, wide, jsonpath=..., custom-columns=..."


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
    if name in ("json", "yaml", "name", "wide") and not argument:
        return Format(name)
    if name in ("jsonpath", "custom-columns"):
        if not argument:
            needs = "custom columns" if name == "custom-columns" else "template"
            raise CliError(f"{name} format specified but no {needs} given")
        return Format(name, argument)
    raise CliError(f'unable to match a printer suitable for the output format "{output}", allowed formats are: {FORMS}')


def render(form: Format, objects: Sequence[Object], *, as_list: bool, headers: bool = True) -> str:
    """The objects in that form: one object as itself unless `as_list`."""
    if form.name == "name":
        return "".join(f"{name_of(each)}\n" for each in objects)
    if form.name == "custom-columns":
        return custom_columns(form.argument, objects, headers=headers)
    shown = [without_managed_fields(each) for each in objects]
    whole = {"apiVersion": "v1", "items": shown, "kind": "List", "metadata": {"resourceVersion": ""}}
    return document(form, whole if as_list else shown[0])


def document(form: Format, value: Any) -> str:
    """One value in the forms that take any value."""
    if form.name == "jsonpath":
        from cli import paths

        return paths.render(form.argument if "{" in form.argument else "{" + form.argument + "}", value)
    from cli import documents

    return documents.to_json(value) if form.name == "json" else documents.to_yaml(value)


def without_managed_fields(obj: Object) -> Object:
    """Server-side bookkeeping nobody reads."""
    meta = obj.get("metadata") or {}
    if "managedFields" not in meta:
        return obj
    return {**obj, "metadata": {key: value for key, value in meta.items() if key != "managedFields"}}


def name_of(obj: Object) -> str:
    """`pod/web-1`, `deployment.apps/web`: an object in the form commands take it back."""
    group = str(obj.get("apiVersion") or "").rpartition("/")[0]
    kind = str(obj.get("kind") or "").lower()
    return f"{kind}.{group}/{obj['metadata']['name']}" if group else f"{kind}/{obj['metadata']['name']}"


def custom_columns(specification: str, objects: Sequence[Object], *, headers: bool = True) -> str:
    """`NAME:.metadata.name,NODE:.spec.nodeName`; what is missing is `<none>`."""
    columns = [_column(each) for each in specification.split(",")]
    rows = [[title for title, _ in columns]] if headers else []
    rows += [[read(each) for _, read in columns] for each in objects]
    return "".join(f"{line}\n" for line in Columns().render(rows))


def _column(text: str) -> tuple[str, Callable[[Object], str]]:
    from cli import paths

    title, colon, path = text.partition(":")
    if not colon or not path:
        raise CliError(f"unexpected custom-columns spec: {text}, expected <header>:<json-path-expr>")

    def read(obj: Object) -> str:
        return ",".join(paths.to_text(each) for each in paths.find(path, obj) if each is not None) or "<none>"

    return title, read


def ordered(values: list[Any], path: str, *, key: Callable[[Any], Any] = lambda value: value) -> list[Any]:
    """Sorted by a field; numbers as numbers, quantities as amounts, and what has no such field first."""
    from api.quantity import QuantityError, parse
    from cli import paths

    def rank(value: Any) -> tuple[int, Any]:
        found = paths.find(path, key(value))
        if not found or found[0] is None:
            return 0, 0
        try:
            return 1, found[0] if isinstance(found[0], int | float) else parse(str(found[0]))
        except QuantityError:
            return 2, str(found[0])

    return sorted(values, key=rank)
