"""What `up` shows while hosts start: a live table on a terminal, plain lines elsewhere.

`listener()` is a context manager that gives a lab.progress.Listener.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Listener = Callable[[Any], None]
"""Takes a lab.progress.Progress."""


@contextmanager
def listener() -> Iterator[Listener]:
    """The one that suits where the output goes."""
    if not sys.stdout.isatty():
        yield _plain
        return
    from rich.live import Live

    table = _Table()
    with Live(refresh_per_second=12, get_renderable=table.render):
        yield table.note


def _plain(event: Any) -> None:
    """A line for each step that is done."""
    if event.state != "start":
        failed = " failed" if event.state == "failed" else ""
        print(f"{event.seconds:6.1f}s  {event.host:<10} {event.step}{failed}", flush=True)


class _Table:
    """A row for each host and what it is doing."""

    def __init__(self) -> None:
        self._rows: dict[str, Any] = {}
        self._done: dict[str, list[str]] = {}

    def note(self, event: Any) -> None:
        self._rows[event.host] = event
        if event.state == "done":
            self._done.setdefault(event.host, []).append(event.step)

    def render(self) -> Any:
        from rich.spinner import Spinner
        from rich.table import Table
        from rich.text import Text

        marks: dict[str, Any] = {
            "start": Spinner("dots", style="cyan"),
            "done": Text("✓", "green"),
            "failed": Text("✗", "red"),
        }
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        for host, event in list(self._rows.items()):
            before = [each for each in self._done.get(host, []) if each != event.step]
            what = Text(", ".join([*before, ""]), "dim") + Text(event.step, "red" if event.state == "failed" else "")
            table.add_row(marks[event.state], Text(host, "bold"), what, Text(f"{event.seconds:.1f}s", "dim"))
        return table
