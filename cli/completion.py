"""What the Tab key offers: kinds and names from the live API. Silent when there is no server to ask."""

from __future__ import annotations

from collections.abc import Iterator

import typer

from cli.session import connect

NAMES_ALONE = (
    {"scale": "deployments", "expose": "deployments", "logs": "pods"}
    | dict.fromkeys(("status", "history", "undo", "restart", "pause", "resume"), "deployments")
    | dict.fromkeys(("cordon", "uncordon", "drain"), "nodes")
)
"""Commands whose first word may be a name, and of what."""


def resources(ctx: typer.Context, args: list[str], incomplete: str) -> list[str]:
    """Kinds first, then names of that kind; or `kind/name` in one word."""
    try:
        return list(_offer(ctx, incomplete))
    except Exception:
        return []  # A completion has nowhere to show an error.


def _offer(ctx: typer.Context, incomplete: str) -> Iterator[str]:
    kind, slash, _ = incomplete.partition("/")
    given = next((value for value in ctx.params.values() if isinstance(value, list | tuple) and value), None)
    alone = NAMES_ALONE.get(ctx.command.name or "")
    if slash:
        yield from (f"{kind}/{name}" for name in _names_of(kind, ""))
    elif alone:
        yield from _names_of(alone, incomplete)
    elif given and "/" not in given[0]:
        yield from _names_of(given[0], incomplete)
    else:
        *before, last = incomplete.split(",")
        yield from (",".join([*before, row.plural]) for row in connect().kinds.rows if row.plural.startswith(last))


def _names_of(kind: str, incomplete: str) -> Iterator[str]:
    connected = connect()
    for item in connected.objects(connected.resolve(kind)):
        if item["metadata"]["name"].startswith(incomplete):
            yield item["metadata"]["name"]
