"""Network namespaces. A thread is in one, and what it opens or starts belongs there; the other threads stay."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator

_CLONE_NEWNET = 0x40000000


def enter(path: str | os.PathLike[str]) -> None:
    """Move this thread into the network namespace of that file. Raises FileNotFoundError, OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(handle, _CLONE_NEWNET) != 0:
            code = ctypes.get_errno()
            raise OSError(code, f"cannot enter network namespace {path}: {os.strerror(code)}")
    finally:
        os.close(handle)


def of_process(pid: int) -> str:
    return f"/proc/{pid}/ns/net"


@contextlib.contextmanager
def entered(path: str | os.PathLike[str]) -> Iterator[None]:
    """For making something there, such as a socket, and coming back. The caller must not await inside."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        enter(path)
        try:
            yield
        finally:
            enter(f"/proc/self/fd/{home}")
    finally:
        os.close(home)
