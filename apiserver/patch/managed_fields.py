"""Who wrote which field: metadata.managedFields, and server-side apply, which merges by it. Pure.

Interface: `updated(live, new, ...)` after a create, update or patch gives the entries the object shall have;
`applied(live, config, ...)` gives the object that server-side apply wants, entries included. `ApplyConflict`: others
own some of the fields with other values. Documents are plain data; what is a list of what is said by a `Schema`.
Kubernetes: https://kubernetes.io/docs/reference/using-api/server-side-apply/; sigs.k8s.io/structured-merge-diff.

Invariants
- Every writer owns what it wrote, by name, operation, version and subresource. What a write changed, no one else owns
  any longer; what it removed, nobody does.
- An entry that is the same as before keeps its time, so that a write without effect changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec

from apiserver.patch.field_sets import Fields, both, compare, fields_of, merge, minus, prune, shown, union, without
from apiserver.schema.node import ANY, Schema

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
    own = [each for each in before if _is(each, writer, "Update")]
    entries = _left([each for each in before if not _is(each, writer, "Update")], changed, removed)
    mine: Fields = {}
    for each in own:
        mine = union(mine, without(_fields(each), removed))
    if changed:
        entries.append(writer.entry("Update", union(mine, changed)))
    elif mine:
        entries.append({**own[0], "fieldsV1": mine})
    return _sorted(_capped(entries, writer))


def applied(
    live: dict[str, Any], config: dict[str, Any], schema: Schema, writer: Writer, *, force: bool = False
) -> dict[str, Any]:
    """The object as it should be. Raises ApplyConflict. `live` is {} when the object does not exist yet."""
    before = _taken_over(live, schema, writer)
    wanted = kept = _own(fields_of(config, schema), writer)
    former = next((each for each in before if _is(each, writer, "Apply")), {})
    others = [each for each in before if not _is(each, writer, "Apply")]
    for each in others:
        kept = union(kept, _fields(each))
    result = dict(merge(live, config, schema))
    prune(result, _fields(former), kept, schema)
    changed, removed = compare(live, result, schema)
    changed = _own(changed, writer)
    taken = [(each, common) for each in others if (common := both(_fields(each), changed))]
    if taken and not force:
        raise ApplyConflict([(_described(each), path) for each, common in taken for path in shown(common)])
    entries = _left(others, changed, removed)
    if wanted:
        time = former.get("time", "") if wanted == _fields(former) else ""
        entries.append(writer.entry("Apply", wanted, time))
    metadata = result["metadata"] = {**result.get("metadata", {})}
    metadata["managedFields"] = _sorted(entries)
    return result


def _fields(entry: Entry) -> Fields:
    return entry.get("fieldsV1") or {}


def _left(entries: list[Entry], changed: Fields, removed: Fields) -> list[Entry]:
    """What others still own when a write has changed and removed fields; an entry that stays the same is the same."""
    left = []
    for each in entries:
        before = _fields(each)
        if after := minus(without(before, removed), changed):
            left.append(each if after == before else {**each, "fieldsV1": after})
    return left


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
        merged = union(merged, _fields(each))
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
        fields = union(fields, _fields(each)) if writer.manager == "kubectl" else fields
    return [*rest, *([] if writer.manager == "kubectl" else former), writer.entry("Apply", fields)]


def created(value: bytes, schema: Schema, writer: Writer) -> list[Entry]:
    """What `updated` says of a new object, from its bytes. The fields are bytes too, and those of a member that came
    before (pods of one template differ in little) are found again instead of worked out again."""
    members, parts = _MEMBERS.decode(value), []
    own = [
        _member_fields(schema.properties["metadata"], key, bytes(content))
        for key, content in _MEMBERS.decode(members.pop("metadata")).items()
        if f"f:{key}" not in _STRIPPED["f:metadata"]
    ]
    if own:
        parts.append(b'"f:metadata":{%b}' % b",".join(own))
    for key, content in members.items():
        if key not in ("apiVersion", "kind", "status"):
            parts.append(_member_fields(schema, key, bytes(content)))
    return [writer.entry("Update", msgspec.Raw(b"{%b}" % b",".join(parts)))] if parts else []


_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
REMEMBERED_BYTES = 16384
"""How large a member is at most whose fields are remembered: there are 4,096 of them."""


def _member_fields(schema: Schema, key: str, content: bytes) -> bytes:
    return (_remembered if len(content) <= REMEMBERED_BYTES else _worked_out)(schema, key, content)


def _worked_out(schema: Schema, key: str, content: bytes) -> bytes:
    inner = schema.properties.get(key, ANY)
    if inner.type == "object" and not inner.atomic and content[:1] == b"{":
        below = [_member_fields(inner, name, bytes(each)) for name, each in _MEMBERS.decode(content).items()]
        return b'"f:%b":{%b}' % (key.encode(), b",".join(filter(None, below)))
    return msgspec.json.encode(compare({}, {key: msgspec.json.decode(content)}, schema)[0])[1:-1]


_remembered = lru_cache(maxsize=4096)(_worked_out)


def _described(entry: Entry) -> str:
    text = json.dumps(entry.get("manager", ""))
    if entry.get("subresource"):
        text += f' with subresource "{entry["subresource"]}"'
    if entry.get("operation") == "Update":
        text += f" using {entry.get('apiVersion')}"
        if entry.get("time"):
            text += f" at {entry['time']}"
    return text
