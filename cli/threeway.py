"""The three-way merge behind `apply`: what to change so that an object becomes what the manifest says. Pure.

Three documents take part: what was applied last time (from an annotation), what is to be applied now, and what the
server has. A field that was applied once and is no longer in the manifest is removed; a field nobody applied (a
default, another controller's) is left alone.
Kubernetes: https://kubernetes.io/docs/tasks/manage-kubernetes-objects/declarative-config/#how-apply-calculates-differences-and-merges-changes

    annotated(obj)                      the object with the annotation that remembers it
    last_applied(current)               what the annotation remembers
    patch(original, modified, current, strategic=...)   a strategic merge patch or a JSON merge patch; {} is no change
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"

Path = tuple[str, ...]
"""Field names from the root; list elements add nothing, so ("spec", "template", "spec", "containers", "ports")."""

MERGE_KEYS: dict[Path, str] = {
    ("containers",): "name",
    ("initContainers",): "name",
    ("ephemeralContainers",): "name",
    ("volumes",): "name",
    ("imagePullSecrets",): "name",
    ("hostAliases",): "ip",
    ("topologySpreadConstraints",): "topologyKey",
    ("resourceClaims",): "name",
    ("schedulingGates",): "name",
    ("env",): "name",
    ("containers", "ports"): "containerPort",
    ("initContainers", "ports"): "containerPort",
    ("volumeMounts",): "mountPath",
    ("volumeDevices",): "devicePath",
    ("spec", "ports"): "port",
    ("status", "conditions"): "type",
    ("status", "addresses"): "type",
    ("metadata", "ownerReferences"): "uid",
    ("metadata", "finalizers"): "",
    ("spec", "podCIDRs"): "",
    ("secrets",): "name",
}
"""How a path ends -> the key by which the list there merges; "" for lists of plain values. Other lists are replaced.

Kubernetes writes this as patchMergeKey beside the fields of its types
(https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/).
"""

RETAIN_KEYS: tuple[Path, ...] = (("volumes",), ("spec", "strategy"))
"""Unions: of these, the fields the manifest does not have are dropped, because two members cannot be set at once."""

STRATEGIC_GROUPS = ("", "apps", "batch", "autoscaling", "policy", "extensions")


def is_strategic(group: str) -> bool:
    """Whether a group's kinds understand strategic merge patches: Kubernetes' own do, custom resources do not."""
    return group in STRATEGIC_GROUPS or group.endswith(".k8s.io")


def annotated(obj: Mapping[str, Any]) -> dict[str, Any]:
    """The object with an annotation that holds the object, byte for byte as kubectl writes it."""
    meta = dict(obj.get("metadata") or {})
    annotations = {key: value for key, value in (meta.get("annotations") or {}).items() if key != ANNOTATION}
    bare = {**obj, "metadata": {**meta, "annotations": annotations}}
    text = _go_json(bare) + "\n"
    return {**bare, "metadata": {**meta, "annotations": {**annotations, ANNOTATION: text}}}


def last_applied(current: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the annotation remembers; None when there is none or it cannot be read."""
    text = ((current.get("metadata") or {}).get("annotations") or {}).get(ANNOTATION)
    try:
        found = json.loads(text) if text else None
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def patch(
    original: Mapping[str, Any] | None, modified: Mapping[str, Any], current: Mapping[str, Any], *, strategic: bool
) -> dict[str, Any]:
    """What turns `current` into `modified`, dropping what only `original` had. {} when nothing is to be done."""
    return _maps(original or {}, modified, current, (), strategic)


def _maps(
    original: Mapping[str, Any], modified: Mapping[str, Any], current: Mapping[str, Any], path: Path, strategic: bool
) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for field, wanted in modified.items():
        here = current.get(field)
        if wanted is None:
            if here is not None:
                result[field] = None
        elif here is None:
            result[field] = wanted
        else:
            result |= _field(field, original.get(field), wanted, here, (*path, field), strategic)
    for field in original:
        if field not in modified and field in current:
            result[field] = None
    if strategic and result and _lookup(RETAIN_KEYS, path):
        result["$retainKeys"] = sorted(modified)
    return result


def _field(field: str, original: Any, wanted: Any, here: Any, path: Path, strategic: bool) -> dict[str, Any]:
    """The patch's entries for one field that both have."""
    if isinstance(wanted, dict) and isinstance(here, dict):
        inner = _maps(original if isinstance(original, dict) else {}, wanted, here, path, strategic)
        return {field: inner} if inner else {}
    if isinstance(wanted, list) and isinstance(here, list) and strategic:
        key = merge_key(path)
        before = original if isinstance(original, list) else []
        if key == "":
            return _plain_lists(field, before, wanted, here)
        if key and all(isinstance(each, dict) and key in each for each in [*wanted, *here]):
            return _keyed_lists(field, before, wanted, here, path, key)
    return {} if _same(wanted, here) else {field: wanted}


def merge_key(path: Path) -> str | None:
    """The key by which the list at a path merges; None for a list that is replaced as a whole."""
    found = _lookup(tuple(MERGE_KEYS), path)
    return None if found is None else MERGE_KEYS[found]


def _lookup(endings: Sequence[Path], path: Path) -> Path | None:
    return next((each for each in endings if path[-len(each) :] == each), None)


def _plain_lists(field: str, original: Sequence[Any], wanted: Sequence[Any], here: Sequence[Any]) -> dict[str, Any]:
    added = [each for each in wanted if each not in here]
    removed = [each for each in original if each not in wanted and each in here]
    result: dict[str, Any] = {field: added} if added else {}
    if removed:
        result[f"$deleteFromPrimitiveList/{field}"] = removed
    if result:
        result[f"$setElementOrder/{field}"] = list(wanted)
    return result


def _keyed_lists(
    field: str, original: Sequence[Any], wanted: Sequence[Any], here: Sequence[Any], path: Path, key: str
) -> dict[str, Any]:
    if _has_duplicates(wanted, key) or _has_duplicates(here, key):
        return _whole_list(field, wanted, here, path)
    present = {each[key]: each for each in here}
    before = {each[key]: each for each in original if isinstance(each, dict) and key in each}
    names = [each[key] for each in wanted]
    changes: list[dict[str, Any]] = []
    for each in wanted:
        if each[key] not in present:
            changes.append(each)
        elif inner := _maps(before.get(each[key], {}), each, present[each[key]], path, True):
            changes.append({**inner, key: each[key]})
    changes += [{"$patch": "delete", key: name} for name in before if name not in names and name in present]
    reordered = [each[key] for each in here if each[key] in names] != [name for name in names if name in present]
    if not changes and not reordered:
        return {}
    order = {f"$setElementOrder/{field}": [{key: name} for name in names]}
    return {field: changes, **order} if changes else order


def _whole_list(field: str, wanted: Sequence[Any], here: Sequence[Any], path: Path) -> dict[str, Any]:
    """A list whose key is not unique (one port over TCP and UDP) cannot be merged: it is replaced, if need be."""
    same = len(wanted) == len(here) and not any(
        _maps({}, new, old, path, True) for new, old in zip(wanted, here, strict=True)
    )
    return {} if same else {field: [*wanted, {"$patch": "replace"}]}


def _has_duplicates(items: Sequence[Mapping[str, Any]], key: str) -> bool:
    return len({json.dumps(each[key]) for each in items}) < len(items)


def _same(one: Any, other: Any) -> bool:
    """Equality of JSON values: unlike in Python, true is not 1."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _go_json(value: Any) -> str:
    """JSON as Go's encoder writes it: sorted, compact, with HTML's special characters escaped."""
    text = json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text
