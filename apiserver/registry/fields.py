"""Fields of objects by path, whether an object is structs or plain data. Pure.

A path is written as in messages: `spec.template.spec`, with `[*]` for every item of a list or member of a map:
`spec.taints[*].effect`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from keyword import iskeyword
from typing import Any

EVERY = "*"


@lru_cache(maxsize=4096)
def split(path: str) -> tuple[str, ...]:
    return tuple(path.replace("[*]", ".*").split("."))


def member(value: Any, name: str) -> Any:
    """One member, None where there is none."""
    if isinstance(value, dict):
        return value.get(name)
    # lightkube writes Python's own words with an underscore: `from_`, `except_`.
    return getattr(value, f"{name}_" if iskeyword(name) else name, None)


def get(obj: Any, path: str) -> Any:
    """The value at a path without `[*]`; None where anything on the way is missing."""
    for name in split(path):
        obj = member(obj, name)
        if obj is None:
            return None
    return obj


def put(obj: Any, path: str, value: Any) -> None:
    """Set the value at a path whose parents are there."""
    *parents, last = split(path)
    for name in parents:
        obj = member(obj, name)
    if isinstance(obj, dict):
        obj[last] = value
        if value is None:
            del obj[last]
    elif obj is not None:
        setattr(obj, last, value)


def find(obj: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every (path, value) that a path means. Missing parents give nothing; a missing last member gives None."""
    return _find(obj, split(path), 0, "")


def _find(value: Any, parts: tuple[str, ...], index: int, here: str) -> Iterator[tuple[str, Any]]:
    while index < len(parts):
        if value is None:
            return
        name = parts[index]
        index += 1
        if name == EVERY:
            items = value.items() if isinstance(value, dict) else enumerate(value)
            for key, each in items:
                yield from _find(each, parts, index, f"{here}[{key}]")
            return
        value = member(value, name)
        here = f"{here}.{name}" if here else name
    yield here, value
