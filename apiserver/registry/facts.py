"""What selectors may ask about an object, read from its bytes without decoding the rest. Pure.

Interface: `reader(name, fields)`. Per kind a small struct is made that declares only labels, name, namespace and the
selectable fields; msgspec skips everything else.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

Reader = Callable[[bytes], tuple[Mapping[str, str], Mapping[str, str]]]
"""From an object's bytes to its labels and selectable fields."""


@dataclass(frozen=True, slots=True)
class Selectable:
    """A field selector: its name, the path it stands for where that is another, and what an absent value means."""

    name: str
    path: str = ""
    absent: str = ""

    @property
    def parts(self) -> tuple[str, ...]:
        return tuple((self.path or self.name).split("."))


def reader(name: str, fields: tuple[Selectable, ...]) -> Reader:
    tree: dict[str, Any] = {"metadata": {"labels": None}}
    for field in fields:
        _plant(tree, field.parts)
    decoder = msgspec.json.Decoder(_struct(f"{name}Facts", tree, itertools.count()))
    plain = [(field.name, field.parts, field.absent) for field in fields]

    def read(value: bytes) -> tuple[dict[str, str], dict[str, str]]:
        view: Any = decoder.decode(value)
        return view.metadata.labels or {}, {name: _text(view, parts, absent) for name, parts, absent in plain}

    return read


def _plant(tree: dict[str, Any], path: tuple[str, ...]) -> None:
    for part in path[:-1]:
        tree = tree.setdefault(part, {})
    tree.setdefault(path[-1], None)


def _struct(name: str, tree: dict[str, Any], numbers: itertools.count[int]) -> type[msgspec.Struct]:
    fields = [
        (key, (_struct(f"{name}{next(numbers)}", inner, numbers) | None) if inner is not None else Any, None)
        for key, inner in tree.items()
    ]
    return msgspec.defstruct(name, fields)


def _text(view: Any, path: tuple[str, ...], absent: str) -> str:
    for part in path:
        view = getattr(view, part, None)
    if view is None:
        return absent
    if isinstance(view, bool):
        return str(view).lower()
    return str(view)
