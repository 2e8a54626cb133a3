"""Plain option values without pydantic.

typer turns every option's text into a value with pydantic, whose import takes longer than a whole
`minikctl get pods`. Text, numbers and lists of text need no such help, so they get a coercion of their own, put where
typer keeps (and only lazily builds) its. A typer that has no such place is left as it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import typer

_NUMBERS = {int: "integer", float: "number"}


class PlainValue:
    """What typer calls a runtime parameter, for one of the plain types."""

    def __init__(self, type_: Any) -> None:
        self._type = type_

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """The value of an option as its type has it; nothing given stays nothing. Raises typer.BadParameter."""
        if param.multiple or param.nargs == -1:
            return [str(each) for each in value] if value else ()
        if value is None or self._type not in _NUMBERS:
            return value
        try:
            return self._type(value)
        except ValueError:
            raise typer.BadParameter(
                f"{value!r} is not a valid {_NUMBERS[self._type]}.", ctx=ctx, param=param
            ) from None


class Quick:
    """Mixed into a typer command or group: its options of plain types are coerced here."""

    def get_params(self, ctx: Any) -> list[Any]:
        params: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        make_quick(params)
        return params


def make_quick(params: Iterable[Any]) -> None:
    """Give the options of plain types their own coercion."""
    for param in params:
        type_ = getattr(getattr(param, "type_descriptor", None), "annotation", None)
        if hasattr(param, "_runtime_param") and type_ in (str, int, float, bool, list[str]):
            param._runtime_param = PlainValue(type_)
