"""Who wrote which field: metadata.managedFields, and server-side apply, which merges by it. Pure.

Interface: `updated(live, new, ...)` after a create, update or patch gives the entries the object shall have;
`applied(live, config, ...)` gives the object that server-side apply wants, entries included. `ApplyConflict`: others
own some of the fields with other values. Documents are plain data; what is a list of what is said by a `Schema`.
Kubernetes: https://kubernetes.io/docs/reference/using-api/server-side-apply/; sigs.k8s.io/structured-merge-diff.

A set of fields is kept in the form of FieldsV1, a tree of path elements: `f:name` a member, `k:{...}` an element by its
keys, `v:...` an element of a set. A node without children is in the set; with children it is when it holds ".".

Invariants
- Every writer owns what it wrote, by name, operation, version and subresource. What a write changed, no one else owns
  any longer; what it removed, nobody does.
- An entry that is the same as before keeps its time, so that a write without effect changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec

from apiserver.schema.node import ANY, Schema

Fields = dict[str, Any]
Entry = dict[str, Any]

MAX_UPDATERS = 10
"""Managers of updates beyond these are kept as one, the oldest first."""
ANCIENT = "ancient-changes"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_CLIENT_SIDE_APPLY = "kubectl-client-side-apply"

# What says only which object is meant, or is the server's own: nobody's fields.
_STRIPPED: Fields = {
    "f:apiVersion": {},
    "f:kind": {},
    "f:metadata": {
        f"f:{each}": {}
        for each in (
            "name", "namespace", "uid", "resourceVersion", "creationTimestamp", "generation", "managedFields",
            "selfLink", "deletionTimestamp", "deletionGracePeriodSeconds",
        )
    },
}  # fmt: skip


@dataclass(frozen=True)
class Writer:
    """Who writes, in which version of the kind and through which subresource ("" for the object itself)."""

    manager: str
    api_version: str
    now: str
    subresource: str = ""

    def entry(self, operation: str, fields: Fields | msgspec.Raw, time: str = "") -> Entry:
        entry = {"apiVersion": self.api_version, "fieldsType": "FieldsV1", "fieldsV1": fields, "manager": self.manager,
                 "operation": operation}  # fmt: skip
        if self.subresource:
            entry["subresource"] = self.subresource
        return entry | {"time": time or self.now}  # in the order in which the class writes them


class ApplyConflict(Exception):
    """Fields that other managers own with other values: `fields` is (manager's description, path) pairs."""

    def __init__(self, fields: list[tuple[str, str]]) -> None:
        super().__init__(f"{len(fields)} conflicts")
        self.fields = fields

    @property
    def message(self) -> str:
        """In Kubernetes' words."""
        managers: dict[str, list[str]] = {}
        for manager, path in self.fields:
            managers.setdefault(manager, []).append(path)
        parts = [f"conflict with {manager}: {paths[0]}" if len(paths) == 1 else
                 f"conflicts with {manager}:\n" + "\n".join(f"- {path}" for path in paths)
                 for manager, paths in managers.items()]  # fmt: skip
        count = len(self.fields)
        return f"Apply failed with {count} conflict{'s' if count > 1 else ''}: " + "\n".join(parts)


# --- writes -----------------------------------------------------------------------------------------------------


def updated(
    live: Mapping[str, Any], new: Mapping[str, Any], schema: Schema, writer: Writer, *, given: list[Entry] | None = None
) -> list[Entry]:
    """The entries after a create ({} lived), update or patch. `given` are those the writer sent, if it sent any.

    Entries that are sent are taken, as Kubernetes does, and an empty list or one empty entry clears them.
    """
    before: list[Entry] = live.get("metadata", {}).get("managedFields") or []
    if given is not None and given != before and not writer.subresource:
        sound = all(map(_is_sound, given))
        before = [] if given in ([], [{}]) else given if sound else before
    changed, removed = compare(live, new, schema)
    changed, removed = _own(changed, writer), _own(removed, writer)
    if not changed and not removed:
        return before
    entries = []
    mine: Fields = {}
    for each in before:
        fields = _without(each.get("fieldsV1") or {}, removed)
        if _is(each, writer, "Update"):
            mine = union(mine, fields)
        elif fields := minus(fields, changed):
            entries.append(each if fields == each.get("fieldsV1") else {**each, "fieldsV1": fields})
    if changed:
        entries.append(writer.entry("Update", union(mine, changed)))
    elif mine:
        entries += [{**each, "fieldsV1": mine} for each in before if _is(each, writer, "Update")][:1]
    return _sorted(_capped(entries, writer))


def applied(
    live: dict[str, Any], config: dict[str, Any], schema: Schema, writer: Writer, *, force: bool = False
) -> dict[str, Any]:
    """The object as it should be. Raises ApplyConflict. `live` is {} when the object does not exist yet."""
    before = _taken_over(live, schema, writer)
    wanted = _own(fields_of(config, schema), writer)
    last = next((each.get("fieldsV1") or {} for each in before if _is(each, writer, "Apply")), {})
    others = [each for each in before if not _is(each, writer, "Apply")]
    kept = wanted
    for each in others:
        kept = union(kept, each.get("fieldsV1") or {})
    result = dict(merge(live, config, schema))
    prune(result, last, kept, schema)
    changed, removed = compare(live, result, schema)
    changed = _own(changed, writer)
    taken = [(each, common) for each in others if (common := _both(each.get("fieldsV1") or {}, changed))]
    if taken and not force:
        raise ApplyConflict([(_described(each), path) for each, common in taken for path in _shown(common)])
    entries = []
    for each in others:
        fields = minus(_without(each.get("fieldsV1") or {}, removed), changed)
        if fields:
            entries.append(each if fields == each.get("fieldsV1") else {**each, "fieldsV1": fields})
    if wanted:
        time = next((each.get("time", "") for each in before if _is(each, writer, "Apply")), "")
        entries.append(writer.entry("Apply", wanted, time if wanted == last else ""))
    metadata = result["metadata"] = {**result.get("metadata", {})}
    metadata["managedFields"] = _sorted(entries)
    return result


def _is_sound(entry: Entry) -> bool:
    """Whether a client's entry is one, so that nothing later trips over it."""
    if entry.get("operation") not in ("Apply", "Update") or not isinstance(entry.get("fieldsV1"), dict):
        return False
    left = [entry["fieldsV1"]]
    while left:
        for key, inner in left.pop().items():
            if not isinstance(inner, dict) or not (key == "." or key[:2] in ("f:", "v:", "k:", "i:")):
                return False
            if key[:2] == "k:" and _parsed(key[2:]).__class__ is not dict:
                return False
            left.append(inner)
    return True


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _own(fields: Fields, writer: Writer) -> Fields:
    """Without what is nobody's, and what this way of writing cannot change."""
    fields = {key: inner for key, inner in fields.items() if key not in ("f:apiVersion", "f:kind")}
    fields.pop("f:spec" if writer.subresource == "status" else "f:status", None)
    metadata = fields.get("f:metadata")
    if metadata is not None:
        owned = {key: inner for key, inner in metadata.items() if key not in _STRIPPED["f:metadata"] and key != "."}
        if owned:
            fields["f:metadata"] = owned
        else:
            del fields["f:metadata"]
    return fields


def _is(entry: Entry, writer: Writer, operation: str) -> bool:
    return (
        entry.get("manager") == writer.manager
        and entry.get("operation") == operation
        and (entry.get("subresource") or "") == writer.subresource
        and (operation == "Apply" or entry.get("apiVersion") == writer.api_version)
    )


def _sorted(entries: list[Entry]) -> list[Entry]:
    return sorted(entries, key=lambda each: (each.get("operation", ""), str(each.get("time") or ""),
                                             each.get("manager", ""), each.get("subresource") or ""))  # fmt: skip


def _capped(entries: list[Entry], writer: Writer) -> list[Entry]:
    """At most MAX_UPDATERS that update: the oldest of the same version become one."""
    updaters = [each for each in _sorted(entries) if each.get("operation") == "Update"]
    surplus = len(updaters) - MAX_UPDATERS
    if surplus <= 0:
        return entries
    oldest = [each for each in updaters if not _is(each, writer, "Update")][: surplus + 1]
    merged: Fields = {}
    for each in oldest:
        merged = union(merged, each.get("fieldsV1") or {})
    ancient = {**oldest[-1], "manager": ANCIENT, "fieldsV1": merged}
    ancient.pop("subresource", None)
    return [each for each in entries if not any(each is gone for gone in oldest)] + [ancient]


def _taken_over(live: dict[str, Any], schema: Schema, writer: Writer) -> list[Entry]:
    """The entries, where kubectl comes from client-side apply: what it applied then counts as applied by it now."""
    metadata = live.get("metadata", {})
    entries: list[Entry] = metadata.get("managedFields") or []
    text = (metadata.get("annotations") or {}).get(LAST_APPLIED)
    if writer.subresource or not text or any(_is(each, writer, "Apply") for each in entries):
        return entries
    former = [
        each for each in entries if each.get("manager") == _CLIENT_SIDE_APPLY and each.get("operation") == "Update"
    ]
    if writer.manager != "kubectl" and not former:
        return entries
    try:
        last = json.loads(text)
    except (ValueError, RecursionError):
        return entries
    if not isinstance(last, dict):
        return entries
    fields = _own(fields_of(last, schema), writer)
    metadata_fields = fields.get("f:metadata", {}).get("f:annotations", {})
    metadata_fields.pop(f"f:{LAST_APPLIED}", None)
    rest = [each for each in entries if not any(each is gone for gone in former)]
    for each in former:
        fields = union(fields, each.get("fieldsV1") or {}) if writer.manager == "kubectl" else fields
    return [*rest, *([] if writer.manager == "kubectl" else former), writer.entry("Apply", fields)]


def created(value: bytes, schema: Schema, writer: Writer) -> list[Entry]:
    """What `updated` says of a new object, from its bytes. The fields are bytes too, and those of a template's copies
    (whose specs and labels are the same) are found again instead of walked again."""
    members = _MEMBERS.decode(value)
    metadata = schema.properties["metadata"]
    parts = [
        _member_fields(metadata, key, bytes(content))
        for key, content in _MEMBERS.decode(members.pop("metadata")).items()
        if f"f:{key}" not in _STRIPPED["f:metadata"]
    ]
    parts = [b'"f:metadata":{%b}' % b",".join(parts)] if parts else []
    for key, content in members.items():
        if key not in ("apiVersion", "kind", "status"):
            parts.append(_member_fields(schema, key, bytes(content)))
    if not parts:
        return []
    return [writer.entry("Update", msgspec.Raw(b"{%b}" % b",".join(parts)))]


_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


@lru_cache(maxsize=1024)
def _member_fields(schema: Schema, key: str, content: bytes) -> bytes:
    return msgspec.json.encode(compare({}, {key: msgspec.json.decode(content)}, schema)[0])[1:-1]


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


def _both(one: Fields, other: Fields) -> Fields:
    return _combined(one, other, common=True)


def _without(one: Fields, gone: Fields) -> Fields:
    """Without the named fields and all below them."""
    if not gone:
        return one
    result: Fields = {}
    for key, inner in one.items():
        against = gone.get(key)
        if against is None:
            result[key] = inner
        elif against and (rest := _without(inner, against)):
            result[key] = rest
    return result


def _described(entry: Entry) -> str:
    text = json.dumps(entry.get("manager", ""))
    if entry.get("subresource"):
        text += f' with subresource "{entry["subresource"]}"'
    if entry.get("operation") == "Update":
        text += f" using {entry.get('apiVersion')}"
        if entry.get("time"):
            text += f" at {entry['time']}"
    return text


def _shown(fields: Fields, prefix: str = "") -> Iterator[str]:
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
        yield from _shown(inner, text)


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
