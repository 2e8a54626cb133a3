"""Label and field selectors, as text and as objects.

Kubernetes: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors. Pure.
A selector that cannot be read raises `SelectorError`, whose text is fit for the user.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

from lightkube.models import meta_v1

_KEY = r"(?:[a-z0-9A-Z][-a-z0-9A-Z.]{0,252}/)?[a-zA-Z0-9](?:[-a-zA-Z0-9_.]{0,61}[a-zA-Z0-9])?"
_VALUE = r"(?:[a-zA-Z0-9](?:[-a-zA-Z0-9_.]{0,61}[a-zA-Z0-9])?)?"
_EQUALITY = re.compile(rf"({_KEY})\s*(==|=|!=)\s*({_VALUE})\Z")
_SET = re.compile(rf"({_KEY})\s+(in|notin)\s*\(([^()]*)\)\Z")
_EXISTS = re.compile(rf"(!?)\s*({_KEY})\Z")
_COMPARE = re.compile(rf"({_KEY})\s*([<>])\s*(-?\d{{1,19}})\Z")
_TOKEN = re.compile(r",|\([^)]*\)?|[^,(]+")


class SelectorError(ValueError):
    """The selector's text or object makes no sense."""


@dataclass(frozen=True)
class Requirement:
    """One condition on one label. `operator` is In, NotIn, Exists, DoesNotExist, Gt or Lt."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        return _OPERATORS[self.operator](labels.get(self.key), self._wanted)

    @property
    def is_equality(self) -> bool:
        return self.operator == "In" and len(self.values) == 1

    @cached_property
    def _wanted(self) -> Collection[str]:
        return self.values if len(self.values) < 8 else frozenset(self.values)


@dataclass(frozen=True)
class LabelSelector:
    """Requirements that must all hold; without any, everything matches."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str] | None) -> bool:
        return all(each.matches(labels or {}) for each in self.requirements)

    @cached_property
    def equalities(self) -> tuple[tuple[str, str], ...]:
        """The labels that every match has: what an index can look up."""
        return tuple((each.key, each.values[0]) for each in self.requirements if each.is_equality)

    def __bool__(self) -> bool:
        return bool(self.requirements)

    def __str__(self) -> str:
        return ",".join(_requirement_text(each) for each in self.requirements)


@dataclass(frozen=True)
class FieldSelector:
    """`path=value` and `path!=value` conditions that must all hold."""

    conditions: tuple[tuple[str, bool, str], ...] = ()

    def matches(self, fields: Mapping[str, str]) -> bool:
        return all((fields.get(path, "") == value) is equal for path, equal, value in self.conditions)

    def __bool__(self) -> bool:
        return bool(self.conditions)

    @property
    def paths(self) -> frozenset[str]:
        return frozenset(path for path, _, _ in self.conditions)

    def exact(self, path: str) -> str | None:
        """The value `path` must equal, if the selector demands one."""
        return next((value for each, equal, value in self.conditions if equal and each == path), None)


def _greater(value: str | None, values: Collection[str]) -> bool:
    return _is_integer(value) and int(value or 0) > int(next(iter(values)))


def _less(value: str | None, values: Collection[str]) -> bool:
    return _is_integer(value) and int(value or 0) < int(next(iter(values)))


def _is_integer(value: str | None) -> bool:
    return value is not None and re.fullmatch(r"-?\d{1,19}", value) is not None


_OPERATORS: dict[str, Callable[[str | None, Collection[str]], bool]] = {
    "In": lambda value, values: value is not None and value in values,
    "NotIn": lambda value, values: value is None or value not in values,
    "Exists": lambda value, values: value is not None,
    "DoesNotExist": lambda value, values: value is None,
    "Gt": _greater,
    "Lt": _less,
}


def parse_label_selector(text: str | None) -> LabelSelector:
    """Read `app=web,tier in (a, b),!legacy`. Raises SelectorError."""
    if not text or not text.strip():
        return LabelSelector()
    return LabelSelector(tuple(_parse_requirement(part.strip()) for part in _split(text)))


