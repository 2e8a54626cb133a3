"""Server-side apply: merge what a manager wants into an object, and remember which fields are whose. Pure.

Interface: `apply(live, config, shape, manager=..., ...)` returns the wanted document, with `metadata.managedFields`
brought up to date. `ApplyConflict`: another manager applied some of the fields with other values.
Kubernetes: https://kubernetes.io/docs/reference/using-api/server-side-apply/.

Ownership is recorded for appliers only. Fields that were written by PUT, PATCH or a controller belong to nobody here:
applying over them never conflicts, and an applier that stops naming a field removes it unless another applier has it.

A field set is a set of paths in the notation of FieldsV1: ("f:spec", "f:containers", 'k:{"name":"web"}', "f:image").
An element of a keyed list is itself owned by the path that ends in ".".
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

from apiserver.codec import Shape
from apiserver.strategic_patch import merge_key

Path = tuple[str, ...]
Fields = frozenset[Path]

# Lists whose elements are told apart by more than one member, with what an absent member means.
_KEYS: dict[tuple[str, str], dict[str, Any]] = {
    ("Container", "ports"): {"containerPort": None, "protocol": "TCP"},
    ("ServiceSpec", "ports"): {"port": None, "protocol": "TCP"},
    ("PodSpec", "topologySpreadConstraints"): {"topologyKey": None, "whenUnsatisfiable": None},
}
_IDENTITY = frozenset({"apiVersion", "kind"})
_OWN_METADATA = frozenset(
    {"name", "namespace", "uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "selfLink"}
)


class ApplyConflict(Exception):
    """Fields that other managers applied with other values: `fields` is (manager, path) pairs."""

    def __init__(self, fields: list[tuple[str, str]]) -> None:
        super().__init__(f"{len(fields)} conflicts")
        self.fields = fields

    @property
    def message(self) -> str:
        """In Kubernetes' words."""
        managers: dict[str, list[str]] = {}
        for manager, path in self.fields:
            managers.setdefault(manager, []).append(path)
        parts = [f'conflict with "{manager}": {paths[0]}' if len(paths) == 1 else
                 f'conflicts with "{manager}":\n' + "\n".join(f"- {path}" for path in paths)
                 for manager, paths in managers.items()]  # fmt: skip
        count = len(self.fields)
        return f"Apply failed with {count} conflict{'s' if count > 1 else ''}: " + "\n".join(parts)


def apply(
    live: dict[str, Any],
    config: dict[str, Any],
    shape: Shape,
    *,
    manager: str,
    api_version: str,
    now: str,
    force: bool = False,
) -> dict[str, Any]:
    """The object as it should be. Raises ApplyConflict. `live` is {} when the object does not exist yet."""
    entries = list(live.get("metadata", {}).get("managedFields") or [])
    owned = {each["manager"]: _flat(each.get("fieldsV1") or {}) for each in entries if each.get("operation") == "Apply"}
    mine, wanted = owned.pop(manager, frozenset()), fields_of(config, shape)
    taken = _conflicts(wanted, owned, live, config)
    if taken and not force:
        raise ApplyConflict([(other, _shown(path)) for other, path in taken])
    for other, path in taken:
        owned[other] -= {path}
    result = _merge(copy.deepcopy(live), copy.deepcopy(config), shape)
    # Whole elements first: without its key member an element could not be found any more.
    for path in sorted(mine - wanted - frozenset().union(*owned.values()), key=lambda path: path[-1] != "."):
        _remove(result, path)
    result.setdefault("metadata", {})["managedFields"] = _entries(
        entries, owned | {manager: wanted}, manager=manager, api_version=api_version, now=now, changed=mine != wanted
    )
    return result


def _entries(
    before: list[dict[str, Any]],
    owned: dict[str, Fields],
    *,
    manager: str,
    api_version: str,
    now: str,
    changed: bool,
) -> list[dict[str, Any]]:
    """managedFields afterwards; an unchanged entry keeps its time, so that applying again changes nothing."""
    times = {each["manager"]: each.get("time") for each in before if each.get("operation") == "Apply"}
    entry = {"operation": "Apply", "apiVersion": api_version, "fieldsType": "FieldsV1"}
    applied = []
    for name, fields in sorted(owned.items()):
        if fields:
            time = now if (name == manager and changed) else times.get(name) or now
            applied.append({"manager": name, **entry, "time": time, "fieldsV1": _nested(fields)})
    return applied + [each for each in before if each.get("operation") != "Apply"]


def _conflicts(
    wanted: Fields, owned: dict[str, Fields], live: dict[str, Any], config: dict[str, Any]
) -> list[tuple[str, Path]]:
    return [
        (other, path)
        for other, fields in sorted(owned.items())
        for path in sorted(wanted & fields)
        if path[-1] != "." and _find(live, path) != _find(config, path)
    ]


# --- merging ----------------------------------------------------------------------------------------------------


