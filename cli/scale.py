"""`minikctl scale`: how many replicas. A name without a kind means a Deployment."""

from __future__ import annotations

from typing import Annotated

import typer

from cli import objects
from cli.command import Chosen, Write
from cli.errors import CliError, collected
from cli.session import MERGE_PATCH, Ref, Session


def scale(
    session: Session,
    chosen: Chosen,
    write: Write,
    replicas: Annotated[int, typer.Option(help="The number of replicas to have.")] = -1,
    current_replicas: Annotated[int, typer.Option(help="Only if this is the number now.")] = -1,
    timeout: Annotated[str, typer.Option(help="Wait this long for the replicas to be there; 0s does not wait.")] = "0s",
) -> None:
    """Set the number of replicas of a Deployment or whatever else has a scale.

    minikctl scale web --replicas 5; scale rs/web-1 --replicas 0; scale deploy/web deploy/api --replicas 2
    """
    if replicas < 0:
        raise CliError("The --replicas=COUNT flag is required, and COUNT must be greater than or equal to 0")
    with collected() as failures:
        for ref in objects.refs(session, chosen, alone="deployments.apps", failures=failures):
            with failures:
                _scale(session, write, ref, replicas=replicas, expected=current_replicas)
                write.say(ref.label, "scaled")
                if timeout != "0s" and write.real:
                    _wait(session, ref, replicas=replicas, timeout=timeout)


def _scale(session: Session, write: Write, ref: Ref, *, replicas: int, expected: int) -> None:
    if "scale" not in ref.kind.subresources:
        raise CliError(
            f'cannot scale {ref.kind.qualified} "{ref.name}": the server does not have a scale for this kind'
        )
    body: dict[str, object] = {"spec": {"replicas": replicas}}
    if expected >= 0 or not write.real:
        current = session.get(ref, "scale")
        actual = (current.get("spec") or {}).get("replicas", 0)
        if expected not in (-1, actual):
            raise CliError(f"Expected replicas to be {expected}, was {actual}")
        body["metadata"] = {"resourceVersion": current["metadata"]["resourceVersion"]}
    write.send(session, "PATCH", ref.path("scale"), body, content_type=MERGE_PATCH)


def _wait(session: Session, ref: Ref, *, replicas: int, timeout: str) -> None:
    from cli.wait import deadline, wait_for

    wait_for(
        session,
        ref,
        lambda obj: obj is None or (obj.get("status") or {}).get("replicas", 0) == replicas,
        ends=deadline(timeout),
    )
