"""Fields of objects by path, whether an object is structs or plain data. Pure.

A path is written as in messages: `spec.template.spec`, with `[*]` for every item of a list or member of a map:
`spec.taints[*].effect`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from keyword import kwlist
from typing import Any

EVERY = "*"


@lru_cache(maxsize=4096)
def split(path: str) -> tuple[str, ...]:
    return tuple(path.replace("[*]", ".*").split(".")) if path else ()


def member(value: Any, name: str) -> Any:
    """One member, None where there is none."""
    if value.__class__ is dict:
        return value.get(name)
    return getattr(value, _ATTRIBUTES.get(name, name), None)


_ATTRIBUTES = {word: f"{word}_" for word in kwlist}
"""lightkube writes Python's own words with an underscore: `from_`, `except_`."""


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


Found = tuple[str, Any]


def find(obj: Any, path: str) -> Iterable[Found]:
    """Every (path, value) that a path means. Missing parents give nothing; a missing last member gives None."""
    return finder(path)(obj)


@lru_cache(maxsize=4096)
def finder(path: str) -> Callable[[Any], Iterable[Found]]:
    """`find` for one path, which rules look up again and again."""
    before, every, after = path.partition(f"[{EVERY}]")
    if every:
        return _each(before, after)
    if not path:
        return lambda obj: (("", obj),)
    *parents, last = split(path)

    def look(obj: Any) -> Iterable[Found]:
        for name in parents:
            obj = member(obj, name)
            if obj is None:
                return ()
        return ((path, member(obj, last)),)

    return look


def _each(before: str, after: str) -> Callable[[Any], Iterable[Found]]:
    """What `after` finds in every item or member of what `before` finds."""
    inner, dot = finder(after.removeprefix(".")), "." if after[:1] == "." else ""

    def look(obj: Any) -> Iterable[Found]:
        values = get(obj, before)
        if not values:
            return ()
        items = values.items() if isinstance(values, dict) else enumerate(values)
        return [(f"{before}[{key}]{dot}{below}", found) for key, each in items for below, found in inner(each)]

    return look
