"""JSON Patch (RFC 6902), JSON pointers (RFC 6901) and JSON Merge Patch (RFC 7386) on plain data. Pure.

Interface: `json_patch(document, operations)`, `merge_patch(document, patch)`; both return the result and leave their
arguments alone. `PatchError`: the patch is malformed. `PatchConflict`: it does not fit the document.
"""

from __future__ import annotations

import copy
from typing import Any

import msgspec

MAX_OPERATIONS = 10_000
MAX_COPIED_BYTES = 3 * 1024 * 1024
"""What all `copy` operations of one patch may add together, as JSON; Kubernetes' limit is that of a body."""
MAX_MOVED_ITEMS = 20_000_000
"""How many elements of arrays may be shifted by operations at their front."""


class PatchError(ValueError):
    """The patch itself is malformed: HTTP 400."""


class PatchConflict(ValueError):
    """The patch does not fit this object, or a test failed: HTTP 422."""


def merge_patch(document: Any, patch: Any) -> Any:
    """RFC 7386: objects merge, null removes, everything else replaces."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(document) if isinstance(document, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


def json_patch(document: Any, operations: Any) -> Any:
    """RFC 6902: apply all operations, or raise."""
    if not isinstance(operations, list):
        raise PatchError("a JSON patch is an array of operations")
    if len(operations) > MAX_OPERATIONS:
        raise PatchError(f"the allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {len(operations)}")
    result = copy.deepcopy(document)
    budget = _Budget()
    for index, operation in enumerate(operations):
        if not isinstance(operation, dict) or not isinstance(operation.get("path"), str):
            raise PatchError(f"operation {index} has no op and path")
        result = _apply(result, operation, budget)
    return result


class _Budget:
    """What a patch may still cost beyond its own length."""

    def __init__(self) -> None:
        self.copied_bytes = self.moved_items = 0

    def copy(self, value: Any) -> Any:
        encoded = msgspec.json.encode(value)
        self.copied_bytes += len(encoded)
        if self.copied_bytes > MAX_COPIED_BYTES:
            raise PatchConflict(
                "unable to complete the copy, the accumulated size increase of copy is "
                f"{self.copied_bytes}, exceeding the limit {MAX_COPIED_BYTES}"
            )
        return msgspec.json.decode(encoded)

    def move(self, parent: Any) -> None:
        self.moved_items += len(parent) if isinstance(parent, list) else 0
        if self.moved_items > MAX_MOVED_ITEMS:
            raise PatchConflict("the operations move too many elements of arrays")


def _apply(document: Any, operation: dict[str, Any], budget: _Budget) -> Any:
    path = _pointer(operation["path"])
    match operation.get("op"):
        case "add":
            return _add(document, path, copy.deepcopy(_value(operation)), budget)
        case "remove":
            return _remove(document, path, budget)[0]
        case "replace":
            _find(document, path)
            return _replace(document, path, copy.deepcopy(_value(operation)))
        case "move":
            source = _source(operation)
            if path[: len(source)] == source and path != source:
                raise PatchError("a value cannot be moved into itself")
            document, value = _remove(document, source, budget)
            return _add(document, path, value, budget)
        case "copy":
            return _add(document, path, budget.copy(_find(document, _source(operation))), budget)
        case "test":
            if not _equal(_find(document, path), _value(operation)):
                raise PatchConflict(f"testing value {operation['path']} failed")
            return document
    raise PatchError(f"unexpected kind: {operation.get('op')}")


def _value(operation: dict[str, Any]) -> Any:
    if "value" not in operation:
        raise PatchError(f"operation {operation.get('op')} misses value")
    return operation["value"]


def _source(operation: dict[str, Any]) -> list[str]:
    if not isinstance(operation.get("from"), str):
        raise PatchError(f"operation {operation.get('op')} misses from")
    return _pointer(operation["from"])


def _equal(left: Any, right: Any) -> bool:
    """Equality of JSON values: true is not 1, at any depth."""
    if isinstance(left, bool) is not isinstance(right, bool):
        return False
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_equal(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_equal, left, right))
    return bool(left == right)


def _pointer(text: str) -> list[str]:
    if not text:
        return []
    if not text.startswith("/"):
        raise PatchError(f"path {text!r} must start with /")
    return [part.replace("~1", "/").replace("~0", "~") for part in text[1:].split("/")]


def _find(document: Any, path: list[str]) -> Any:
    for part in path:
        if isinstance(document, dict) and part in document:
            document = document[part]
        elif isinstance(document, list):
            document = document[_index(document, part, len(document) - 1)]
        else:
            raise PatchConflict(f"doc is missing path: /{'/'.join(path)}: missing value")
    return document


def _index(array: list[Any], part: str, last: int) -> int:
    if not (part.isascii() and part.isdigit()) or (len(part) > 1 and part[0] == "0"):
        raise PatchConflict(f"invalid array index {part!r}")
    if len(part) > 9 or int(part) > last:
        raise PatchConflict(f"unable to access invalid index: {part}: invalid index referenced")
    return int(part)


def _add(document: Any, path: list[str], value: Any, budget: _Budget) -> Any:
    if not path:
        return value
    parent, last = _find(document, path[:-1]), path[-1]
    budget.move(parent)
    if isinstance(parent, dict):
        parent[last] = value
    elif isinstance(parent, list):
        parent.insert(len(parent) if last == "-" else _index(parent, last, len(parent)), value)
    else:
        raise PatchConflict(f"doc is missing path: /{'/'.join(path)}: missing value")
    return document


def _replace(document: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    parent, last = _find(document, path[:-1]), path[-1]
    if isinstance(parent, list):
        parent[_index(parent, last, len(parent) - 1)] = value
    else:
        parent[last] = value
    return document


def _remove(document: Any, path: list[str], budget: _Budget) -> tuple[Any, Any]:
    """The document without the value at `path`, and the value."""
    value = _find(document, path)
    if not path:
        return None, value
    parent, last = _find(document, path[:-1]), path[-1]
    budget.move(parent)
    if isinstance(parent, list):
        del parent[int(last)]
    else:
        del parent[last]
    return document, value
