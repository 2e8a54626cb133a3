"""What `get` prints: the columns of a Table, and the cells that kinds share. Pure.

A `Column` computes its cell from the object as plain data. Kubernetes: pkg/printers/internalversion/printers.go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from api.durations import since

Object = dict[str, Any]
Cell = Callable[[Object], Any]
NONE = "<none>"


@dataclass(frozen=True)
class Column:
    """One column; `wide` shows it only with `-o wide`."""

    name: str
    cell: Cell
    type: str = "string"
    wide: bool = False
    format: str = ""
    description: str = ""

    @property
    def definition(self) -> Object:
        """As a Table describes it (TableColumnDefinition)."""
        described = self.description or self.name
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": described,
            "priority": int(self.wide),
        }


# --- cells ------------------------------------------------------------------------------------------------------


def at(path: str, default: Any = NONE) -> Cell:
    """A cell that shows one field, or `default` where it is absent or empty."""
    parts = path.split(".")

    def cell(obj: Object) -> Any:
        value: Any = obj
        for part in parts:
            value = value.get(part) if isinstance(value, dict) else None
        return default if value in (None, "") else value

    return cell


def count(*paths: str) -> Cell:
    """How many items or members some fields have together."""
    fields = [at(path, ()) for path in paths]
    return lambda obj: sum(len(field(obj)) for field in fields)


def number(name: str, path: str) -> Column:
    return Column(name, at(path, 0), "integer")


def listed(values: list[str], limit: int = 0) -> str:
    """`a,b,c`, or `a,b + 3 more...` past the limit."""
    if limit and len(values) > limit:
        return f"{','.join(values[:limit])} + {len(values) - limit} more..."
    return ",".join(values) or NONE


def condition(obj: Object, type_: str) -> Object:
    """The condition of a type, {} when there is none."""
    conditions = obj.get("status", {}).get("conditions") or []
    return next((each for each in conditions if each.get("type") == type_), {})


def map_text(labels: Mapping[str, str] | None) -> str:
    return listed([f"{key}={value}" for key, value in sorted((labels or {}).items())])


def name_of(obj: Object) -> str:
    return str(obj["metadata"].get("name", ""))


NAME = Column("Name", name_of, format="name", description="Name must be unique within a namespace.")
AGE = Column(
    "Age", lambda obj: since(obj["metadata"].get("creationTimestamp")), description="How long ago it was created."
)


# --- pod templates ----------------------------------------------------------------------------------------------


def _containers(obj: Object) -> list[Object]:
    template = obj.get("template") or obj.get("spec", {}).get("template") or {}
    containers: list[Object] = template.get("spec", {}).get("containers") or []
    return containers


def _selector(obj: Object) -> str:
    """A metav1.LabelSelector, or the plain map of older kinds, as text."""
    selector = obj.get("spec", {}).get("selector") or {}
    if not {"matchLabels", "matchExpressions"} & set(selector):
        return map_text(selector)
    parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for each in selector.get("matchExpressions") or []:
        operator, values = each.get("operator", ""), ",".join(sorted(each.get("values") or []))
        forms = {"Exists": each["key"], "DoesNotExist": f"!{each['key']}"}
        parts.append(forms.get(operator) or f"{each['key']} {operator.lower()} ({values})")
    return listed(parts)


CONTAINERS = Column("Containers", lambda obj: listed([each["name"] for each in _containers(obj)]), wide=True)
IMAGES = Column("Images", lambda obj: listed([each.get("image", "") for each in _containers(obj)]), wide=True)
SELECTOR = Column("Selector", _selector, wide=True)
