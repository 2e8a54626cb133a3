"""What `get` prints for each kind: the columns of a Table. Pure.

Interface: `columns_of(kind)`; a `Column` computes its cell from the object as plain data.
Kubernetes: k8s.io/kubernetes/pkg/printers/internalversion/printers.go.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from api.kinds import Kind

Object = dict[str, Any]
Cell = Callable[[Object], Any]


@dataclass(frozen=True)
class Column:
    """One column; `priority` 1 shows it only with `-o wide`."""

    name: str
    cell: Cell
    type: str = "string"
    priority: int = 0
    format: str = ""
    description: str = ""


def name_of(obj: Object) -> str:
    return str(obj["metadata"].get("name", ""))


def age(obj: Object) -> str:
    return since(obj["metadata"].get("creationTimestamp"))


def since(timestamp: str | None, now: datetime | None = None) -> str:
    """How long ago, as kubectl writes it: 45s, 5m10s, 3h2m, 2d4h, 20d, 1y30d."""
    moment = parse_time(timestamp)
    if moment is None:
        return "<unknown>"
    return human_duration(((now or datetime.now(UTC)) - moment).total_seconds())


def parse_time(timestamp: str | None) -> datetime | None:
    if not timestamp:
        return None
    return datetime.fromisoformat(timestamp)


def human_duration(seconds: float) -> str:
    """k8s.io/apimachinery/pkg/util/duration.HumanDuration."""
    total = int(seconds)
    if total < -1:
        return "<invalid>"
    total = max(total, 0)
    minutes, hours, days = total // 60, total // 3600, total // 86400
    if total < 120:
        return f"{total}s"
    if minutes < 10:
        return _two(minutes, "m", total % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if hours < 192:
        return _two(days, "d", hours % 24, "h")
    if hours < 24 * 365 * 2:
        return f"{days}d"
    if hours < 24 * 365 * 8:
        return _two(days // 365, "y", days % 365, "d")
    return f"{days // 365}y"


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}" + (f"{small}{small_unit}" if small else "")


NAME = Column("Name", name_of, format="name", description="Name must be unique within a namespace.")
AGE = Column("Age", age, description="How long ago the object was created.")

COLUMNS: dict[str, tuple[Column, ...]] = {}


def columns_of(kind: Kind) -> tuple[Column, ...]:
    """The columns of a kind; a kind without a row of its own shows name and age."""
    return COLUMNS.get(kind.qualified, (NAME, AGE))
