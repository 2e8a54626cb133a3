"""The kinds that are served, which may change while the server runs.

Interface: `Registry.add`, `remove`, and look-ups. Routes, discovery, OpenAPI, printing, selection and authorization all
ask here, at every request; what they derive they may keep only as long as `generation` stays the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping

from apiserver.registry.kind import Kind
from apiserver.storage.base import Record, split_key

Facts = tuple[Mapping[str, str], Mapping[str, str]]


class Registry:
    """See the module. One kind may be served in several versions; all but one convert to the one that is stored."""

    def __init__(self, kinds: Iterable[Kind] = ()) -> None:
        self._paths: dict[tuple[str, str, str], Kind] = {}
        self._stored: dict[str, Kind] = {}
        self._classes: dict[type, Kind] = {}
        self._listeners: list[Callable[[str], None]] = []
        self.generation = 0
        """Counts changes."""
        for kind in kinds:
            self.add(kind)

    def add(self, kind: Kind) -> None:
        """Serve a kind from now on. Raises ValueError when something is served there already."""
        place = (kind.group, kind.version, kind.plural)
        if place in self._paths:
            raise ValueError(f"{kind.path()} is served already")
        self._paths[place] = kind
        if kind.conversion is None and kind.create is None and kind.compute is None:
            self._stored[kind.qualified] = kind
        if isinstance(kind.objects, type):
            self._classes[kind.objects] = kind
        self._changed(kind)

    def remove(self, kind: Kind) -> None:
        """Serve a kind no longer; what is stored of it stays stored. Raises KeyError for one that is not served."""
        del self._paths[(kind.group, kind.version, kind.plural)]
        if self._stored.get(kind.qualified) is kind:
            del self._stored[kind.qualified]
        if isinstance(kind.objects, type):
            del self._classes[kind.objects]
        self._changed(kind)

    def listen(self, listener: Callable[[str], None]) -> None:
        """Call `listener` with the resource (`deployments.apps`) whenever what is served of it changes."""
        self._listeners.append(listener)

    def _changed(self, kind: Kind) -> None:
        self.generation += 1
        for listener in self._listeners:
            listener(kind.qualified)

    # Look-ups

    def __iter__(self) -> Iterator[Kind]:
        return iter(self._paths.values())

    def find(self, group: str, version: str, plural: str) -> Kind | None:
        """The kind behind `/apis/<group>/<version>/<plural>`; the core group is the empty string."""
        return self._paths.get((group, version, plural))

    def stored(self, qualified: str) -> Kind | None:
        """The stored kind of a resource, as keys and messages name it."""
        return self._stored.get(qualified)

    def of(self, cls: type) -> Kind:
        """The kind of a lightkube class. Raises KeyError for one that is not served."""
        return self._classes[cls]

    def versions(self) -> list[tuple[str, str]]:
        """The (group, version) pairs served: the core group first, and of each group the preferred version first."""
        pairs = {(group, version) for group, version, _ in self._paths}
        return sorted(pairs, key=lambda pair: (pair[0], _priority(pair[1])))

    def kinds(self, group: str, version: str) -> list[Kind]:
        """What is served in a group version, by name."""
        found = [kind for kind in self._paths.values() if (kind.group, kind.version) == (group, version)]
        return sorted(found, key=lambda kind: kind.plural)

    def facts(self, record: Record) -> Facts:
        """Labels and selectable fields of a stored object: the indexer of the watch cache."""
        kind = self._stored.get(split_key(record.key)[0])
        return kind.facts(record.value) if kind else ({}, {})


_VERSION = re.compile(r"v(?P<major>\d{1,9})(?:(?P<stage>alpha|beta)(?P<minor>\d{1,9}))?")


def _priority(version: str) -> tuple[int, int, int, str]:
    """v2, v1, v2beta1, v1alpha1, anything: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/."""
    match = _VERSION.fullmatch(version)
    if match is None:
        return (3, 0, 0, version)
    stage = {None: 0, "beta": 1, "alpha": 2}[match["stage"]]
    return (stage, -int(match["major"]), -int(match["minor"] or 0), "")
