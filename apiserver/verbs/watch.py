"""Watch streams: JSON lines of events, bookmarks, and the initial list on request.

Interface: `handle(call)`; `events(plan)` yields chunks of bytes. One `Watcher` of the cache feeds one stream; the bytes
of an event are made once and shared, unless the client asked for a table or for metadata only.

Invariants
- What is sent is in version order; a bookmark's version covers everything sent before it.
- A stream ends by itself at its deadline, or after an ERROR event with a Status (410 Expired: list again).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from api.errors import BadRequest, Expired, NotFound
from apiserver import codec
from apiserver.http import render
from apiserver.http.render import Render
from apiserver.http.request import negotiate, truth
from apiserver.http.responses import Stream
from apiserver.registry.kind import Kind
from apiserver.storage.base import Compacted, EventType
from apiserver.storage.cache import Change, Entry, Gone, Watcher, event_line
from apiserver.verbs import list as lists
from apiserver.verbs.call import Call
from apiserver.verbs.reach import reach

BOOKMARK_SECONDS = 30.0
"""How often an idle watch that allows bookmarks gets one."""
LAST_BOOKMARK_SECONDS = 2.0
"""How long before its end a watch gets a last one, so that the client can go on from there."""
TIMEOUT_SECONDS = (1800.0, 3600.0)
"""Without timeoutSeconds a watch ends after a random time in this range, so that not all end together."""

Selects = Callable[[Entry], bool]
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


async def handle(call: Call) -> Stream:
    """Raises Expired for a version that is too old."""
    query = lists.Query.read(call.kind, call.request)
    parameters = call.request.query
    initial = truth(parameters.get("sendInitialEvents"))
    seconds = call.request.integer("timeoutSeconds")
    if initial and query.match != "NotOlderThan":
        raise BadRequest("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
    # resourceVersion unset or 0 means: first everything there is. With a version, only what came after it.
    listed = initial or (not query.version and "sendInitialEvents" not in parameters)
    if listed or not query.version:
        await reach(call.backend, query.version)
    if not call.is_served:  # removed while this waited: its watches have been ended already
        raise NotFound.path()
    cache, resource = call.backend.cache, call.kind.qualified
    since = cache.version if listed or not query.version else query.version
    try:
        watcher = cache.watch(resource, call.namespace, since=since)
    except Compacted:
        raise Expired(f"too old resource version: {since}") from None
    plan = Plan(call.kind, watcher, query.selects())
    plan.initial = cache.list(resource, call.namespace) if listed else []
    plan.render = render.event_render(call.kind, negotiate(call.request.accept), include_object=call.include_object)
    plan.bookmarks = truth(parameters.get("allowWatchBookmarks"))
    plan.initial_end = cache.version if initial and plan.bookmarks else None
    plan.timeout_seconds = float(seconds) if seconds else None
    return Stream(events(plan))


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
    except Gone:  # nobody serves this kind any longer
        return
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
    # With the required fields, empty: strictly typed clients decode a bookmark as its kind.
    document = {"apiVersion": kind.api_version, "kind": kind.kind} | kind.model.blank() | {"metadata": metadata}
    return b'{"type":"BOOKMARK","object":%b}\n' % codec.encode(document)
