"""What the watch cache holds and tells: objects as bytes beside what selectors ask about, and their changes.

Interface: `Entry`, `Change`, `event_line`. Neither entries nor changes are altered once made, so that all watchers
may share them. No I/O.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from apiserver.storage.base import EventType, Record, restamp, split_key

Facts = tuple[Mapping[str, str], Mapping[str, str]]
"""Labels, and the fields that field selectors of this resource may name."""

Indexer = Callable[[Record], Facts]
"""Finds the facts of a record. Given by the caller, who knows the kinds; called once per stored version."""


class Entry:
    """One object as the cache keeps it: its bytes, stamped with `version`, and what selectors ask about."""

    __slots__ = ("fields", "key", "labels", "name", "namespace", "value", "version")

    def __init__(self, record: Record, facts: Facts) -> None:
        self.key = record.key
        self.value = record.value
        self.version = record.version
        self.labels, self.fields = facts
        _, self.namespace, self.name = split_key(record.key)


class Change:
    """One event: `entry` is the object after it (for DELETED: its last state, stamped with the deletion's version)."""

    __slots__ = ("_line", "_restamped", "entry", "previous", "type", "when")

    def __init__(self, type: EventType, entry: Entry, previous: Entry | None) -> None:
        self.type = type
        self.entry = entry
        self.previous = previous
        self.when = time.monotonic()
        self._line: bytes | None = None
        self._restamped: bytes | None = None

    @property
    def version(self) -> int:
        return self.entry.version

    def line(self) -> bytes:
        """The event as one line of a JSON watch stream; made once, shared by all watchers."""
        if self._line is None:
            self._line = event_line(self.type, self.entry.value)
        return self._line

    @property
    def size(self) -> int:
        """Bytes of the object; the one before is held by the change before, or by nobody else."""
        return len(self.entry.value)

    def forget_line(self) -> None:
        """Of an older change the line is made again for the few who still ask."""
        self._line = self._restamped = None

    def seen_by(self, selects: Callable[[Entry], bool]) -> EventType | None:
        """What this change is to a watcher with a selector; None: nothing.

        An object that begins to match is ADDED to that watcher, one that ceases to match is DELETED from it.
        """
        before = self.previous is not None and selects(self.previous)
        after = self.type is not EventType.DELETED and selects(self.entry)
        if after:
            return EventType.MODIFIED if before else EventType.ADDED
        return EventType.DELETED if before else None

    def value_as(self, type: EventType) -> bytes:
        """The object to show when the change is seen as `type`.

        One that ceased to match is shown as it last matched, with the version of the change, as Kubernetes does.
        """
        if type is EventType.DELETED and self.type is not EventType.DELETED and self.previous is not None:
            if self._restamped is None:
                self._restamped = restamp(self.previous.value, self.version)
            return self._restamped
        return self.entry.value

    def line_for(self, selects: Callable[[Entry], bool]) -> bytes | None:
        """`line` as a watcher with a selector sees it, or None."""
        type = self.seen_by(selects)
        if type is self.type:
            return self.line()
        return None if type is None else event_line(type, self.value_as(type))


def event_line(type: EventType, value: bytes) -> bytes:
    """One watch event on the wire."""
    return b'{"type":"%b","object":%b}\n' % (_TYPES[type], value)


_TYPES = {type: type.value.encode() for type in EventType}
