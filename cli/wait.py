"""`minikctl wait`: until a condition holds, a field has a value, or objects are gone."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from typing import Annotated

import typer

from cli import objects
from cli.command import Chosen
from cli.errors import CliError, collected
from cli.session import Object, Session
from cli.waiting import existing, seconds, wait_for

A_WEEK = 7 * 86400.0
"""What a negative --timeout means, as in kubectl."""

Holds = Callable[[Object | None], bool]


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
