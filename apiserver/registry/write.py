"""One write: who wants what, and how. It is made for a request and passes everything that may change or refuse it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from functools import lru_cache
from typing import Any

from apiserver.auth.users import User
from apiserver.backend import Backend
from apiserver.patch.managed_fields import Writer
from apiserver.registry.kind import Kind


class Part(Enum):
    """Which part of an object a write may change, and so which rules hold."""

    OBJECT = "everything but the status"
    STATUS = "the status only"
    INTERNAL = "what the server itself wrote: a binding, a namespace's finalizers"


def _anything(verb: str, name: str) -> None:
    """The server's own writes."""


SERVER = User("system:apiserver", ("system:masters",))


@dataclass(slots=True)
class Write:
    """`old` is None for a create, `new` for a deletion. The store sets both, again at each attempt."""

    backend: Backend
    kind: Kind
    """The stored version: `new` and `old` are of it."""
    namespace: str = ""
    name: str = ""
    user: User = SERVER
    subresource: str = ""
    part: Part = Part.OBJECT
    manager: str = "minik"
    """The field manager (https://kubernetes.io/docs/reference/using-api/server-side-apply/#managers)."""
    applying: bool = False
    """Whether this is a server-side apply, which brings its own managedFields."""
    dry_run: bool = False
    authorize: Callable[[str, str], None] = _anything
    """`(verb, name)`: whether the user may do that to an object of this name. Raises Forbidden."""
    new: Any = None
    old: Any = None
    warnings: list[str] = field(default_factory=list)

    def writer(self) -> Writer:
        """Whose the fields are that this write changes."""
        return Writer(self.manager, self.kind.api_version, _timestamp(int(time.time())), self.subresource)


@lru_cache(maxsize=1)
def _timestamp(second: int) -> str:
    """As `metav1.Time` is written."""
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%SZ}"
