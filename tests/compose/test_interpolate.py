"""Variables: every form, and the files that set them."""

from __future__ import annotations

import pytest

from compose.errors import ComposeError
from compose.interpolate import interpolate, variables_of

VARIABLES = {"A": "1", "EMPTY": "", "B_2": "two"}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("plain", "plain"),
        ("$A and ${A}", "1 and 1"),
        ("$$A ${A}$$", "$A 1$"),
        ("$B_2-x", "two-x"),
        ("$UNSET|", "|"),
        ("${UNSET:-d}${EMPTY:-d}${A:-d}", "dd1"),
        ("${UNSET-d}${EMPTY-d}${A-d}", "d1"),
        ("${UNSET:+x}${EMPTY:+x}${A:+x}", "x"),
        ("${UNSET+x}${EMPTY+x}${A+x}", "xx"),
        ("${A:?why}${EMPTY?why}", "1"),
        ("${UNSET:-${EMPTY:-${A}}}", "1"),
        ("${UNSET:-a:b}", "a:b"),
        ("${UNSET:-$$}", "$"),
    ],
)
def test_every_form(text: str, result: str) -> None:
    assert interpolate(text, VARIABLES) == result


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${UNSET:?set it}", "required variable UNSET is missing a value: set it"),
        ("${EMPTY:?}", "required variable EMPTY is missing a value"),
        ("${A", "there is no closing brace"),
        ("$-", "a dollar is written as $$"),
        ("${A!}", "invalid interpolation format"),
        ("${}", "invalid interpolation format"),
    ],
)
def test_what_cannot_be_replaced(text: str, message: str) -> None:
    with pytest.raises(ComposeError) as error:
        interpolate(text, VARIABLES)
    assert message in str(error.value)


def test_what_is_missing_is_told_once_it_counts() -> None:
    missing: list[str] = []
    interpolate("$X ${Y} ${Z:-d} ${A}", VARIABLES, missing.append)
    assert missing == ["X", "Y"]


def test_a_file_of_variables() -> None:
    text = "# comment\nexport ONE=1\nTWO=\"${ONE} and $A\"\nTHREE='${ONE}'\nFOUR=a b # no more\nA\nNOWHERE\n"
    found = variables_of(text, VARIABLES, file=".env")
    assert found == {"ONE": "1", "TWO": "1 and 1", "THREE": "${ONE}", "FOUR": "a b", "A": "1"}
    assert variables_of("X='$A' # kept\n", VARIABLES, file="raw", raw=True) == {"X": "'$A' # kept"}
