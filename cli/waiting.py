"""Waiting for the world to become something: by list and watch with a deadline, never by asking again and again.

    wait_for(session, ref, holds, ...)    until `holds(object or None)`
    until_gone(...)                       until an object is deleted
Raises errors.CliError when the deadline passes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from cli.errors import CliError, StatusError, not_found
from cli.session import Object, Ref, Session
from client.errors import Unreachable

SLICE_SECONDS = 30
"""A watch without an end in sight is asked for in pieces of this length, so that a deadline is never missed by more."""


def seconds(text: str) -> float:
    """A duration option. Raises CliError."""
    from api.durations import parse_duration

    try:
        value = parse_duration(text.removeprefix("-"))
    except ValueError as error:
        raise CliError(str(error)) from None
    return -value if text.startswith("-") else value


def deadline(timeout: str) -> float:
    """The moment (time.monotonic) a wait ends; "0s" means never."""
    value = seconds(timeout)
    return time.monotonic() + value if value > 0 else math.inf


def wait_for(
    session: Session,
    ref: Ref,
    holds: Callable[[Object | None], bool],
    *,
    ends: float = math.inf,
    message: str = "timed out waiting for the condition",
) -> Object | None:
    """Follow one object until `holds` of it (None: it is not there). Returns what held.

    A server that is away for a while, or has forgotten the history, is asked anew.
    """
    while True:
        try:
            return _follow(session, ref, holds, ends=ends, message=message)
        except Unreachable:
            session.patiently()
        except StatusError as error:
            if error.reason not in ("Expired", "Gone"):
                raise


def _follow(
    session: Session, ref: Ref, holds: Callable[[Object | None], bool], *, ends: float, message: str
) -> Object | None:
    selector = f"metadata.name={ref.name}"
    listing = session.list_all(ref.kind, namespace=ref.namespace, fieldSelector=selector)
    current: Object | None = next(iter(listing.get("items") or []), None)
    if holds(current):
        return current
    version = listing["metadata"]["resourceVersion"]
    while (left := ends - time.monotonic()) > 0:
        span = str(max(1, math.ceil(min(left, SLICE_SECONDS))))
        events = session.watch_once(
            ref.kind, version=version, namespace=ref.namespace, fieldSelector=selector, timeoutSeconds=span
        )
        for type_, obj in events:
            version = obj["metadata"]["resourceVersion"]
            current = None if type_ == "DELETED" else obj
            if type_ != "BOOKMARK" and holds(current):
                return current
            if time.monotonic() > ends:
                break
    raise CliError(message)


def until_gone(session: Session, ref: Ref, *, uid: str, ends: float = math.inf) -> None:
    """Wait until this very object is deleted; a new one of the same name counts as gone."""

    def gone(obj: Object | None) -> bool:
        return obj is None or (bool(uid) and obj["metadata"].get("uid") != uid)

    message = f"timed out waiting for the condition on {ref.kind.plural}/{ref.name}"
    wait_for(session, ref, gone, ends=ends, message=message)


def existing(obj: Object | None, ref: Ref) -> Object:
    """The object, or the server's own NotFound when it has gone while somebody waited for it."""
    if obj is None:
        raise not_found(ref.kind.qualified, ref.name)
    return obj
