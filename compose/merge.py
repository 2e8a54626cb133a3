"""One canonical document over another: mappings key by key, lists one after the other, and the exceptions. Pure.

The specification's rules: https://github.com/compose-spec/compose-spec/blob/main/13-merge.md
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from compose.document import Map, Tagged

REPLACED = {("command",), ("entrypoint",), ("healthcheck", "test"), ("deploy", "resources", "reservations", "devices")}
"""Lists of a service of which the later one counts."""

SAME: dict[tuple[str, ...], Callable[[Map], Hashable]] = {
    ("ports",): lambda port: tuple(port.get(key) for key in ("host_ip", "target", "published", "protocol")),
    ("volumes",): lambda volume: volume.get("target"),
    ("devices",): lambda device: device.get("target"),
    ("configs",): lambda file: file.get("target") or f"/{file.get('source')}",
    ("secrets",): lambda file: file.get("target"),
    ("env_file",): lambda file: file.get("path"),
}
"""What makes two entries of such a list the same one; the later one then counts."""


def merged(under: Any, over: Any, path: tuple[str, ...] = ()) -> Any:
    """`over` laid over `under`. `path` begins below the service: ("ports",)."""
    if isinstance(over, Tagged):
        return settled(over)
    if isinstance(under, Tagged):
        under = settled(under)
    if isinstance(under, Map) and isinstance(over, Map):
        if path == ("logging",) and under.get("driver") != over.get("driver", under.get("driver")):
            return settled(over)
        return _mappings(under, over, path)
    if isinstance(under, list) and isinstance(over, list) and path not in REPLACED:
        return _lists(under, over, SAME.get(path))
    if over is None and isinstance(under, Map | list):
        return under
    return settled(over)


def _mappings(under: Map, over: Map, path: tuple[str, ...]) -> Map:
    result = Map(under, marks={**under.marks, **over.marks})
    for key, value in over.items():
        if isinstance(value, Tagged) and value.tag == "!reset":
            result.pop(key, None)
        else:
            result[key] = merged(under[key], value, (*path, key)) if key in under else settled(value)
    return result


def _lists(under: list[Any], over: list[Any], same: Callable[[Map], Hashable] | None) -> list[Any]:
    if same is None:
        return under + [each for each in over if each not in under]
    by_key = {same(each): each for each in under}
    return list({**by_key, **{same(each): each for each in over}}.values())


def documents(under: Map, over: Map) -> Map:
    """A whole file over another; services and the rest of it by their names."""
    result = Map(under, marks={**under.marks, **over.marks})
    for section, value in over.items():
        before = under.get(section)
        if isinstance(before, Map) and isinstance(value, Map) and not section.startswith("x-"):
            result[section] = Map(before, marks={**before.marks, **value.marks})
            for name, each in value.items():
                if isinstance(each, Tagged) and each.tag == "!reset":
                    result[section].pop(name, None)
                else:
                    result[section][name] = merged(before[name], each) if name in before else settled(each)
        elif not (isinstance(value, Tagged) and value.tag == "!reset"):
            result[section] = settled(value)
    return result


def settled(value: Any) -> Any:
    """A value with nothing below it to be merged with: its tags have done their work."""
    if isinstance(value, Tagged):
        return settled(value.value) if value.tag == "!override" else None
    if isinstance(value, Map):
        kept = {k: v for k, v in value.items() if not (isinstance(v, Tagged) and v.tag == "!reset")}
        return Map({key: settled(each) for key, each in kept.items()}, marks=value.marks)
    return [settled(each) for each in value] if isinstance(value, list) else value
