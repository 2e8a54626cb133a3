"""Network namespaces by name, and running code inside one.

`call(name, function)` runs the function in a thread of its own that has entered the namespace: sockets it opens and
processes it starts belong there, the rest of this process stays where it is. (`ip netns exec` would also replace /sys,
and a Docker engine needs the real one.)
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pyroute2 import netns

from lab.errors import LabError
from lab.tasks import spawn
from linux import namespaces

DIRECTORY = Path("/run/netns")

T = TypeVar("T")


def path(name: str) -> Path:
    return DIRECTORY / name


def exists(name: str) -> bool:
    return inode(name) is not None


def create(name: str) -> None:
    if not exists(name):
        path(name).unlink(missing_ok=True)
        netns.create(name)


def delete(name: str) -> None:
    """Remove the name; the namespace itself ends with the last process in it."""
    if exists(name):
        netns.remove(name)
    path(name).unlink(missing_ok=True)


def names(prefix: str) -> list[str]:
    """Namespaces whose name starts so."""
    return sorted(entry.name for entry in DIRECTORY.glob(f"{prefix}*")) if DIRECTORY.exists() else []


def inode(name: str) -> int | None:
    """The number that /proc/PID/ns/net shows for members; None without such a namespace.

    A crash can leave the file without the namespace mounted on it: then it is on another file system.
    """
    try:
        found = path(name).stat()
    except FileNotFoundError:
        return None
    return found.st_ino if found.st_dev == os.stat("/proc/self/ns/net").st_dev else None


def call(name: str, function: Callable[[], T]) -> T:
    """The result of `function`, run inside the namespace."""

    def inside() -> T:
        _enter(name)
        return function()

    return spawn(inside).result()


def _enter(name: str) -> None:
    try:
        namespaces.enter(path(name))
    except FileNotFoundError:
        raise LabError(f"there is no network namespace {name}") from None
    except OSError as error:
        raise LabError(str(error)) from error
