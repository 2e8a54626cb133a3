"""What may be wrong with an object, said as data: each function here makes a rule from a path. Pure.

    rules=(at_least("spec.replicas", 0), one_of("spec.type", "A", "B"), required("spec.request"))

Paths are those of `fields.py`, so a rule on `spec.taints[*].effect` holds for every taint. A rule says nothing about a
field that is absent, unless it is `required`. The messages are Kubernetes' (apimachinery's validation, core's).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from api.errors import FieldError, duplicate, forbidden, invalid, not_supported
from api.errors import required as missing
from api.selectors import SelectorError, from_label_selector
from apiserver.registry import fields, names
from apiserver.registry.fields import finder

Rule = Callable[[Any], Iterable[FieldError]]
ChangeRule = Callable[[Any, Any], Iterable[FieldError]]

IMMUTABLE = "field is immutable"


class Shown:
    """A structured value in an error message: its JSON."""

    def __init__(self, value: Any) -> None:
        self.text = msgspec.json.encode(value).decode()

    def __str__(self) -> str:
        return self.text


def shown(value: Any) -> Any:
    return value if value is None or isinstance(value, str | int | bool) else Shown(value)


def check(path: str, wrong: Callable[[Any], Iterable[str]], *, empty: bool = False) -> Rule:
    """Every value at `path` against a function that says what is wrong with it; empty values only if `empty`."""
    look = finder(path)

    def rule(obj: Any) -> Iterator[FieldError]:
        for here, value in look(obj):
            if value is not None and (empty or value not in ("", [], {})):
                for why in wrong(value):
                    yield invalid(here, value, why)

    return rule


def each(path: str, wrong: Callable[[Any, str], Iterable[FieldError]]) -> Rule:
    """Every value at `path` that is there against a function that is told where it is."""
    look = finder(path)

    def rule(obj: Any) -> Iterator[FieldError]:
        for here, value in look(obj):
            if value is not None:
                yield from wrong(value, here)

    return rule


def within(path: str, *inner: Rule) -> Rule:
    """Rules for every value at `path`; their own paths begin there."""

    def wrong(value: Any, here: str) -> Iterator[FieldError]:
        for rule in inner:
            for error in rule(value):
                yield replace(error, path=f"{here}.{error.path}" if error.path else here)

    return each(path, wrong)


def one_member(path: str, what: str, *members: str) -> Rule:
    """Exactly one of these members."""

    def wrong(value: Any, here: str) -> Iterator[FieldError]:
        given = [name for name in members if fields.member(value, name) is not None]
        if not given:
            yield missing(here, f"must specify a {what}")
        for name in given[1:]:
            yield forbidden(f"{here}.{name}" if here else name, f"may not specify more than 1 {what}")

    return each(path, wrong)


def required(path: str, detail: str = "") -> Rule:
    look = finder(path)

    def rule(obj: Any) -> Iterator[FieldError]:
        for here, value in look(obj):
            if value is None or value in ("", [], {}):
                yield missing(here, detail)

    return rule


def one_of(path: str, *options: str, needed: bool = False) -> Rule:
    """One of these words; with `needed`, an absent one is a missing one."""
    look = finder(path)

    def rule(obj: Any) -> Iterator[FieldError]:
        for here, value in look(obj):
            if value in options or (not value and not needed):
                continue
            yield not_supported(here, value, options) if value else missing(here)

    return rule


def at_least(path: str, least: int) -> Rule:
    return check(path, lambda value: [] if value >= least else [f"must be greater than or equal to {least}"])


def above(path: str, bound: int) -> Rule:
    return check(path, lambda value: [] if value > bound else [f"must be greater than {bound}"])


def between(path: str, least: int, most: int) -> Rule:
    return check(path, lambda value: [] if least <= value <= most else [f"must be between {least} and {most}"])


def not_negative(*paths: str) -> tuple[Rule, ...]:
    return tuple(at_least(path, 0) for path in paths)


def port_number(path: str) -> Rule:
    return check(path, _port, empty=True)


def _port(value: Any) -> Iterator[str]:
    if not isinstance(value, int) or not 1 <= value <= 65535:
        yield "must be between 1 and 65535, inclusive"


def named(path: str, rule: names.Rule) -> Rule:
    """A name by one of the rules of `names.py`."""
    return check(path, rule)


def labels(path: str) -> Rule:
    look = finder(path)

    def rule(obj: Any) -> Iterator[FieldError]:
        for here, value in look(obj):
            yield from names.check_labels(value, here)

    return rule


def distinct(path: str, key: Callable[[Any], Any], field: str = "") -> Rule:
    """No two items of a list at `path` with the same key (None: has none); `field` is what is reported of an item."""

    def wrong(items: Sequence[Any], here: str) -> Iterator[FieldError]:
        seen = set()
        for index, value in enumerate(items):
            what = key(value)
            if what is not None and what in seen:
                yield duplicate(f"{here}[{index}]{field}", what)
            seen.add(what)

    return each(path, wrong)


NO_ADDRESS = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"


def address(path: str, what: str = NO_ADDRESS) -> Rule:
    return check(path, lambda text: [] if is_address(text) else [what])


def is_address(text: str, version: int = 0) -> bool:
    """Whether a text is an IP address, of a version if one is given."""
    try:
        return ipaddress.ip_address(text).version in ((version,) if version else (4, 6))
    except ValueError:
        return False


def cidr(path: str) -> Rule:
    return check(path, no_cidr)


def no_cidr(text: str) -> list[str]:
    return [] if _is_network(text) else ["must be a valid CIDR value, (e.g. 10.9.8.0/24)"]


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True


def limit(path: str, most: int) -> Rule:
    """At most so many items."""
    look = finder(path)

    def rule(obj: Any) -> Iterator[FieldError]:
        for here, value in look(obj):
            if value is not None and len(value) > most:
                yield FieldError(here, "FieldValueTooLong", f"must have at most {most} items")

    return rule


def absent(path: str, detail: str) -> Rule:
    """A field that Kubernetes knows and this server cannot act on: refused, never ignored."""
    look = finder(path)

    def rule(obj: Any) -> Iterator[FieldError]:
        for here, value in look(obj):
            if value is not None:
                yield forbidden(here, detail)

    return rule


NO_PERCENT = (
    "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for "
    "validation is '[0-9]+%')"
)


def amount(path: str) -> Rule:
    """A count, or a percentage of at most nine digits."""
    return check(path, _amount, empty=True)


def _amount(value: int | str) -> Iterator[str]:
    if isinstance(value, int):
        if value < 0:
            yield "must be greater than or equal to 0"
    elif not (text := value.removesuffix("%")).isascii() or not text.isdigit() or text == value or len(text) > 9:
        yield NO_PERCENT


# --- workloads --------------------------------------------------------------------------------------------------


def selects_template(kind: str, selector: str = "spec.selector", template: str = "spec.template") -> Rule:
    """A label selector that is there, is not empty and selects the pods of its own template."""

    def rule(obj: Any) -> Iterator[FieldError]:
        wanted = fields.get(obj, selector)
        if wanted is None:
            yield missing(selector)
            return
        yield from names.check_labels(wanted.matchLabels, f"{selector}.matchLabels")
        if not wanted.matchLabels and not wanted.matchExpressions:
            yield invalid(selector, Shown(wanted), f"empty selector is invalid for {kind}")
            return
        try:
            matcher = from_label_selector(wanted)
        except SelectorError as error:
            yield invalid(selector, Shown(wanted), str(error))
            return
        yield from template_labels(obj, matcher.matches, template)

    return rule


def template_labels(obj: Any, matches: Callable[[Any], bool], template: str = "spec.template") -> Iterator[FieldError]:
    """Whether the labels of a pod template, where there is one, are those its owner selects."""
    if fields.get(obj, template) is not None:
        present = fields.get(obj, f"{template}.metadata.labels") or {}
        if not matches(present):
            yield invalid(f"{template}.metadata.labels", Shown(present), "`selector` does not match template `labels`")


# --- changes ----------------------------------------------------------------------------------------------------


def immutable(path: str) -> ChangeRule:
    def rule(new: Any, old: Any) -> Iterator[FieldError]:
        value = fields.get(new, path)
        if value != fields.get(old, path):
            yield invalid(path, shown(value), IMMUTABLE)

    return rule


def set_once(path: str, detail: str, reported: str = "") -> ChangeRule:
    """May be set, and then not changed."""

    def rule(new: Any, old: Any) -> Iterator[FieldError]:
        before = fields.get(old, path)
        if before and fields.get(new, path) != before:
            yield forbidden(reported or path, detail)

    return rule


def only_changes(path: str, kind: str, changeable: Sequence[str]) -> ChangeRule:
    """Of the fields below `path`, only these may change."""

    def rule(new: Any, old: Any) -> Iterator[FieldError]:
        before, after = fields.get(old, path), fields.get(new, path)
        names_ = before.__struct_fields__ if before is not None else ()
        if any(getattr(before, name) != getattr(after, name, None) for name in names_ if name not in changeable):
            listed = ", ".join(f"'{name}'" for name in changeable[:-1]) + f" and '{changeable[-1]}'"
            yield forbidden(path, f"updates to {kind} {path} for fields other than {listed} are forbidden")

    return rule


def status_not_negative(*paths: str) -> ChangeRule:
    """Counts in a status."""
    each = not_negative(*paths)
    return lambda new, old: (error for rule in each for error in rule(new))
