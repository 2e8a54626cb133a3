"""Default values said as data: the shape of an object, with a value wherever one is filled in. Pure.

    defaults=filled({"spec": {"replicas": 1, "ports": [{"protocol": "TCP"}], "strategy": made({"type": "Recreate"})}})

A value stands for an absent field or an empty text. A shape within is filled into what is there; in a list, into every
item; with `made`, into a new object where there is none. A function is called with what is there. Members are filled in
order, so one may depend on another before it: `made(shape, when=("type", "RollingUpdate"))`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, get_args

import msgspec

Shape = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class made:
    """A shape whose object comes into being where it is absent; nothing of it unless another member has a value."""

    shape: Shape
    when: tuple[str, str] | None = None


@dataclass(frozen=True)
class nonzero:
    """A value that stands for zero too: of Kubernetes' fields that are no pointers."""

    value: int


def filled(shape: Shape, *then: Callable[[Any], None]) -> Callable[[Any], None]:
    """Fills in a shape, and then does what no shape says."""

    def defaults(obj: Any) -> None:
        fill(obj, shape)
        for step in then:
            step(obj)

    return defaults


_VALUES = frozenset({str, int, bool})


def fill(obj: Any, shape: Shape) -> None:
    for name, default in shape.items():
        value, kind = getattr(obj, name), default.__class__
        if kind in _VALUES:
            if value is None or value == "":
                setattr(obj, name, default)
        elif kind is nonzero:
            setattr(obj, name, value or default.value)
        elif kind is made:
            if default.when is None or getattr(obj, default.when[0]) == default.when[1]:
                if value is None:
                    value = _class_of(obj.__class__, name)()
                    setattr(obj, name, value)
                fill(value, default.shape)
        elif not value:
            continue
        elif kind is list:
            for each in value:
                _into(each, default[0])
        else:
            _into(value, default)


def _into(value: Any, default: Any) -> None:
    if default.__class__ is dict:
        fill(value, default)
    else:
        default(value)


@cache
def _class_of(outer: type, name: str) -> Any:
    """The struct that a member is."""
    declared = next(each.type for each in msgspec.structs.fields(outer) if each.name == name)
    return next((each for each in get_args(declared) if each is not type(None)), declared)


def micro_time(moment: datetime | None) -> datetime | None:
    """A MicroTime as Go reads it: it demands the fraction, which a whole second would be written without."""
    return moment.replace(microsecond=1) if moment is not None and not moment.microsecond else moment
