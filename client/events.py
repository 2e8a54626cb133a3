"""What happened to an object, as people read it in `describe` (k8s.io/client-go/tools/record).

Recording never blocks and never fails the caller. Events travel in a lane of their own: a bounded queue and a few
writers, so that a burst of them neither holds up nor is held up by the work it tells of.

Invariants
- Equal events become one with a count, whether the first one still waits here or is written (EventCorrelator).
- No event is written by two writers at once.
- One that is lost, because too many wait or the API server stays away, is counted (`dropped`) and logged.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from typing import Any

import httpx2
import msgspec
from lightkube import ApiError
from lightkube.models.core_v1 import EventSource, ObjectReference
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Event
from lightkube.types import PatchType

from api import meta
from api.resource import type_of
from client.backoff import Backoff
from client.config import Client

REMEMBERED_EVENTS = 4096
QUEUE_LIMIT = 8192
"""Different events that may wait; each takes about a kilobyte."""
WRITERS = 4
TRIES = 12
"""For one event; with these waits (in seconds) between them the API server may be away for a minute."""
BACKOFF = Backoff(0.2, 10.0)
MESSAGE_LIMIT = 1024
"""Characters; the API refuses longer messages."""

log = logging.getLogger("events")

_Identity = tuple[str, ...]


class EventRecorder:
    """Records events of one component, on one host if it has one."""

    def __init__(self, client: Client, component: str, *, host: str | None = None) -> None:
        self._client = client
        self._source = EventSource(component=component, host=host)
        self.dropped = 0
        """How many were lost."""
        self._pending: OrderedDict[_Identity, Event] = OrderedDict()
        self._writing: set[_Identity] = set()
        self._news = asyncio.Event()
        self._written: OrderedDict[_Identity, Event] = OrderedDict()

    def event(self, obj: Any, type_: str, reason: str, message: str, *, field_path: str | None = None) -> None:
        """Note that something happened to `obj`. `type_` is Normal or Warning; `field_path` names a part of it."""
        event = self._new_event(obj, type_, reason, message[:MESSAGE_LIMIT])
        event.involvedObject.fieldPath = field_path
        identity = _identity(event)
        waiting = self._pending.get(identity)
        if waiting is not None:
            waiting.count = (waiting.count or 1) + 1
            waiting.lastTimestamp = event.lastTimestamp
        elif len(self._pending) >= QUEUE_LIMIT:
            self._drop(event, "too many are waiting")
        else:
            self._pending[identity] = event
            self._news.set()

    async def run(self) -> None:
        """Write what is queued until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(WRITERS):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            identity = next((each for each in self._pending if each not in self._writing), None)
            if identity is None:
                self._news.clear()
                await self._news.wait()
                continue
            event = self._pending.pop(identity)
            self._writing.add(identity)
            try:
                await self._deliver(identity, event)
            finally:
                self._writing.discard(identity)
                self._news.set()

    async def _deliver(self, identity: _Identity, event: Event) -> None:
        """Write it, and while the API server is away or overloaded try again."""
        for failures in range(1, TRIES + 1):
            try:
                await self._write(identity, event)
                return
            except (ApiError, httpx2.HTTPError, msgspec.MsgspecError, OSError) as error:
                refused = isinstance(error, ApiError) and error.status.code not in (429, 500, 503, 504)
                if refused or failures == TRIES:
                    self._drop(event, str(error) or type(error).__name__)
                    return
            await asyncio.sleep(BACKOFF.delay(failures))

    def _drop(self, event: Event, why: str) -> None:
        self.dropped += event.count or 1
        log.warning(
            "dropped event %s for %s (%d so far): %s", event.reason, event.involvedObject.name, self.dropped, why
        )

    def _new_event(self, obj: Any, type_: str, reason: str, message: str) -> Event:
        now = meta.now()
        api_version, kind = type_of(obj)
        space = meta.namespace(obj) or "default"
        return Event(
            # The suffix makes the name unique, as Kubernetes' own recorder does it.
            metadata=ObjectMeta(name=f"{meta.name(obj)}.{time.time_ns():x}", namespace=space),
            involvedObject=ObjectReference(
                apiVersion=api_version,
                kind=kind,
                name=meta.name(obj),
                namespace=meta.namespace(obj) or None,
                uid=meta.uid(obj),
                resourceVersion=meta.metadata(obj).resourceVersion,
            ),
            type=type_,
            reason=reason,
            message=message,
            source=self._source,
            reportingComponent=self._source.component,
            reportingInstance=self._source.host,
            firstTimestamp=now,
            lastTimestamp=now,
            count=1,
        )

    async def _write(self, identity: _Identity, event: Event) -> None:
        known = self._written.get(identity)
        written = await self._repeat(known, event) if known is not None else None
        if written is None:
            written = await self._client.create(event)
        self._written[identity] = written
        self._written.move_to_end(identity)
        if len(self._written) > REMEMBERED_EVENTS:
            self._written.popitem(last=False)

    async def _repeat(self, known: Event, event: Event) -> Event | None:
        """Raise the count of the event already there; None when it has gone since."""
        patch = {"count": (known.count or 1) + (event.count or 1), "lastTimestamp": event.lastTimestamp}
        name, space = meta.name(known), meta.namespace(known)
        try:
            return await self._client.patch(Event, name, patch, namespace=space, patch_type=PatchType.MERGE)
        except ApiError as error:
            if error.status.code == 404:
                return None
            raise


def _identity(event: Event) -> _Identity:
    about = event.involvedObject
    parts = (about.kind, about.namespace, about.name, about.uid, about.fieldPath)
    return tuple(part or "" for part in (*parts, event.type, event.reason, event.message))