def _keys(shape: Shape | None, field: str) -> dict[str, Any] | None:
    """The members that tell the elements of a list apart; {} for a set of values, None for an atomic list."""
    if shape is None:
        return None
    if (shape.name, field) in _KEYS:
        return _KEYS[shape.name, field]
    key = merge_key(shape, field)
    return None if key is None else {key: None} if key else {}


def _merge(live: dict[str, Any], config: dict[str, Any], shape: Shape | None) -> dict[str, Any]:
    for field, value in config.items():
        inner = shape.members.get(field) if shape else None
        present = live.get(field)
        if isinstance(value, dict) and isinstance(present, dict):
            live[field] = _merge(present, value, inner)
        elif isinstance(value, list) and isinstance(present, list) and (keys := _keys(shape, field)) is not None:
            live[field] = _merge_list(present, value, inner.inner if inner else None, keys)
        elif value is not None:
            live[field] = value
    return live


def _merge_list(live: list[Any], config: list[Any], shape: Shape | None, keys: dict[str, Any]) -> list[Any]:
    if not keys:
        return live + [each for each in config if each not in live]
    places = {_item_key(each, keys): index for index, each in enumerate(live)}
    for each in config:
        place = places.get(_item_key(each, keys))
        if place is None:
            live.append(each)
        else:
            live[place] = _merge(live[place], each, shape)
    return live


def _item_key(item: Any, keys: dict[str, Any]) -> str:
    members = {key: item.get(key, default) for key, default in keys.items()} if isinstance(item, dict) else {}
    return "k:" + json.dumps({key: value for key, value in members.items() if value is not None}, separators=(",", ":"))


# --- field sets -------------------------------------------------------------------------------------------------


def fields_of(config: dict[str, Any], shape: Shape) -> Fields:
    """The fields a configuration names, without those that only say which object is meant."""
    return frozenset(
        path
        for path in _paths(config, shape, ())
        if path[0][2:] not in _IDENTITY and not (path[0] == "f:metadata" and _is_own(path[1:]))
    )


def _is_own(path: Path) -> bool:
    """Whether a path below metadata says which object is meant, or nothing at all."""
    return not path or path[0][2:] in _OWN_METADATA


def _paths(value: dict[str, Any], shape: Shape | None, prefix: Path) -> Iterator[Path]:
    for field, inner in value.items():
        path = (*prefix, f"f:{field}")
        member = shape.members.get(field) if shape else None
        if isinstance(inner, dict) and inner:
            yield from _paths(inner, member, path)
        elif isinstance(inner, list) and (keys := _keys(shape, field)) is not None:
            for item in inner:
                if not keys:
                    yield (*path, "v:" + json.dumps(item))
                elif isinstance(item, dict):
                    here = (*path, _item_key(item, keys))
                    yield (*here, ".")
                    yield from _paths(item, member.inner if member else None, here)
        elif inner is not None:
            yield path


def _flat(tree: dict[str, Any], prefix: Path = ()) -> Fields:
    paths: set[Path] = set()
    for key, inner in tree.items():
        path = (*prefix, key)
        paths |= _flat(inner, path) if inner else {path}
    return frozenset(paths)


def _nested(fields: Fields) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path in sorted(fields):
        place = tree
        for part in path:
            place = place.setdefault(part, {})
    return tree


def _shown(path: Path) -> str:
    """`.spec.containers[name="web"].image`"""
    text = ""
    for part in path:
        if part.startswith("f:"):
            text += f".{part[2:]}"
        elif part.startswith("k:"):
            members = json.loads(part[2:])
            text += "[" + ",".join(f"{key}={json.dumps(value)}" for key, value in members.items()) + "]"
        elif part.startswith("v:"):
            text += f"[={part[2:]}]"
    return text


_NOTHING = object()


def _find(document: Any, path: Path) -> Any:
    for part in path:
        document = _step(document, part)
        if document is _NOTHING:
            return _NOTHING
    return document


def _step(document: Any, part: str) -> Any:
    if part == ".":
        return document
    if part.startswith("f:"):
        return document.get(part[2:], _NOTHING) if isinstance(document, dict) else _NOTHING
    if not isinstance(document, list):
        return _NOTHING
    index = _index(document, part)
    return _NOTHING if index is None else document[index]


def _index(items: list[Any], part: str) -> int | None:
    wanted = json.loads(part[2:])
    for index, item in enumerate(items):
        if part.startswith("v:") and item == wanted:
            return index
        if (
            part.startswith("k:")
            and isinstance(item, dict)
            and all(item.get(key, "TCP" if key == "protocol" else None) == value for key, value in wanted.items())
        ):
            return index
    return None


def _remove(document: Any, path: Path) -> None:
    """Take away one field, or one element of a list."""
    if path[-1] == ".":
        path = path[:-1]
    parent = _find(document, path[:-1])
    last = path[-1]
    if last.startswith("f:") and isinstance(parent, dict):
        parent.pop(last[2:], None)
    elif isinstance(parent, list) and (index := _index(parent, last)) is not None:
        del parent[index]
