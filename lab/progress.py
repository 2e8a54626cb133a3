"""What the lab tells while it works: plain events, rendered by whoever listens (the CLI, a test, nobody)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Progress:
    """One step of one host. state: start, done or failed. seconds: since the whole began."""

    host: str
    step: str
    state: str
    detail: str = ""
    seconds: float = 0.0


Listener = Callable[[Progress], None]


def silent(event: Progress) -> None:
    """A listener that does not care."""


@dataclass
class Steps:
    """Sends events to a listener, one at a time although hosts start in parallel."""

    listener: Listener = silent
    started: float = field(default_factory=time.monotonic)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def tell(self, host: str, step: str, state: str, detail: str = "") -> None:
        with self._lock:
            self.listener(Progress(host, step, state, detail, time.monotonic() - self.started))

    @contextmanager
    def step(self, host: str, step: str) -> Iterator[None]:
        """Tell that a step starts, and how it ended."""
        self.tell(host, step, "start")
        try:
            yield
        except BaseException as error:
            self.tell(host, step, "failed", str(error))
            raise
        self.tell(host, step, "done")
