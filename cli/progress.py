"""What `up` shows while hosts start: a live table on a terminal, plain lines elsewhere.

Both are a lab.progress.Listener inside a context manager.
"""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any, Protocol


class Event(Protocol):
    """What the lab tells (lab.progress.Progress)."""

    host: str
    step: str
    state: str
    detail: str
    seconds: float


class Plain:
    """A line for each step that is done."""

    def __enter__(self) -> Plain:
        return self

    def __exit__(self, *details: object) -> None:
        pass

    def __call__(self, event: Event) -> None:
        if event.state == "done":
            print(f"{event.seconds:6.1f}s  {event.host:<10} {event.step}", flush=True)
        elif event.state == "failed":
            print(f"{event.seconds:6.1f}s  {event.host:<10} {event.step} failed", flush=True)


class Live:
    """A table with a row for each host and what it is doing, redrawn in place."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live as RichLive

        self._rows: dict[str, tuple[str, str, float]] = {}
        self._done: dict[str, list[str]] = {}
        self._live = RichLive(console=Console(), refresh_per_second=12, get_renderable=self._table)

    def __enter__(self) -> Live:
        self._live.start()
        return self

    def __exit__(
        self, type_: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._live.stop()

    def __call__(self, event: Event) -> None:
        self._rows[event.host] = (event.step, event.state, event.seconds)
        if event.state == "done":
            self._done.setdefault(event.host, []).append(event.step)

    def _table(self) -> Any:
        from rich.spinner import Spinner
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        for host, (step, state, seconds) in list(self._rows.items()):
            before = [each for each in self._done.get(host, []) if each != step]
            mark: Any = {
                "start": Spinner("dots", style="cyan"),
                "done": Text("✓", style="green"),
                "failed": Text("✗", style="red"),
            }[state]
            what = Text(", ".join([*before, ""]), style="dim") + Text(step, style="red" if state == "failed" else "")
            table.add_row(mark, Text(host, style="bold"), what, Text(f"{seconds:.1f}s", style="dim"))
        return table


def listener() -> Plain | Live:
    """The one that suits where the output goes."""
    return Live() if sys.stdout.isatty() else Plain()
