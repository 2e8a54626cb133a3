"""Amounts of resources: `500m` of a cpu, `1Gi` of memory.

Kubernetes: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import ROUND_CEILING, Decimal
from functools import lru_cache

Amount = Callable[[str], int]
"""How a kind of resource is counted: `milli_cpu` or `bytes_`."""

_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60}
_DECIMAL = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "E": Decimal(10**18),
}
_NUMBER = re.compile(r"([+-]?(?:\d+(?:\.\d*)?|\.\d+))([eE][+-]?\d{1,3}|[KMGTPE]i|[numkMGTPE])?\Z", re.ASCII)
_EXPONENT = {f"e{each}" if each else "": Decimal(10) ** each for each in range(-9, 37, 3)}
_MOST = Decimal(10) ** 36
"""Larger amounts are taken for this one."""
_LONGEST = 256
"""Characters of a quantity, and with three digits in an exponent a bound on all work with it."""
ERROR = r"quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"


class QuantityError(ValueError):
    """The text is no quantity; the message is Kubernetes' own."""

    def __init__(self) -> None:
        super().__init__(ERROR)


@lru_cache(maxsize=4096)
def parse(text: str) -> Decimal:
    """The exact amount in base units (cores, bytes, pods). Raises QuantityError."""
    number, suffix = _split(text)
    if suffix in _BINARY:
        amount = number * _BINARY[suffix]
    else:
        amount = number * _DECIMAL[suffix] if suffix in _DECIMAL else number.scaleb(int(suffix[1:]))
    return max(-_MOST, min(amount, _MOST))


def _split(text: str) -> tuple[Decimal, str]:
    match = _NUMBER.match(text) if len(text) <= _LONGEST else None
    if not match:
        raise QuantityError()
    return Decimal(match[1]), match[2] or ""


@lru_cache(maxsize=4096)
def milli_cpu(text: str) -> int:
    """Thousandths of a core, rounded up as the scheduler counts them."""
    return int((parse(text) * 1000).to_integral_value(ROUND_CEILING))


@lru_cache(maxsize=4096)
def bytes_(text: str) -> int:
    """Whole bytes (or whole units of anything countable), rounded up."""
    return int(parse(text).to_integral_value(ROUND_CEILING))


def canonical(value: int | float | str) -> str:
    """The form in which the API stores an amount: `1` for 1, `500m` for 0.5 or "0.5". Raises QuantityError.

    As in Kubernetes the family of the suffix (binary, decimal or exponent) is kept and the number in front is whole.
    """
    if isinstance(value, int) and value.bit_length() > 1024:
        raise QuantityError()
    text = str(value)
    amount, (_, suffix) = parse(text), _split(text)
    if suffix in _BINARY and amount == amount.to_integral_value():
        return _scaled(amount, [(unit, Decimal(size)) for unit, size in reversed(_BINARY.items())] + [("", Decimal(1))])
    family = _EXPONENT if suffix[:1] in ("e", "E") and suffix != "E" else _DECIMAL
    return _scaled(amount, list(reversed(family.items())))


def _scaled(amount: Decimal, units: list[tuple[str, Decimal]]) -> str:
    if amount == 0:
        return "0"
    for suffix, size in units:
        count = amount / size
        if count == count.to_integral_value():
            return f"{int(count)}{suffix}"
    # Finer than nano is rounded up: Kubernetes keeps no smaller unit.
    return f"{int((amount / units[-1][1]).to_integral_value(ROUND_CEILING))}{units[-1][0]}"
