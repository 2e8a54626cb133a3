"""Watch streams: JSON lines of events, bookmarks, and the initial list on request.

Interface: `events(plan)` yields chunks of bytes. One `Watcher` of the cache feeds one stream; the bytes of an event
are made once and shared, unless the client asked for a table or for metadata only.

Invariants
- What is sent is in version order; a bookmark's version covers everything sent before it.
- A stream ends by itself at its deadline, or after an ERROR event with a Status (410 Expired: list again).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import msgspec

from api.errors import Expired
from api.kinds import Kind
from apiserver import codec
from apiserver.storage.base import Compacted, EventType
from apiserver.storage.cache import Change, Entry, Watcher, event_line

BOOKMARK_SECONDS = 30.0
"""How often an idle watch that allows bookmarks gets one."""
LAST_BOOKMARK_SECONDS = 2.0
"""How long before its end a watch gets a last one, so that the client can go on from there."""
TIMEOUT_SECONDS = (1800.0, 3600.0)
"""Without timeoutSeconds a watch ends after a random time in this range, so that not all end together."""

Selects = Callable[[Entry], bool]
Render = Callable[[Entry, bytes], bytes]
"""An object in the form the client wants; gets the entry and the bytes to show."""

INITIAL_EVENTS_END = "k8s.io/initial-events-end"


@dataclass(slots=True)
class Plan:
    """Everything that decides what a watch sends."""

    kind: Kind
    watcher: Watcher
    selects: Selects | None = None
    render: Render | None = None
    bookmarks: bool = False
    initial: list[Entry] = field(default_factory=list)
    """Objects sent as ADDED before anything else."""
    initial_end: int | None = None
    """The version of the bookmark that ends the initial list; None when the client did not ask for one."""
    timeout_seconds: float | None = None


async def events(plan: Plan) -> AsyncIterator[bytes]:
    """The stream, in chunks of one or more lines."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + (plan.timeout_seconds or random.uniform(*TIMEOUT_SECONDS))
    if first := _initial(plan):
        yield first
    last_words = False
    try:
        while (left := deadline - loop.time()) > 0:
            changes = await plan.watcher.next(within=_patience(plan, left, last_words))
            if changes:
                if lines := _lines(plan, changes):
                    yield lines
            elif plan.bookmarks and not last_words:
                last_words = deadline - loop.time() <= LAST_BOOKMARK_SECONDS
                yield _bookmark(plan.kind, plan.watcher.version)
    except Compacted:
        error = Expired("too old resource version: the watch fell behind")
        yield b'{"type":"ERROR","object":%b}\n' % codec.encode(error.to_status())


def _initial(plan: Plan) -> bytes:
    """The present objects and the bookmark that says they were all."""
    changes = [Change(EventType.ADDED, entry, None) for entry in plan.initial]
    plan.initial = []
    end = b"" if plan.initial_end is None else _bookmark(plan.kind, plan.initial_end, initial_end=True)
    return _lines(plan, changes) + end


def _patience(plan: Plan, left: float, last_words: bool) -> float:
    """How long to wait for a change before it is time for a bookmark or the end."""
    if not plan.bookmarks or last_words:
        return left
    return min(BOOKMARK_SECONDS, max(left - LAST_BOOKMARK_SECONDS, 0.001))


def _lines(plan: Plan, changes: list[Change]) -> bytes:
    if plan.render is not None:
        return b"".join(line for change in changes if (line := _rendered(plan, change)))
    if plan.selects is None:
        return b"".join([change.line() for change in changes])
    selects = plan.selects
    return b"".join(line for change in changes if (line := change.line_for(selects)))


def _rendered(plan: Plan, change: Change) -> bytes | None:
    seen = change.type if plan.selects is None else change.seen_by(plan.selects)
    if seen is None or plan.render is None:
        return None
    shown = change.previous if seen is EventType.DELETED and change.previous is not None else change.entry
    return event_line(seen, plan.render(shown, change.value_as(seen)))


def _bookmark(kind: Kind, version: int, *, initial_end: bool = False) -> bytes:
    metadata: dict[str, Any] = {"resourceVersion": str(version)}
    if initial_end:
        metadata["annotations"] = {INITIAL_EVENTS_END: "true"}
    cls: type = kind.resource
    document = {"apiVersion": kind.api_version, "kind": kind.kind} | _blank(cls) | {"metadata": metadata}
    return b'{"type":"BOOKMARK","object":%b}\n' % codec.encode(document)


@cache
def _blank(cls: type) -> dict[str, Any]:
    """The required fields of a class with empty values: strictly typed clients decode a bookmark as its kind."""
    return {each.encode_name: _empty(each.type) for each in msgspec.structs.fields(cls) if each.required}


def _empty(declared: Any) -> Any:
    if isinstance(declared, type) and issubclass(declared, msgspec.Struct):
        return _blank(declared)
    return declared() if declared in (str, int, bool) else []
