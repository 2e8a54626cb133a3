"""Columns of text as kubectl lines them up, and the server's Table answers in that form. Pure.

Kubernetes: https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MIN_WIDTH = 6
PADDING = 3


@dataclass
class Columns:
    """Lines up rows. Remembers the widths, so that rows printed later (a watch) stand under the earlier ones."""

    widths: list[int] = field(default_factory=list)
    padding: int = PADDING

    def render(self, rows: Sequence[Sequence[str]]) -> list[str]:
        """The rows as lines; the last cell of a row is not padded."""
        for row in rows:
            for index, cell in enumerate(row[:-1]):
                width = max(MIN_WIDTH, len(cell) + self.padding)
                if index == len(self.widths):
                    self.widths.append(width)
                elif width > self.widths[index]:
                    self.widths[index] = width
        return [
            "".join(cell.ljust(self.widths[index]) for index, cell in enumerate(row[:-1])) + (row[-1] if row else "")
            for row in rows
        ]


@dataclass(frozen=True)
class View:
    """What of a Table to show."""

    wide: bool = False
    namespace: bool = False
    kind_prefix: str = ""
    """`deployment.apps`: put before the names when several kinds are shown."""
    show_labels: bool = False
    label_columns: Sequence[str] = ()


def header(table: Mapping[str, Any], view: View) -> list[str]:
    """The titles of the columns to show."""
    titles = [column["name"].upper() for _, column in _shown_columns(table, view)]
    labels = [name.rpartition("/")[2].upper() for name in view.label_columns]
    return (["NAMESPACE"] if view.namespace else []) + titles + labels + (["LABELS"] if view.show_labels else [])


def rows(table: Mapping[str, Any], view: View) -> Iterable[list[str]]:
    """The cells of the rows to show."""
    columns = _shown_columns(table, view)
    for row in table.get("rows") or []:
        meta = (row.get("object") or {}).get("metadata") or {}
        labels = meta.get("labels") or {}
        cells = [_cell(row["cells"], index, column, view) for index, column in columns]
        if view.namespace:
            cells.insert(0, meta.get("namespace") or "")
        cells += [labels.get(name, "") for name in view.label_columns]
        if view.show_labels:
            cells.append(format_labels(labels))
        yield cells


def format_labels(labels: Mapping[str, str] | None, *, none: str = "<none>") -> str:
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items())) or none


def _shown_columns(table: Mapping[str, Any], view: View) -> list[tuple[int, Mapping[str, Any]]]:
    definitions = table.get("columnDefinitions") or []
    return [(index, each) for index, each in enumerate(definitions) if view.wide or not each.get("priority")]


def _cell(cells: Sequence[Any], index: int, column: Mapping[str, Any], view: View) -> str:
    text = cell_text(cells[index] if index < len(cells) else None)
    if view.kind_prefix and column.get("format") == "name":
        return f"{view.kind_prefix}/{text}"
    return text


def cell_text(value: Any) -> str:
    """A cell in one line: what follows a line break is left out, control characters are shown, not sent."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    first = next((index for index, char in enumerate(text) if char in "\f\n\r"), None)
    if first is not None:
        text = text[:first] + "..."
    return text.replace("\x1b", "^[")
