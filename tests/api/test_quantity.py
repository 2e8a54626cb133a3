from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import quantity


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("1", Decimal(1)),
        ("500m", Decimal("0.5")),
        (".5", Decimal("0.5")),
        ("1Gi", Decimal(2**30)),
        ("1.5Ki", Decimal(1536)),
        ("2k", Decimal(2000)),
        ("1e3", Decimal(1000)),
        ("12E", Decimal(12) * 10**18),
        ("-1", Decimal(-1)),
    ],
)
def test_parse(text: str, amount: Decimal) -> None:
    assert quantity.parse(text) == amount


@pytest.mark.parametrize("text", ["", "abc", "1Zi", "1 Gi", "Gi", "1e", "0x1", "\u0661"])
def test_what_is_no_quantity(text: str) -> None:
    with pytest.raises(quantity.QuantityError, match="quantities must match the regular expression"):
        quantity.parse(text)


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (1, "1"),
        (0.5, "500m"),
        ("0.5", "500m"),
        ("1000m", "1"),
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("0.5Ki", "512"),
        ("1000", "1k"),
        ("100M", "100M"),
        ("0", "0"),
        ("1e3", "1e3"),
        ("1e4", "10e3"),
        (1e22, "10e21"),
        (1e-12, "1e-9"),
    ],
)
def test_canonical(value: int | float | str, stored: str) -> None:
    assert quantity.canonical(value) == stored


@given(st.integers(0, 10**15), st.sampled_from(["m", "", "k", "Mi", "Gi"]))
def test_canonical_keeps_the_amount_and_is_stable(number: int, suffix: str) -> None:
    once = quantity.canonical(f"{number}{suffix}")
    assert quantity.parse(once) == quantity.parse(f"{number}{suffix}")
    assert quantity.canonical(once) == once


def test_fractions_round_up() -> None:
    assert quantity.milli_cpu("1u") == 1
    assert quantity.bytes_("1.1") == 2
