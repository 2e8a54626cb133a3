"""Whether an apply configuration can be merged: what its schema does not declare, and elements told apart by nothing.

Interface: `check(config, schema)` raises `Untypable`. Nothing is dropped here: an apply owns every field it names, so a
name nobody knows is refused whatever the field validation. The words are those of
https://github.com/kubernetes-sigs/structured-merge-diff.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from apiserver.schema.node import Schema

MAX_FAULTS = 10


class Untypable(ValueError):
    """The configuration does not fit; the text says where."""


def check(config: Any, schema: Schema) -> None:
    found = _faults(config, schema, "")
    faults = [text for text, _ in zip(found, range(MAX_FAULTS), strict=False)]
    if faults:
        raise Untypable(faults[0] if len(faults) == 1 else "errors:\n" + "\n".join(f"  {each}" for each in faults))


def _faults(value: Any, schema: Schema, path: str) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            member = schema.properties.get(key) or schema.items
            if member is not None:
                yield from _faults(inner, member, f"{path}.{key}")
            elif schema.type == "object":
                yield f"{path}.{key}: field not declared in schema"
    elif isinstance(value, list) and schema.type == "array" and schema.items is not None:
        names = _names(value, schema)
        seen: set[str] = set()
        for index, (name, inner) in enumerate(zip(names, value, strict=True)):
            if name is None:
                yield f"{path}: element {index}: associative list with keys has an element that omits a key field"
            elif name in seen:
                yield f"{path}: duplicate entries for key {name}"
            seen.add(name or "")
            yield from _faults(inner, schema.items, path + (name or f"[{index}]"))


def _names(value: list[Any], schema: Schema) -> Iterator[str | None]:
    """What tells each element apart: its place in an atomic list; None where there is nothing."""
    for index, each in enumerate(value):
        if schema.atomic or (schema.keys and not isinstance(each, dict)):
            yield f"[{index}]"
        elif not schema.keys:
            yield f"[={json.dumps(each)}]"
        elif any(each.get(key, schema.key_defaults.get(key)) is None for key in schema.keys):
            yield None
        else:
            members = {key: each.get(key, schema.key_defaults.get(key)) for key in schema.keys}
            yield f"[{','.join(f'{key}={json.dumps(member)}' for key, member in sorted(members.items()))}]"
