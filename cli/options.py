"""Command line options from the fields of a dataclass: a field with an `Option` (bootstrap/options.py) is one.

    @takes(InitOptions)
    def init(options: InitOptions, ...)        gets an InitOptions made of what the command line says
Text becomes what the field's type wants: durations (`24h`) seconds, `a,b` a tuple, `key=value,...` a mapping.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import typer

from bootstrap.options import Option
from cli.command import change_signature
from cli.errors import CliError

Command = Callable[..., None]


def takes(options: type[Any], make: Callable[..., Any] | None = None) -> Callable[[Command], Command]:
    """Let a command have a dataclass's options; its parameter `options` gets what `make`, or the class, makes of them.

    Only what was told is passed on, so that `make` may know better defaults than the class.
    """
    made_by = make or options
    hints = {name: type_ for name, type_ in get_type_hints(options, include_extras=True).items() if _option(type_)}
    made = [_parameter(each, hints[each.name]) for each in fields(options) if each.name in hints]

    def decorate(function: Command) -> Command:
        @wraps(function)
        def called(**values: Any) -> None:
            told = {name: value for name in hints if (value := values.pop(name)) not in (None, [], ())}
            function(made_by(**{name: _value(_type(hints[name]), told[name]) for name in told}), **values)

        change_signature(called, without=["options"], extra=made)
        return called

    return decorate


def _option(hint: Any) -> Option | None:
    return next((each for each in getattr(hint, "__metadata__", ()) if isinstance(each, Option)), None)


def _type(hint: Any) -> Any:
    return get_args(hint)[0]


def _parameter(field: Field[Any], hint: Any) -> inspect.Parameter:
    """A field as typer has it. Nothing given stays nothing, so that the default is the dataclass's."""
    required = field.default is MISSING and field.default_factory is MISSING
    (flag, help), type_, shown = get_args(hint)[1], _type(hint), _shown(field.default)
    if flag:
        plain = type_ if type_ in (bool, int) else list[str] if _is_many(type_) else str
        described: Any = typer.Option(flag, help=f"{help} [{shown}]" if shown else help)
        annotation: Any = Annotated[plain if required else plain | None, described]
    else:
        annotation = Annotated[str, typer.Argument(metavar=help)]
    default = inspect.Parameter.empty if required else None
    return inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _shown(default: Any) -> str:
    """A default as help shows it; what goes without saying is left out."""
    if default in (MISSING, None, (), True, False):
        return ""
    return f"{default:g}s" if isinstance(default, float) else str(default)


def _is_many(type_: Any) -> bool:
    return getattr(type_, "__origin__", None) in (tuple, Mapping)


def _value(type_: Any, text: Any) -> Any:
    """What a field's type makes of the command line's words. Raises CliError."""
    if type_ in (float, float | None):
        from cli.wait import seconds

        return seconds(text)
    if type_ in (Path, Path | None):
        return Path(text)
    if not _is_many(type_):
        return text
    words = tuple(word.strip() for each in text for word in each.split(",") if word.strip())
    if type_.__origin__ is tuple:
        return words
    if bad := [word for word in words if "=" not in word]:
        raise CliError(f"expected KEY=VALUE, got {bad[0]}")
    return {key: value for key, _, value in (word.partition("=") for word in words)}
