"""Strategic merge patch: a merge patch that knows which lists are maps by some key. Pure.

Interface: `strategic_patch(document, patch, shape)` returns the result and leaves its arguments alone.
Kubernetes: k8s.io/apimachinery/pkg/util/strategicpatch; the directives are $patch, $retainKeys,
$deleteFromPrimitiveList/<field> and $setElementOrder/<field>.

`_MERGE` holds what Kubernetes' Go types say in their patchStrategy and patchMergeKey tags, for the types our kinds use.
"""

from __future__ import annotations

import copy
from typing import Any

from apiserver.codec import Shape
from apiserver.json_patch import PatchError

_PATCH = "$patch"
_RETAIN = "$retainKeys"
_DELETE_FROM = "$deleteFromPrimitiveList/"
_ORDER = "$setElementOrder/"

# (type, field) -> the key its elements are merged by; "" for lists of plain values, which merge as sets.
_MERGE: dict[tuple[str, str], str] = {
    ("ObjectMeta", "finalizers"): "",
    ("ObjectMeta", "ownerReferences"): "uid",
    ("PodSpec", "containers"): "name",
    ("PodSpec", "initContainers"): "name",
    ("PodSpec", "ephemeralContainers"): "name",
    ("PodSpec", "volumes"): "name",
    ("PodSpec", "imagePullSecrets"): "name",
    ("PodSpec", "hostAliases"): "ip",
    ("PodSpec", "topologySpreadConstraints"): "topologyKey",
    ("PodSpec", "schedulingGates"): "name",
    ("PodSpec", "resourceClaims"): "name",
    ("Container", "env"): "name",
    ("Container", "ports"): "containerPort",
    ("Container", "volumeMounts"): "mountPath",
    ("Container", "volumeDevices"): "devicePath",
    ("EphemeralContainer", "env"): "name",
    ("EphemeralContainer", "ports"): "containerPort",
    ("EphemeralContainer", "volumeMounts"): "mountPath",
    ("EphemeralContainer", "volumeDevices"): "devicePath",
    ("PodStatus", "conditions"): "type",
    ("PodStatus", "podIPs"): "ip",
    ("PodStatus", "hostIPs"): "ip",
    ("PodStatus", "resourceClaimStatuses"): "name",
    ("NodeSpec", "podCIDRs"): "",
    ("NodeStatus", "conditions"): "type",
    ("NodeStatus", "addresses"): "type",
    ("NamespaceStatus", "conditions"): "type",
    ("ServiceSpec", "ports"): "port",
    ("ServiceStatus", "conditions"): "type",
    ("ServiceAccount", "secrets"): "name",
    ("DeploymentStatus", "conditions"): "type",
    ("ReplicaSetStatus", "conditions"): "type",
}


def strategic_patch(document: dict[str, Any], patch: dict[str, Any], shape: Shape) -> dict[str, Any]:
    """Raises PatchError for a patch that breaks the rules of its directives."""
    return _merge_map(copy.deepcopy(document), copy.deepcopy(patch), shape)


def merge_key(shape: Shape | None, field: str) -> str | None:
    """The key by which the list in `field` merges ("" for a set of values); None: the list is replaced."""
    return _MERGE.get((shape.name, field)) if shape else None


def _member(shape: Shape | None, field: str) -> Shape | None:
    return shape.members.get(field) if shape else None


def _merge_map(original: dict[str, Any], patch: dict[str, Any], shape: Shape | None) -> dict[str, Any]:
    directive = patch.pop(_PATCH, "merge")
    if directive == "replace":
        return patch
    if directive == "delete":
        return {}
    if directive != "merge":
        raise PatchError(f"unknown patch type: {directive}")
    _retain(original, patch)
    orders = {key[len(_ORDER) :]: patch.pop(key) for key in [*patch] if key.startswith(_ORDER)}
    for key in [*patch]:
        if key.startswith(_DELETE_FROM):
            _delete_values(original, key[len(_DELETE_FROM) :], patch.pop(key))
    for field in orders:
        if field in original and field not in patch:
            patch[field] = []
    for field, value in patch.items():
        if value is None:
            original.pop(field, None)
        else:
            original[field] = _merge_value(original.get(field), value, shape, field, orders.get(field))
    return original


def _retain(original: dict[str, Any], patch: dict[str, Any]) -> None:
    keys = patch.pop(_RETAIN, None)
    if keys is None:
        return
    if not isinstance(keys, list) or any(key not in keys for key in patch if not key.startswith("$")):
        raise PatchError("the $retainKeys list doesn't contain all fields present in the patch")
    for key in [*original]:
        if key not in keys:
            del original[key]


def _delete_values(original: dict[str, Any], field: str, values: Any) -> None:
    present = original.get(field)
    if not isinstance(values, list):
        raise PatchError(f"{_DELETE_FROM}{field} must be a list")
    if isinstance(present, list):
        original[field] = [each for each in present if each not in values]


def _merge_value(original: Any, value: Any, shape: Shape | None, field: str, order: Any) -> Any:
    inner = _member(shape, field)
    if isinstance(value, dict):
        return _merge_map(original if isinstance(original, dict) else {}, value, inner)
    if not isinstance(value, list):
        return value
    key = merge_key(shape, field)
    if key is None:
        return value
    present = original if isinstance(original, list) else []
    if key == "":
        merged = present + [each for each in value if each not in present]
        return _ordered(merged, present, order, lambda each: each) if isinstance(order, list) else merged
    return _merge_list(present, value, inner.inner if inner else None, key, order)


def _merge_list(present: list[Any], patch: list[Any], shape: Shape | None, key: str, order: Any) -> list[Any]:
    merged = [*present]
    wanted = []
    for each in patch:
        if not isinstance(each, dict):
            raise PatchError(f"expected an object with the merge key {key}")
        directive = each.get(_PATCH, "merge")
        if directive == "replace" and key not in each:
            merged = []
        elif key not in each:
            raise PatchError(f"map: {each} does not contain declared merge key: {key}")
        elif directive == "delete":
            merged = [other for other in merged if _key_of(other, key) != each[key]]
        else:
            wanted.append(each)
    for each in wanted:
        place = next((index for index, other in enumerate(merged) if _key_of(other, key) == each[key]), None)
        if place is None:
            merged.append(_merge_map({}, each, shape))
        else:
            merged[place] = _merge_map(merged[place], each, shape)
    if isinstance(order, list):
        return _ordered(merged, present, [_key_of(each, key) for each in order], lambda each: _key_of(each, key))
    return merged


def _key_of(element: Any, key: str) -> Any:
    return element.get(key) if isinstance(element, dict) else None


def _ordered(merged: list[Any], present: list[Any], order: list[Any], identify: Any) -> list[Any]:
    """Elements the patch orders, in that order; the others keep their places relative to them."""
    listed = sorted((each for each in merged if identify(each) in order), key=lambda each: order.index(identify(each)))
    others = [each for each in merged if identify(each) not in order]
    places = [identify(each) for each in present]
    place = {id(each): places.index(identify(each)) if identify(each) in places else -1 for each in merged}
    result = []
    while listed and others:
        source = others if place[id(others[0])] < place[id(listed[0])] else listed
        result.append(source.pop(0))
    return result + listed + others
