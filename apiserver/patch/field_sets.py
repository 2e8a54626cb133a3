"""Sets of fields, in the form of FieldsV1: what a document names, what a write changed, and sets of both. Pure.

A set is a tree of path elements: `f:name` a member, `k:{...}` an element by its keys, `v:...` an element of a set. A
node without children is in the set; with children it is when it holds ".". What is a list of what, says a `Schema`.
Kubernetes: https://kubernetes.io/docs/reference/using-api/server-side-apply/; sigs.k8s.io/structured-merge-diff.

Interface: `fields_of` a value, `compare` two; `union`, `minus`, `both`, `without`; `shown` as paths; `merge` and
`prune` do with values what the sets say.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec

from apiserver.schema.node import ANY, Schema

Fields = dict[str, Any]


# --- documents to sets ------------------------------------------------------------------------------------------


def _is_granular(value: Any, schema: Schema) -> bool:
    """Whether the members or elements of a value have owners of their own."""
    if schema.atomic or not value:
        return False
    if value.__class__ is dict:
        return schema.type in ("object", "map")
    return value.__class__ is list and schema.type == "array" and (not schema.keys or all(map(_is_dict, value)))


def _is_dict(value: Any) -> bool:
    return value.__class__ is dict


def _member(schema: Schema, key: str) -> Schema:
    return schema.properties.get(key) or schema.items or ANY


def element(item: Any, schema: Schema) -> str:
    """The path element of an element of a list."""
    if not schema.keys:
        return "v:" + _encode(item).decode()
    members = {key: item.get(key, schema.key_defaults.get(key)) for key in schema.keys}
    return "k:" + _encode({key: value for key, value in members.items() if value is not None}).decode()


_encode = msgspec.json.Encoder(order="sorted").encode


def fields_of(value: Any, schema: Schema, *, added: bool = False) -> Fields:
    """The fields a value names. `added`: maps and lists that came into being are themselves fields too."""
    fields: Fields = {}
    if not _is_granular(value, schema):
        return fields
    if value.__class__ is list:
        inner = schema.items or ANY
        for item in value:
            below = fields_of(item, inner, added=added) if schema.keys else {}
            fields[element(item, schema)] = {".": {}, **below} if below else {}
        return fields
    if added and schema.type == "map":
        fields["."] = {}
    properties, items = schema.properties, schema.items or ANY
    for key, member in value.items():
        kind = member.__class__
        if kind is not dict and kind is not list:
            fields["f:" + key] = {}
            continue
        below = fields["f:" + key] = fields_of(member, properties.get(key, items), added=added)
        if added and below and kind is list and key not in schema.required:
            fields["f:" + key] = {".": {}, **below}
    return fields


def compare(old: Any, new: Any, schema: Schema) -> tuple[Fields, Fields]:
    """The fields that came or have another value, and those that went: of these all below goes with them."""
    before, after, prefix = old, new, "f:"
    if new.__class__ is list:
        before = {element(each, schema): each for each in old}
        after = {element(each, schema): each for each in new}
        prefix = ""
    changed: Fields = {}
    removed: Fields = {prefix + key: {} for key, value in before.items() if value is not None and key not in after}
    for key, value in after.items():
        was = before.get(key)
        if was == value:
            continue
        inner = _member(schema, key) if prefix else schema.items or ANY
        key = prefix + key
        if was is None or not (_is_granular(was, inner) and _is_granular(value, inner)):
            changed[key] = _came(key, value, inner, schema)
            if was is not None and value is None:
                changed.pop(key)
                removed[key] = {}
            continue
        came, went = compare(was, value, inner)
        if came:
            changed[key] = came
        if went:
            removed[key] = went
    return changed, removed


def _came(key: str, value: Any, inner: Schema, outer: Schema) -> Fields:
    below = fields_of(value, inner, added=True)
    if below and (key[0] == "k" or (value.__class__ is list and key[2:] not in outer.required)):
        return {".": {}, **below}
    return below


# --- sets -------------------------------------------------------------------------------------------------------


def _has(node: Fields) -> bool:
    return not node or "." in node


def _made(member: bool, below: Fields) -> Fields | None:
    """A node of a tree; None: it is not there at all."""
    if not below:
        return {} if member else None
    return {".": {}, **below} if member else below


def _below(node: Fields) -> Iterator[tuple[str, Fields]]:
    return ((key, inner) for key, inner in node.items() if key != ".")


def union(one: Fields, other: Fields) -> Fields:
    result = dict(one)
    for key, inner in other.items():
        mine = result.get(key)
        if mine is None or mine == inner:
            result[key] = inner
        elif key != ".":
            merged = union(dict(_below(mine)), dict(_below(inner)))
            result[key] = _made(_has(mine) or _has(inner), merged) or {}
    return result


def _combined(one: Fields, other: Fields, *, common: bool) -> Fields:
    """What is in both, or what is in `one` alone."""
    result: Fields = {}
    for key, inner in _below(one):
        against = other.get(key)
        if against is None:
            if not common:
                result[key] = inner
            continue
        member = _has(inner) and _has(against) is common
        node = _made(member, _combined(inner, against, common=common))
        if node is not None:
            result[key] = node
    return result


def minus(one: Fields, other: Fields) -> Fields:
    return _combined(one, other, common=False)


def both(one: Fields, other: Fields) -> Fields:
    return _combined(one, other, common=True)


def without(one: Fields, gone: Fields) -> Fields:
    """Without the named fields and all below them."""
    if not gone:
        return one
    result: Fields = {}
    for key, inner in one.items():
        against = gone.get(key)
        if against is None:
            result[key] = inner
        elif against and (rest := without(inner, against)):
            result[key] = rest
    return result


def shown(fields: Fields, prefix: str = "") -> Iterator[str]:
    """`.spec.containers[name="web"].image` for each field."""
    for key, inner in _below(fields):
        if key[:2] == "f:":
            text = f"{prefix}.{key[2:]}"
        elif key[:2] == "k:":
            members = json.loads(key[2:])
            text = f"{prefix}[{','.join(f'{name}={json.dumps(value)}' for name, value in members.items())}]"
        else:
            text = f"{prefix}[={key[2:]}]"
        if _has(inner):
            yield text
        yield from shown(inner, text)


# --- merging ----------------------------------------------------------------------------------------------------


def merge(live: Any, config: Any, schema: Schema) -> Any:
    """The live value with what the configuration says; neither is changed, parts of both are shared."""
    if not (_is_granular(config, schema) and _is_granular(live, schema)):
        return live if config == {} and live.__class__ is dict and not schema.atomic else config
    if config.__class__ is dict:
        result = dict(live)
        for key, value in config.items():
            if key in result:
                result[key] = merge(result[key], value, _member(schema, key))
            else:
                result[key] = value
        return result
    items = {element(each, schema): each for each in live}
    for each in config:
        key = element(each, schema)
        items[key] = merge(items[key], each, schema.items or ANY) if key in items else each
    return list(items.values())


def prune(value: Any, last: Fields, kept: Fields, schema: Schema) -> None:
    """Take away what the manager applied last and neither it nor anyone else names now.

    Containers that are changed are copied first, so that what `value` shares with others stays as it is.
    """
    for key, inner in _below(last):
        wanted = kept.get(key)
        place, found = _find(value, key, schema)
        if found is None:
            continue
        if wanted is None and _has(inner):
            _drop(value, place)
            continue
        if not any(each != "." for each in inner) or not isinstance(found, dict | list):
            continue
        own = found.copy()
        value[place] = own
        below = schema.items if key[0] == "k" else _member(schema, key[2:])
        prune(own, inner, wanted or {}, below or ANY)
        if not own:
            _drop(value, place)
    if isinstance(value, list):
        value[:] = [each for each in value if each is not _GONE]


_GONE = object()
"""Stands in a list for an element that goes, so that the others keep their places until the end."""


def _drop(value: Any, place: Any) -> None:
    if isinstance(value, dict):
        del value[place]
    else:
        value[place] = _GONE


def _find(value: Any, key: str, schema: Schema) -> tuple[Any, Any]:
    if key[:2] == "f:":
        return key[2:], value.get(key[2:]) if isinstance(value, dict) else None
    if isinstance(value, list) and schema.type == "array":
        for index, each in enumerate(value):
            if each is not _GONE and (not schema.keys or isinstance(each, dict)) and element(each, schema) == key:
                return index, each
    return None, None
