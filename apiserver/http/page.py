"""One page of a list."""

from __future__ import annotations

from dataclasses import dataclass

from apiserver.storage.cache import Entry


@dataclass(slots=True)
class Page:
    """What a list answers with."""

    entries: list[Entry]
    version: int
    token: str = ""
    remaining: int | None = None
