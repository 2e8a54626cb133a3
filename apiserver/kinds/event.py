"""Events: what components tell about objects. They are kept for --event-ttl after they were last of interest."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
from lightkube.resources.core_v1 import Event

from api.durations import since
from api.errors import FieldError, invalid
from apiserver.registry.columns import Column, Object, at, name_of
from apiserver.registry.defaults import micro_time
from apiserver.registry.facts import Selectable
from apiserver.registry.kind import Kind

ABOUT = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")


def defaults(obj: Any) -> None:
    obj.eventTime = micro_time(obj.eventTime)
    if obj.series is not None:
        obj.series.lastObservedTime = micro_time(obj.series.lastObservedTime)


def same_namespace(obj: Any) -> Iterator[FieldError]:
    about, namespace = obj.involvedObject.namespace or "", obj.metadata.namespace
    if (about and about != namespace) or (not about and namespace not in ("default", "kube-system")):
        yield invalid("involvedObject.namespace", about, "does not match event.namespace")


class _Series(msgspec.Struct):
    lastObservedTime: datetime | None = None


class _Metadata(msgspec.Struct):
    creationTimestamp: datetime | None = None


class _Times(msgspec.Struct):
    metadata: _Metadata
    lastTimestamp: datetime | None = None
    eventTime: datetime | None = None
    series: _Series | None = None


def last_seen(value: bytes) -> datetime:
    """When an event was last of interest."""
    event = msgspec.json.decode(value, type=_Times)
    observed = event.series.lastObservedTime if event.series else None
    moments = (event.metadata.creationTimestamp, event.lastTimestamp, event.eventTime, observed)
    return max((each for each in moments if each is not None), default=datetime.now(UTC))


def _seen(event: Object) -> str:
    series = event.get("series") or {}
    moment = series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime")
    return since(moment or event["metadata"].get("creationTimestamp"))


def _object(event: Object) -> str:
    about = event.get("involvedObject") or {}
    return f"{about.get('kind', '').lower()}/{about.get('name', '')}"


def _source(event: Object) -> str:
    source = event.get("source") or {}
    component = source.get("component") or event.get("reportingComponent") or ""
    host = source.get("host") or event.get("reportingInstance") or ""
    return f"{component}, {host}" if host else component


def _count(event: Object) -> int:
    return int((event.get("series") or {}).get("count") or event.get("count") or 1)


EVENT = Kind(
    Event,
    short_names=("ev",),
    selectable=(
        *(f"involvedObject.{each}" for each in ABOUT),
        "reason",
        "reportingComponent",
        Selectable("source", "source.component"),
        "type",
    ),
    columns=(
        Column("Last Seen", _seen),
        Column("Type", at("type", "")),
        Column("Reason", at("reason", "")),
        Column("Object", _object),
        Column("Subobject", at("involvedObject.fieldPath", ""), wide=True),
        Column("Source", _source, wide=True),
        Column("Message", lambda obj: str(obj.get("message") or "").strip()),
        Column("First Seen", lambda obj: since(obj.get("firstTimestamp") or obj.get("eventTime")), wide=True),
        Column("Count", _count, "integer", wide=True),
        Column("Name", name_of, format="name", wide=True),
    ),
    create_on_update=True,
    defaults=defaults,
    rules=(same_namespace,),
    expires=last_seen,
)
