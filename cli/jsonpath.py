"""kubectl's JSONPath templates: `{.items[*].metadata.name}`, `{range .items[*]}...{end}`. Pure.

Kubernetes: https://kubernetes.io/docs/reference/kubectl/jsonpath/
    render(template, value) -> text            a template: text with paths in braces
    find(path, value) -> list                  one path, braces optional; `relaxed` as custom-columns has it
Raises PathError for a template that cannot be read, and for a field that is missing unless `allow_missing`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cli.errors import CliError


class PathError(CliError):
    """The template makes no sense, or asks for what is not there."""


Step = Callable[[list[Any]], list[Any]]


@dataclass(frozen=True)
class Range:
    """`{range path} body {end}`."""

    path: str
    body: Sequence[Any]


def render(template: str, value: Any, *, allow_missing: bool = True) -> str:
    """The template filled in. Several results of one path are separated by a blank, as kubectl does."""
    nodes, _ = _parse(list(_tokens(template)), 0)
    return "".join(_render(nodes, value, value, allow_missing))


def find(path: str, value: Any, *, root: Any = None, allow_missing: bool = True) -> list[Any]:
    """Everything the path leads to."""
    text = path.strip()
    if text.startswith("{") and text.endswith("}"):
        text = text[1:-1].strip()
    base = value
    if text.startswith("$"):
        base, text = (value if root is None else root), text[1:]
    elif text.startswith("@"):
        text = text[1:]
    if text and text[0] not in ".[":
        text = "." + text
    current = [base]
    for step in _steps(text):
        current = step(current)
    if not current and not allow_missing:
        raise PathError(f"{path.strip('{}').lstrip('.')} is not found")
    return current


def to_text(value: Any) -> str:
    """A result as the template prints it: objects and lists as JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)


# Templates


def _tokens(template: str) -> Iterator[tuple[str, str]]:
    """("text", ...) and ("path", ...) parts."""
    position = 0
    while position < len(template):
        start = template.find("{", position)
        if start < 0:
            yield "text", template[position:]
            return
        if start > position:
            yield "text", template[position:start]
        end = _closing(template, start, "{", "}")
        yield "path", template[start + 1 : end].strip()
        position = end + 1


def _closing(text: str, start: int, opening: str, closing: str) -> int:
    """Where the bracket opened at `start` closes; what stands in quotes does not count."""
    depth, quote, index = 0, "", start
    while index < len(text):
        char = text[index]
        if char == "\\":
            index += 1
        elif quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char == opening:
            depth += 1
        elif char == closing:
            depth -= 1
            if depth == 0:
                return index
        index += 1
    raise PathError(f"error parsing jsonpath {text}, unclosed {'action' if opening == '{' else 'array'}")


def _parse(tokens: list[tuple[str, str]], index: int, *, inside: bool = False) -> tuple[list[Any], int]:
    nodes: list[Any] = []
    while index < len(tokens):
        kind, text = tokens[index]
        index += 1
        if kind == "path" and text == "end":
            if not inside:
                raise PathError("error parsing jsonpath: not in range, nothing to end")
            return nodes, index
        if kind == "path" and re.match(r"range\b", text):
            body, index = _parse(tokens, index, inside=True)
            nodes.append(Range(text[5:].strip(), body))
        else:
            nodes.append((kind, text))
    if inside:
        raise PathError("error parsing jsonpath: unclosed range, missing {end}")
    return nodes, index


def _render(nodes: Sequence[Any], value: Any, root: Any, allow_missing: bool) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, Range):
            for each in find(node.path, value, root=root, allow_missing=allow_missing):
                yield from _render(node.body, each, root, allow_missing)
        elif node[0] == "text":
            yield node[1]
        elif node[1][:1] in ("'", '"'):
            yield _unquote(node[1])
        else:
            yield " ".join(to_text(each) for each in find(node[1], value, root=root, allow_missing=allow_missing))


def _unquote(text: str) -> str:
    """A literal in a template, with \\n and \\t meaning what they mean in Go."""
    inner = text[1:-1] if len(text) > 1 and text[-1] == text[0] else text[1:]
    return re.sub(r"\\(.)", lambda match: {"n": "\n", "t": "\t", "r": "\r"}.get(match[1], match[1]), inner)


