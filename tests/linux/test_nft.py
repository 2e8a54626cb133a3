"""The difference of two rulesets, checked by carrying it out on a small model of nft's tables."""

import re

from hypothesis import given
from hypothesis import strategies as st

from linux.nft import EMPTY, Ruleset, replacement, transaction

TABLE = "ip minik-test"


class Table:
    """What nft commands do, as strictly as the kernel: everything named must exist, nothing used may go."""

    def __init__(self) -> None:
        self.chains: dict[str, list[str]] = {}
        self.sets: dict[str, dict[str, str]] = {}

    def run(self, text: str) -> None:
        for line in text.splitlines():
            verb, kind, rest = line.split(" ", 2)
            rest = rest.removeprefix(TABLE).strip()
            name, _, rest = rest.partition(" ")
            getattr(self, f"{verb}_{kind}")(name, rest)

    def add_set(self, name: str, rest: str) -> None:
        self.sets.setdefault(name, {})

    add_map = add_set

    def add_chain(self, name: str, rest: str) -> None:
        self.chains.setdefault(name, [])

    def add_rule(self, name: str, rest: str) -> None:
        assert set(re.findall(r"goto (\S+)", rest)) <= self.chains.keys()
        assert set(re.findall(r"@(\S+)", rest)) <= self.sets.keys()
        self.chains[name].append(rest)

    def flush_chain(self, name: str, rest: str) -> None:
        self.chains[name].clear()

    def delete_chain(self, name: str, rest: str) -> None:
        assert not self.chains.pop(name)
        assert not any(f"goto {name}" == used for elements in self.sets.values() for used in elements.values())
        assert not any(rule.endswith(f"goto {name}") for rules in self.chains.values() for rule in rules)

    def delete_set(self, name: str, rest: str) -> None:
        del self.sets[name]
        assert not any(f"@{name} " in rule for rules in self.chains.values() for rule in rules)

    def add_element(self, name: str, rest: str) -> None:
        for key, verdict in elements(rest):
            assert self.sets[name].get(key, verdict) == verdict
            assert verdict.removeprefix("goto ") in self.chains
            self.sets[name][key] = verdict

    def delete_element(self, name: str, rest: str) -> None:
        for key, verdict in elements(rest):
            assert self.sets[name].pop(key) == verdict


def elements(text: str) -> list[tuple[str, str]]:
    return [tuple(each.split(" : ")) for each in text.removeprefix("{ ").removesuffix(" }").split(", ")]


NAMES = st.sampled_from("abcde")


@st.composite
def rulesets(draw: st.DrawFn) -> Ruleset:
    """Chains that lead only to later chains, as ours do, and a map into them."""
    names = sorted(draw(st.sets(NAMES)))
    sets = {"map": "map { type x : verdict; }", **{f"set-{name}": "set { type x; }" for name in names[::2]}}
    chains = {}
    for index, name in enumerate(names):
        rules = [f"rule {draw(st.integers(0, 2))}"]
        if f"set-{name}" in sets:
            rules.append(f"ip saddr @set-{name} rule")
        if names[index + 1 :]:
            rules.append(f"goto {draw(st.sampled_from(names[index + 1 :]))}")
        chains[name] = tuple(rules)
    keys = draw(st.sets(NAMES)) if names else set()
    table = {("map", key): f"goto {draw(st.sampled_from(names))}" for key in keys}
    return Ruleset(chains=chains, sets=sets, elements=table)


@given(rulesets(), rulesets())
def test_the_difference_leads_from_one_ruleset_to_the_other(old: Ruleset, new: Ruleset) -> None:
    table = Table()
    table.run(transaction(TABLE, EMPTY, old))
    table.run(transaction(TABLE, old, new))
    assert {name: tuple(rules) for name, rules in table.chains.items()} == new.chains
    assert table.sets.keys() == new.sets.keys()
    assert {("map", key): verdict for key, verdict in table.sets["map"].items()} == new.elements


@given(rulesets())
def test_no_difference_is_no_transaction(ruleset: Ruleset) -> None:
    assert transaction(TABLE, ruleset, ruleset) == ""


def test_unchanged_chains_are_not_named() -> None:
    old = Ruleset(chains={"a": ("one",), "b": ("two",)}, sets={}, elements={})
    new = Ruleset(chains={"a": ("one",), "b": ("three",)}, sets={}, elements={})
    assert transaction(TABLE, old, new) == f"flush chain {TABLE} b\nadd rule {TABLE} b three\n"


def test_a_replacement_begins_by_deleting_what_may_not_be_there() -> None:
    assert replacement(TABLE, EMPTY) == f"add table {TABLE}\ndelete table {TABLE}\nadd table {TABLE}\n"
