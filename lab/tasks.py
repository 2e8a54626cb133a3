"""Running things at the same time, so that the first failure or a Ctrl-C ends the waiting at once.

ThreadPoolExecutor would keep the process until its last thread is done; these are daemon threads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from typing import Any, TypeVar

T = TypeVar("T")


def spawn(function: Callable[..., T], *arguments: Any) -> Future[T]:
    """Run the function in a thread of its own."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(function(*arguments))
        except BaseException as error:  # handed to whoever asks for the result
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def finish(futures: Iterable[Future[Any]]) -> None:
    """Wait for all of them; raise the first failure as soon as it happens."""
    pending = list(futures)
    done, _ = wait(pending, return_when=FIRST_EXCEPTION)
    for future in done:
        future.result()