def _split(text: str) -> list[str]:
    """At the commas outside of parentheses."""
    parts = [""]
    for token in _TOKEN.findall(text):
        if token == ",":
            parts.append("")
        else:
            parts[-1] += token
    return parts


def _parse_requirement(text: str) -> Requirement:
    if match := _EQUALITY.match(text):
        key, operator, value = match.groups()
        return Requirement(key, "NotIn" if operator == "!=" else "In", (value,))
    if match := _SET.match(text):
        key, operator, inner = match.groups()
        values = tuple(sorted({each.strip() for each in inner.split(",")}))
        if all(re.fullmatch(_VALUE, each) for each in values):
            return Requirement(key, "In" if operator == "in" else "NotIn", values)
    if match := _COMPARE.match(text):
        return Requirement(match[1], "Gt" if match[2] == ">" else "Lt", (match[3],))
    if match := _EXISTS.match(text):
        return Requirement(match[2], "DoesNotExist" if match[1] else "Exists")
    raise SelectorError(f"unable to parse requirement: {text!r}")


def from_label_selector(selector: meta_v1.LabelSelector | None) -> LabelSelector:
    """Read a `metav1.LabelSelector`. {} selects all; None selects nothing in Kubernetes, so callers check first."""
    if selector is None:
        raise SelectorError("no selector")
    equalities = (Requirement(key, "In", (value,)) for key, value in sorted((selector.matchLabels or {}).items()))
    expressions = (_from_expression(each) for each in selector.matchExpressions or [])
    return LabelSelector((*equalities, *expressions))


def selects(selector: meta_v1.LabelSelector | None, labels: Mapping[str, str]) -> bool:
    """What a selector in a spec means: an empty one selects everything, none selects nothing."""
    return selector is not None and from_label_selector(selector).matches(labels)


def _from_expression(expression: meta_v1.LabelSelectorRequirement) -> Requirement:
    values = tuple(expression.values or ())
    if expression.operator in ("In", "NotIn") and not values:
        raise SelectorError(f"values must be specified when operator is {expression.operator}")
    if expression.operator in ("Exists", "DoesNotExist") and values:
        raise SelectorError("values may not be specified when operator is Exists or DoesNotExist")
    if expression.operator not in ("In", "NotIn", "Exists", "DoesNotExist"):
        raise SelectorError(f"{expression.operator!r} is not a valid label selector operator")
    return Requirement(expression.key, expression.operator, values)


def from_map(labels: Mapping[str, str] | None) -> LabelSelector:
    """A selector of plain equalities, as a Service's spec.selector or a nodeSelector."""
    return LabelSelector(tuple(Requirement(key, "In", (value,)) for key, value in sorted((labels or {}).items())))


def parse_field_selector(text: str | None) -> FieldSelector:
    """Read `spec.nodeName=node-1,status.phase!=Running`. Raises SelectorError."""
    if not text or not text.strip():
        return FieldSelector()
    return FieldSelector(tuple(_parse_field(part.strip()) for part in text.split(",")))


def _parse_field(text: str) -> tuple[str, bool, str]:
    for operator, equal in (("!=", False), ("==", True), ("=", True)):
        path, found, value = text.partition(operator)
        if found and path.strip():
            return path.strip(), equal, value.strip()
    raise SelectorError(f"invalid selector: {text!r}; can't understand {text!r}")


def _requirement_text(requirement: Requirement) -> str:
    key, operator, values = requirement.key, requirement.operator, requirement.values
    if operator in ("In", "NotIn") and len(values) == 1:
        return f"{key}{'=' if operator == 'In' else '!='}{values[0]}"
    if operator in ("In", "NotIn"):
        return f"{key} {operator.lower()} ({','.join(values)})"
    if operator in ("Gt", "Lt"):
        return f"{key}{'>' if operator == 'Gt' else '<'}{values[0]}"
    return key if operator == "Exists" else f"!{key}"
