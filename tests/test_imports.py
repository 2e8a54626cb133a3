"""No modules import each other in a circle, not even inside functions or for types alone."""

from __future__ import annotations

import tomllib
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp

PACKAGES = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["tool"]["importlinter"]


def circles(imports: dict[str, set[str]]) -> list[set[str]]:
    """The groups of modules that reach each other: what is left when no circle is left, merged where they touch."""
    group = {module: module for module in imports}
    while True:
        merged: dict[str, set[str]] = {name: set() for name in group.values()}
        for module, targets in imports.items():
            merged[group[module]] |= {group[each] for each in targets} - {group[module]}
        try:
            TopologicalSorter(merged).prepare()
        except CycleError as error:
            path = set(error.args[1])
            group = {module: min(path) if name in path else name for module, name in group.items()}
            continue
        members = [{module for module, name in group.items() if name == each} for each in merged]
        return [each for each in members if len(each) > 1]


def test_circles_are_found_and_told_apart() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    found = circles({"a": {"b"}, "b": {"a", "c"}, "c": {"d"}, "d": {"e"}, "e": {"c"}, "f": {"a"}})
    assert sorted(map(sorted, found)) == [["a", "b"], ["c", "d", "e"]]
    assert circles({"a": {"b", "c"}, "b": {"a"}, "c": {"a"}}) == [{"a", "b", "c"}]


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = grimp.build_graph(*PACKAGES["root_packages"], cache_dir=None)
    found = circles({module: graph.find_modules_directly_imported_by(module) for module in graph.modules})
    assert [sorted(each) for each in found] == []