# Paths

_FIELD = re.compile(r"(?:[^.\[\]\\]|\\.)+")


def _steps(path: str) -> Iterator[Step]:
    position = 0
    while position < len(path):
        if path.startswith("..", position):
            yield _descend
            position += 1
            if path.startswith(".[", position):
                position += 1
        elif path[position] == ".":
            match = _FIELD.match(path, position + 1)
            if match:
                name = re.sub(r"\\(.)", r"\1", match[0])
                yield _wildcard if name == "*" else _field(name)
                position = match.end()
            else:
                position += 1
        elif path[position] == "[":
            end = _closing(path, position, "[", "]")
            yield _bracket(path[position + 1 : end].strip())
            position = end + 1
        else:
            raise PathError(f"error parsing jsonpath {{{path}}}, unrecognized character in action: {path[position]!r}")


def _field(name: str) -> Step:
    return lambda values: [each[name] for each in values if isinstance(each, dict) and name in each]


def _wildcard(values: list[Any]) -> list[Any]:
    return [inner for each in values for inner in _children(each)]


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _descend(values: list[Any]) -> list[Any]:
    """Each value and everything below it."""
    return [found for each in values for found in [each, *_descend(_children(each))]]


def _bracket(inner: str) -> Step:
    if inner.startswith("?(") and inner.endswith(")"):
        return _filter(inner[2:-1].strip())
    if inner == "*":
        return _wildcard
    if inner[:1] in ("'", '"'):
        names = [each.strip()[1:-1] for each in re.split(r",(?=\s*['\"])", inner)]
        return lambda values: [found for name in names for found in _field(name)(values)]
    if re.fullmatch(r"-?\d*(:-?\d*){1,2}", inner):
        parts = slice(*[int(each) if each else None for each in inner.split(":")])
        return lambda values: [found for each in values if isinstance(each, list) for found in each[parts]]
    if re.fullmatch(r"\s*-?\d+(\s*,\s*-?\d+)*\s*", inner):
        indexes = [int(each) for each in inner.split(",")]
        return lambda values: [
            each[index]
            for each in values
            if isinstance(each, list)
            for index in indexes
            if -len(each) <= index < len(each)
        ]
    raise PathError(f"error parsing jsonpath: invalid array index {inner}")


_COMPARISON = re.compile(r"(.*?)\s*(==|!=|<=|>=|<|>|=~)\s*(.*)", re.DOTALL)


def _filter(condition: str) -> Step:
    match = _COMPARISON.fullmatch(condition)
    if not match:
        return lambda values: [
            each for each in _wildcard(values) if any(_truthy(found) for found in find(condition, each))
        ]
    left, operator, right = match.groups()
    if operator == "=~":
        raise PathError("error parsing jsonpath: unrecognized identifier =~")
    compare = _COMPARE[operator]

    def holds(item: Any) -> bool:
        lefts, rights = _operand(left, item), _operand(right, item)
        return bool(lefts and rights) and compare(*_alike(lefts[0], rights[0]))

    return lambda values: [each for each in _wildcard(values) if holds(each)]


def _truthy(value: Any) -> bool:
    return value is not None and value is not False


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
    "<": lambda left, right: left < right,
    ">": lambda left, right: left > right,
    "<=": lambda left, right: left <= right,
    ">=": lambda left, right: left >= right,
}


def _operand(text: str, item: Any) -> list[Any]:
    if text[:1] in ("'", '"'):
        return [_unquote(text)]
    if text[:1] in ("@", "$", "."):
        return find(text, item)
    if text in ("true", "false"):
        return [text == "true"]
    try:
        return [int(text)]
    except ValueError:
        pass
    try:
        return [float(text)]
    except ValueError:
        raise PathError(f"error parsing jsonpath: unrecognized identifier {text}") from None


def _alike(left: Any, right: Any) -> tuple[Any, Any]:
    """Values of different types are compared as text rather than not at all."""
    if isinstance(left, bool) or isinstance(right, bool) or type(left) is type(right):
        return left, right
    if isinstance(left, int | float) and isinstance(right, int | float):
        return left, right
    return to_text(left), to_text(right)
