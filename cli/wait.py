"""Waiting for the world to become something: by list and watch with a deadline, never by asking again and again.

    wait_for(session, ref, holds, ...)    until `holds(object or None)`
    until_gone(...)                       until an object is deleted
    wait(...)                             `minikctl wait`: for a condition, the value of a field, an end
Raises errors.CliError when the deadline passes.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator
from typing import Annotated

import typer

from api.durations import parse_duration
from cli import objects
from cli.command import Chosen
from cli.errors import CliError, StatusError, collected, not_found
from cli.session import Object, Ref, Session
from client.errors import Unreachable

Holds = Callable[[Object | None], bool]

SLICE_SECONDS = 30
"""A watch without an end in sight is asked for in pieces of this length, so that a deadline is never missed by more."""


def seconds(text: str) -> float:
    """A duration option. Raises CliError."""
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
    holds: Holds,
    *,
    ends: float = math.inf,
    message: str = "timed out waiting for the condition",
) -> None:
    """Follow one object until `holds` of it (None: it is not there).

    A server that is away for a while, or has forgotten the history, is asked anew.
    """
    while True:
        try:
            if any(holds(current) for current in _states(session, ref, ends)):
                return
            raise CliError(message)
        except Unreachable:
            session.patiently()
        except StatusError as error:
            if error.reason not in ("Expired", "Gone"):
                raise


def _states(session: Session, ref: Ref, ends: float) -> Iterator[Object | None]:
    """The object as it is now and becomes, until the deadline."""
    only = {"namespace": ref.namespace, "fieldSelector": f"metadata.name={ref.name}"}
    listing = session.list_all(ref.kind, **only)
    yield next(iter(listing.get("items") or []), None)
    version = listing["metadata"]["resourceVersion"]
    while (left := ends - time.monotonic()) > 0:
        span = str(max(1, math.ceil(min(left, SLICE_SECONDS))))
        for type_, obj in session.watch_once(ref.kind, version=version, timeoutSeconds=span, **only):
            version = obj["metadata"]["resourceVersion"]
            if type_ != "BOOKMARK":
                yield None if type_ == "DELETED" else obj
            if time.monotonic() > ends:
                return


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


# The command

A_WEEK = 7 * 86400.0
"""What a negative --timeout means, as in kubectl."""


def wait(
    session: Session,
    chosen: Chosen,
    for_: Annotated[
        str, typer.Option("--for", help="delete, create, condition=NAME[=VALUE], or jsonpath='{...}'[=VALUE].")
    ] = "",
    timeout: Annotated[str, typer.Option(help="How long to wait at most; 0 checks once, negative is a week.")] = "30s",
) -> None:
    """Wait until something holds of objects.

    minikctl wait --for=condition=Available deploy/web; wait --for=delete pod/web-1 --timeout=60s
    """
    holds = parse(for_)
    may_be_missing = for_.lower() in ("delete", "create")
    length = seconds(timeout)
    ends = time.monotonic() + (A_WEEK if length < 0 else length)
    wanted = list(objects.refs(session, chosen))
    if not wanted and for_.lower() != "delete":
        raise CliError("no matching resources found")
    what = "condition not met for" if length == 0 else "timed out waiting for the condition on"
    with collected() as failures:
        for ref in wanted:
            with failures:
                if for_.lower() == "delete" and session.find(ref) is None:
                    continue
                wait_for(
                    session,
                    ref,
                    lambda obj, ref=ref: holds(obj if may_be_missing else existing(obj, ref)),  # type: ignore[misc]
                    ends=ends,
                    message=f"{what} {ref.kind.plural}/{ref.name}",
                )
                print(f"{ref.label} condition met", flush=True)


def parse(text: str) -> Holds:
    """What --for demands. Raises CliError. Pure."""
    if not text:
        raise CliError("must specify --for")
    if text.lower() == "delete":
        return lambda obj: obj is None
    if text.lower() == "create":
        return lambda obj: obj is not None
    what, _, rest = text.partition("=")
    if what == "condition":
        name, _, value = rest.partition("=")
        return lambda obj: _has_condition(obj or {}, name, value or "true")
    if what == "jsonpath":
        return _parse_jsonpath(rest)
    raise CliError(f'unrecognized condition: "{text}"')


def _has_condition(obj: Object, name: str, value: str) -> bool:
    status = obj.get("status") or {}
    observed = status.get("observedGeneration", math.inf)
    if observed < obj.get("metadata", {}).get("generation", 0):
        return False
    return any(
        each["type"].lower() == name.lower() and each["status"].lower() == value.lower()
        for each in status.get("conditions") or []
    )


def _parse_jsonpath(text: str) -> Holds:
    from cli import paths

    match = re.fullmatch(r"'?(\{.*?\})'?(?:=(.*))?", text, re.DOTALL)
    if not match:
        raise CliError("jsonpath wait format must be --for=jsonpath='{.status.readyReplicas}'=3")
    path, value = match.groups()
    wanted = value.strip("'\"") if value is not None else None

    def holds(obj: Object | None) -> bool:
        found = paths.find(path, obj)
        return bool(found) and (wanted is None or paths.to_text(found[0]) == wanted)

    return holds
