"""What selectors may ask about an object, read from its bytes without decoding the rest. Pure.

Interface: `facts_of(record) -> (labels, fields)`, the indexer of the watch cache. Per kind a small struct is made
that declares only labels, name, namespace and the selectable fields; msgspec skips everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from api.kinds import KINDS, Kind
from apiserver.storage.base import Record, split_key

# Field names that stand for another path, and what an absent value means. Kubernetes: the field label conversions.
_PATHS = {"source": "source.component", "reportingComponent": "reportingComponent"}
_DEFAULTS = {"spec.unschedulable": "false", "spec.hostNetwork": "false"}

Reader = Callable[[bytes], tuple[dict[str, str], dict[str, str]]]


def facts_of(record: Record) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Labels and selectable fields of a stored object."""
    reader = _READERS.get(split_key(record.key)[0])
    return reader(record.value) if reader else ({}, {})


def fields_of(kind: Kind) -> tuple[str, ...]:
    """Every field selector of a kind."""
    return ("metadata.name", "metadata.namespace", *kind.selectable_fields)


def _reader(kind: Kind) -> Reader:
    paths = {name: tuple(_PATHS.get(name, name).split(".")) for name in fields_of(kind)}
    tree: dict[str, Any] = {"metadata": {"labels": None}}
    for path in paths.values():
        _plant(tree, path)
    decoder = msgspec.json.Decoder(_struct(kind.kind, tree))

    def read(value: bytes) -> tuple[dict[str, str], dict[str, str]]:
        view: Any = decoder.decode(value)
        return view.metadata.labels or {}, {name: _text(view, path, name) for name, path in paths.items()}

    return read


def _plant(tree: dict[str, Any], path: tuple[str, ...]) -> None:
    for part in path[:-1]:
        tree = tree.setdefault(part, {})
    tree.setdefault(path[-1], None)


def _struct(name: str, tree: dict[str, Any]) -> type[msgspec.Struct]:
    fields = [
        (key, (_struct(name + key.title(), inner) | None) if inner is not None else Any, None)
        for key, inner in tree.items()
    ]
    return msgspec.defstruct(name + "Facts", fields)


def _text(view: Any, path: tuple[str, ...], name: str) -> str:
    for part in path:
        view = getattr(view, part, None)
    if view is None:
        return _DEFAULTS.get(name, "")
    if isinstance(view, bool):
        return str(view).lower()
    return str(view)


_READERS: dict[str, Reader] = {kind.qualified: _reader(kind) for kind in KINDS}
