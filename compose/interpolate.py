"""Variables of Compose files, and the files that set them. Pure.

interpolate(text, variables)    $NAME ${NAME} ${NAME:-default} ${NAME-default} ${NAME:?error} ${NAME?error}
                                ${NAME:+instead} ${NAME+instead}, one inside another, $$ for a dollar
variables_of(text, around)      a .env or env_file: NAME=value, quoted or not, with variables inside
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from io import StringIO

from dotenv.parser import parse_stream

from compose.errors import ComposeError

Variables = Mapping[str, str]

_NAME = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")
_OPERATOR = re.compile(r":?[-?+]")


def interpolate(text: str, variables: Variables, missing: Callable[[str], None] = lambda name: None) -> str:
    """The text with its variables replaced. `missing` is told of a name that is not set. Raises ComposeError."""
    result, at = [], 0
    while (dollar := text.find("$", at)) >= 0:
        result.append(text[at:dollar])
        value, at = _one(text, dollar, variables, missing)
        result.append(value)
    return "".join(result) + text[at:]


def _one(text: str, dollar: int, variables: Variables, missing: Callable[[str], None]) -> tuple[str, int]:
    """What stands for the dollar at this place, and where the text goes on."""
    if text.startswith("$$", dollar):
        return "$", dollar + 2
    if text.startswith("${", dollar):
        end = _closing(text, dollar)
        return _braced(text[dollar + 2 : end], text, variables, missing), end + 1
    if not (name := _NAME.match(text, dollar + 1)):
        raise ComposeError(f"invalid interpolation format: {text!r}; a dollar is written as $$")
    return _value(name[0], variables, missing), name.end()


def _closing(text: str, dollar: int) -> int:
    depth = 0
    for at in range(dollar, len(text)):
        if text.startswith("${", at):
            depth += 1
        elif text[at] == "}":
            depth -= 1
            if not depth:
                return at
    raise ComposeError(f"invalid interpolation format: {text!r}: there is no closing brace")


def _braced(inside: str, text: str, variables: Variables, missing: Callable[[str], None]) -> str:
    name = _NAME.match(inside)
    operator = _OPERATOR.match(inside, name.end()) if name else None
    if not name or (not operator and name.end() != len(inside)):
        raise ComposeError(f"invalid interpolation format: {text!r}")
    if not operator:
        return _value(name[0], variables, missing)
    found = variables.get(name[0])
    given = bool(found) if operator[0].startswith(":") else found is not None
    rest = inside[operator.end() :]
    if operator[0].endswith("+"):
        return interpolate(rest, variables, missing) if given else ""
    if given:
        return found or ""
    if operator[0].endswith("?"):
        why = interpolate(rest, variables, missing)
        raise ComposeError(f"required variable {name[0]} is missing a value" + (f": {why}" if why else ""))
    return interpolate(rest, variables, missing)


def _value(name: str, variables: Variables, missing: Callable[[str], None]) -> str:
    if name not in variables:
        missing(name)
    return variables.get(name, "")


def variables_of(text: str, around: Variables, *, file: str, raw: bool = False) -> dict[str, str]:
    """The variables a file sets; its values may use those around it and those above. Raises ComposeError.

    A name without a value is taken from around, if it is there. `raw` takes everything after the = as it is.
    """
    found: dict[str, str] = {}
    if raw:
        lines = (line.partition("=") for line in text.splitlines() if line.strip() and not line.startswith("#"))
        return {name.strip(): value for name, _, value in lines}
    for binding in parse_stream(StringIO(text)):
        if binding.error:
            raise ComposeError(f"{file}:{binding.original.line}: cannot be read as NAME=value")
        if binding.key is None:
            continue
        if binding.value is None:
            if binding.key in around:
                found[binding.key] = around[binding.key]
        elif re.search(r"=\s*'", binding.original.string):
            found[binding.key] = binding.value
        else:
            found[binding.key] = interpolate(binding.value, {**found, **around})
    return found
