"""What the Tab key offers: kinds and names from the live API. Silent when there is no server to ask."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer


def resources(ctx: typer.Context, args: list[str], incomplete: str) -> list[str]:
    """Kinds first, then names of that kind; or `kind/name` in one word."""
    return list(_quietly(_resources, ctx, incomplete))


def scalable(ctx: typer.Context, args: list[str], incomplete: str) -> list[str]:
    return list(_quietly(_names_of, "deployments", incomplete))


def nodes(ctx: typer.Context, args: list[str], incomplete: str) -> list[str]:
    return list(_quietly(_names_of, "nodes", incomplete))


def pods(ctx: typer.Context, args: list[str], incomplete: str) -> list[str]:
    return list(_quietly(_names_of, "pods", incomplete))


def _quietly(offer: Any, *args: Any) -> Iterator[str]:
    try:
        yield from offer(*args)
    except Exception:
        # A completion has nowhere to show an error: without an answer there is nothing to offer.
        return


def _resources(ctx: typer.Context, incomplete: str) -> Iterator[str]:
    from cli.command import cluster

    kind, slash, _ = incomplete.partition("/")
    if slash:
        for name in _names_of(kind, ""):
            yield f"{kind}/{name}"
        return
    given = next((value for value in ctx.params.values() if isinstance(value, list | tuple) and value), None)
    if given and "/" not in given[0]:
        yield from _names_of(given[0], incomplete)
        return
    *before, last = incomplete.split(",")
    for row in cluster().kinds.rows:
        if row.plural.startswith(last):
            yield ",".join([*before, row.plural])


def _names_of(kind: str, incomplete: str) -> Iterator[str]:
    from cli.command import cluster

    connected = cluster()
    for item in connected.list_all(connected.resolve(kind)).get("items") or []:
        if item["metadata"]["name"].startswith(incomplete):
            yield item["metadata"]["name"]
