"""How every component's process starts: logging to stderr, one event loop, a clean stop on SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Coroutine
from typing import Any

FORMAT = "%(asctime)s %(levelname).1s %(name)s %(message)s"


def configure_logging(verbosity: int = 0) -> None:
    """Log to stderr, a line a record: INFO, or DEBUG from verbosity 4 up, as klog's -v is used."""
    logging.basicConfig(format=FORMAT, level=logging.DEBUG if verbosity >= 4 else logging.INFO, stream=sys.stderr)
    # These name every request; at INFO they would drown what the component itself has to say.
    for noisy in ("httpx", "httpx2", "httpcore", "httpcore2", "uvicorn.access", "docker", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def run_until_signalled(main: Coroutine[Any, Any, None]) -> None:
    """Run `main` until it ends or the process is told to stop, which cancels it and counts as a clean end."""
    try:
        import uvloop  # imported late: components without it fall back to asyncio's own loop

        runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    except ImportError:
        runner = asyncio.Runner()
    with runner:
        runner.run(_until_signalled(main))


async def _until_signalled(main: Coroutine[Any, Any, None]) -> None:
    task = asyncio.ensure_future(main)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task
