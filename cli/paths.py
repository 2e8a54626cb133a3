"""kubectl's JSONPath templates: `{.items[*].metadata.name}`, `{range .items[*]}...{end}`. Pure.

Kubernetes: https://kubernetes.io/docs/reference/kubectl/jsonpath/
    render(template, value) -> text            text with paths in braces
    find(path, value) -> list                  everything one path leads to, braces optional
The paths themselves are python-jsonpath's; this reads the template around them and kubectl's spelling of fields
(`.metadata.labels.app\\.kubernetes\\.io/name`). Raises CliError for a template that cannot be read.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any

from jsonpath import JSONPathError, compile

from cli.errors import CliError

_PIECE = re.compile(r"""\{((?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[^{}'"])*)\}|([^{]+)|(.)""", re.DOTALL)
"""An action in braces, text between actions, or a brace that nothing closes."""

_FIELD = re.compile(r"""(\[(?:"[^"]*"|'[^']*'|\([^)]*\)|[^\]])*\])|(\.?)\.((?:[^.\[\]\\]|\\.)+)""")
"""What is in brackets stays; a field, after one dot or two."""

_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


def render(template: str, value: Any) -> str:
    """The template filled in. Several results of one path are separated by a blank, what is missing is nothing."""
    text, rest = _render(_pieces(template), value, value)
    if rest:
        raise CliError("error parsing jsonpath: not in range, nothing to end")
    return text


def find(path: str, value: Any, *, root: Any = None) -> list[Any]:
    """Everything the path leads to. `$` is the root."""
    text = path.strip()
    if text.startswith("{") and text.endswith("}"):
        text = text[1:-1].strip()
    if text.startswith("$"):
        value = value if root is None else root
    try:
        return list(_compiled(text.lstrip("$@")).findall(value))
    except JSONPathError as error:
        raise CliError(f"error parsing jsonpath {path}: {str(error).splitlines()[0]}") from None


def to_text(value: Any) -> str:
    """A result as the template prints it: objects and lists as JSON."""
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)


@lru_cache
def _compiled(text: str) -> Any:
    if text and text[0] not in ".[":
        text = f".{text}"
    return compile("$" + _FIELD.sub(_quoted, text))


def _quoted(match: re.Match[str]) -> str:
    brackets, descend, name = match.groups()
    if brackets or name == "*":
        return match[0]
    plain = re.sub(r"\\(.)", r"\1", name).replace("'", "\\'")
    return (".." if descend else "") + f"['{plain}']"


def _pieces(template: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for action, text, stray in _PIECE.findall(template):
        if stray:
            raise CliError(f"error parsing jsonpath {template}, unclosed action")
        found.append(("text", text) if text else ("action", action.strip()))
    return found


def _render(pieces: list[tuple[str, str]], value: Any, root: Any) -> tuple[str, list[tuple[str, str]]]:
    """The text up to the end of the pieces or of the range they begin in; and what follows `{end}`, itself included."""
    out = ""
    while pieces:
        (kind, text), *rest = pieces
        if kind == "action" and text == "end":
            break
        if kind == "text":
            out += text
        elif text[:1] in ("'", '"'):
            out += re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[1]), text[1:-1])
        elif re.match(r"range\b", text):
            for each in find(text[5:], value, root=root):
                out += _render(rest, each, root)[0]
            rest = _render(rest, {}, {})[1]
            if not rest:
                raise CliError("error parsing jsonpath: unclosed range, missing {end}")
            rest = rest[1:]
        else:
            out += " ".join(to_text(each) for each in find(text, value, root=root))
        pieces = rest
    return out, pieces
