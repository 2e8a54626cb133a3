"""Strategic merge patch: a merge patch that knows which lists are maps by some key. Pure.

Interface: `strategic_patch(document, patch, schema)` returns the result and leaves its arguments alone.
Kubernetes: k8s.io/apimachinery/pkg/util/strategicpatch; the directives are $patch, $retainKeys,
$deleteFromPrimitiveList/<field> and $setElementOrder/<field>.
"""

from __future__ import annotations

import copy
import json
from typing import Any

from apiserver.patch.json_patch import PatchError
from apiserver.schema.node import ANY, Schema

_PATCH = "$patch"
_RETAIN = "$retainKeys"
_DELETE_FROM = "$deleteFromPrimitiveList/"
_ORDER = "$setElementOrder/"


def strategic_patch(document: dict[str, Any], patch: dict[str, Any], schema: Schema) -> dict[str, Any]:
    """Raises PatchError for a patch that breaks the rules of its directives."""
    return _merge_map(copy.deepcopy(document), copy.deepcopy(patch), schema)


def _member(schema: Schema, field: str) -> Schema:
    return schema.properties.get(field) or schema.items or ANY


def _merge_map(original: dict[str, Any], patch: dict[str, Any], schema: Schema) -> dict[str, Any]:
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
            original[field] = _merge_value(original.get(field), value, schema, field, orders.get(field))
    return original


def _retain(original: dict[str, Any], patch: dict[str, Any]) -> None:
    keys = patch.pop(_RETAIN, None)
    if keys is None:
        return
    names = {each for each in keys if isinstance(each, str)} if isinstance(keys, list) else set()
    if not isinstance(keys, list) or any(key not in names for key in patch if not key.startswith("$")):
        raise PatchError("the $retainKeys list doesn't contain all fields present in the patch")
    for key in [*original]:
        if key not in names:
            del original[key]


def _delete_values(original: dict[str, Any], field: str, values: Any) -> None:
    present = original.get(field)
    if not isinstance(values, list):
        raise PatchError(f"{_DELETE_FROM}{field} must be a list")
    if isinstance(present, list):
        gone = _distinct(values)
        original[field] = [each for each in present if _identity(each) not in gone]


def _merge_value(original: Any, value: Any, schema: Schema, field: str, order: Any) -> Any:
    inner = _member(schema, field)
    if isinstance(value, dict):
        return _merge_map(original if isinstance(original, dict) else {}, value, inner)
    if not isinstance(value, list) or inner.merge_key is None:
        return value
    present = original if isinstance(original, list) else []
    if inner.merge_key:
        return _merge_list(present, value, inner.items or ANY, inner.merge_key, order)
    merged = [*_distinct(present + value).values()]
    return _ordered(merged, present, order, _identity) if isinstance(order, list) else merged


def _identity(value: Any) -> Any:
    """What tells values apart in a table: objects and arrays by what they hold."""
    return (value.__class__, value if isinstance(value, str | int | float | None) else json.dumps(value))


def _distinct(values: list[Any]) -> dict[Any, Any]:
    return {_identity(each): each for each in values}


def _merge_list(present: list[Any], patch: list[Any], schema: Schema, key: str, order: Any) -> list[Any]:
    """Elements are looked up by their keys, so that long lists cost their length."""
    merged: list[Any] = [*present]
    wanted, gone = [], set()
    for each in patch:
        if not isinstance(each, dict):
            raise PatchError(f"expected an object with the merge key {key}")
        directive = each.get(_PATCH, "merge")
        if directive == "replace" and key not in each:
            merged = []
        elif key not in each:
            raise PatchError(f"map: {str(each)[:200]} does not contain declared merge key: {key}")
        elif directive == "delete":
            gone.add(_identity(each[key]))
        else:
            wanted.append(each)
    merged = [each for each in merged if _identity(_key_of(each, key)) not in gone]
    places: dict[Any, int] = {}
    for index, each in enumerate(merged):
        places.setdefault(_identity(_key_of(each, key)), index)
    for each in wanted:
        place = places.setdefault(_identity(each[key]), len(merged))
        if place == len(merged):
            merged.append(_merge_map({}, each, schema))
        else:
            merged[place] = _merge_map(merged[place], each, schema)
    if isinstance(order, list):
        keys = [_key_of(each, key) for each in order]
        return _ordered(merged, present, keys, lambda each: _identity(_key_of(each, key)))
    return merged


def _key_of(element: Any, key: str) -> Any:
    return element.get(key) if isinstance(element, dict) else None


def _ordered(merged: list[Any], present: list[Any], order: list[Any], identify: Any) -> list[Any]:
    """Elements the patch orders, in that order; the others keep their places relative to them."""
    ranks: dict[Any, int] = {}
    for each in order:
        ranks.setdefault(_identity(each), len(ranks))
    listed = sorted((each for each in merged if identify(each) in ranks), key=lambda each: ranks[identify(each)])
    others = [each for each in merged if identify(each) not in ranks]
    places: dict[Any, int] = {}
    for index, each in enumerate(present):
        places.setdefault(identify(each), index)
    result, left, right = [], 0, 0
    while left < len(others) and right < len(listed):
        if places.get(identify(others[left]), -1) < places.get(identify(listed[right]), -1):
            result.append(others[left])
            left += 1
        else:
            result.append(listed[right])
            right += 1
    return result + listed[right:] + others[left:]
