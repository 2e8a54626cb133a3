"""What happened to an object, as people read it in `describe` (k8s.io/client-go/tools/record).

Recording never blocks and never fails the caller: events are queued, written in the background, and dropped with
a log line when the API server stays away. Repeats of an event raise its count instead of adding another.
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
from client.config import Client

REMEMBERED_EVENTS = 4096
QUEUE_LIMIT = 1000
MESSAGE_LIMIT = 1024
"""Characters; the API refuses longer messages."""

log = logging.getLogger("events")

_Identity = tuple[str, ...]


class EventRecorder:
    """Records events of one component, on one host if it has one."""

    def __init__(self, client: Client, component: str, *, host: str | None = None) -> None:
        self._client = client
        self._source = EventSource(component=component, host=host)
        self._queue: asyncio.Queue[Event] = asyncio.Queue(QUEUE_LIMIT)
        self._written: OrderedDict[_Identity, Event] = OrderedDict()

    def event(self, obj: Any, type_: str, reason: str, message: str, *, field_path: str | None = None) -> None:
        """Note that something happened to `obj`. `type_` is Normal or Warning; `field_path` names a part of it."""
        event = self._new_event(obj, type_, reason, message[:MESSAGE_LIMIT])
        event.involvedObject.fieldPath = field_path
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            log.warning("dropped event %s for %s: too many are waiting", reason, meta.key(obj))

    async def run(self) -> None:
        """Write what is queued until cancelled."""
        while True:
            event = await self._queue.get()
            try:
                await self._write(event)
            except (ApiError, httpx2.HTTPError, msgspec.MsgspecError, OSError) as error:
                log.info("dropped event %s: %s", event.reason, str(error) or type(error).__name__)

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

    async def _write(self, event: Event) -> None:
        identity = _identity(event)
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
        patch = {"count": (known.count or 1) + 1, "lastTimestamp": event.lastTimestamp}
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
