"""Checks: expressions of the Common Expression Language over a cluster as it is and as it was. Pure.

    judge(exercise, facts) -> list[Result]
    holds(expression, facts) -> bool

What an expression can name (facts.py makes it): `pods`, `services`, ... the objects of the exercise's namespace;
`nodes`; `history`, every revision since the start, oldest first; `faults`, what was done to hosts; `answers`, the data
of the ConfigMap `answers`; `now`, in seconds since the start. An expression that looks at what is not there is false.
Kubernetes has the same language in validation rules: https://kubernetes.io/docs/reference/using-api/cel/.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from cel_expr_python import cel

from workshop.exercise import Check, Exercise
from workshop.facts import LISTS, Facts

NAMES = (*LISTS, "nodes", "history", "faults", "answers", "now")


@dataclass(frozen=True)
class Result:
    """seen: what there is instead, for a check that failed."""

    check: Check
    passed: bool
    seen: str = ""

    @property
    def points(self) -> int:
        return self.check.points if self.passed else 0


def judge(exercise: Exercise, facts: Facts) -> list[Result]:
    """Every check, in order."""
    results: dict[str, Result] = {}
    now = facts.now()
    for check in exercise.checks:
        missing = [each for each in check.needs if not results[each].passed]
        if missing:
            titles = ", ".join(results[each].check.title for each in missing)
            results[check.id] = Result(check, False, f"comes after: {titles}")
            continue
        violated = _violated(check, facts) if check.always else ""
        passed = not violated and holds(check.holds, now)
        seen = "" if passed else violated or _text(evaluate(check.seen, now))
        results[check.id] = Result(check, passed, seen)
    return list(results.values())


def _violated(check: Check, facts: Facts) -> str:
    """What was wrong at the first revision at which it was; "" if nothing ever was."""
    begun = False
    for at, what, then in facts.replay():
        begun = begun or holds(check.since, then)
        if not begun:
            continue
        if holds(check.until, then):
            return ""
        if not holds(check.always, then):
            return f"{_text(evaluate(check.seen, then))} ({at:.1f} s after the start, when {what})"
    return "" if begun else _text(evaluate(check.seen, facts.now()))


def holds(expression: str, values: Mapping[str, Any]) -> bool:
    return evaluate(expression, values) is True


def evaluate(expression: str, values: Mapping[str, Any]) -> Any:
    """The value; what cannot be worked out of these objects is a text that says why."""
    value = _compiled(expression).eval(data={name: values.get(name) for name in NAMES})
    return _plain(value)


def _text(seen: Any) -> str:
    """A list as it would be said."""
    return ", ".join(map(str, seen)) or "nothing" if isinstance(seen, list) else str(seen)


def _plain(value: Any) -> Any:
    if value.type() == cel.Type.ERROR:
        return f"not there: {value.value()}"
    return value.plain_value()


@lru_cache(maxsize=512)
def _compiled(expression: str) -> Any:
    """Raises RuntimeError for an expression that makes no sense; tests compile all of them."""
    return _environment().compile(expression)


@lru_cache(maxsize=1)
def _environment() -> Any:
    return cel.NewEnv(variables=dict.fromkeys(NAMES, cel.Type.DYN))
