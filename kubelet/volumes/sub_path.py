"""subPath: a part of a volume, bound to a place of its own so that what it was when checked is what is mounted.

A container can write links into its volume at any time; therefore every step is taken on open handles, and Docker is
given the bound place instead of a path that could lead elsewhere by then (CVE-2017-1002101, CVE-2021-25741).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from kubelet.pods.env import ConfigError
from linux import mounts


def bound(base: Path, sub_path: str, target: Path) -> Path:
    """Bind `sub_path` of the volume at `base` to `target`; what is missing becomes directories of the volume's mode.

    Raises ConfigError, OSError.
    """
    if sub_path.startswith("/") or ".." in PurePosixPath(sub_path).parts:
        raise ConfigError(f"subPath {sub_path!r} must stay inside the volume")
    with _opened(base) as volume:
        handle = _open_or_make(volume, PurePosixPath(sub_path))
        try:
            _bind(handle, target)
        finally:
            os.close(handle)
    return target


@contextmanager
def _opened(base: Path) -> Iterator[int]:
    handle = os.open(base, os.O_PATH | os.O_DIRECTORY)
    try:
        yield handle
    finally:
        os.close(handle)


def _open_or_make(volume: int, path: PurePosixPath) -> int:
    try:
        return mounts.open_beneath(volume, str(path))
    except FileNotFoundError:
        parent = _open_or_make(volume, path.parent) if path.parts else os.dup(volume)
    try:
        mode = stat.S_IMODE(os.fstat(volume).st_mode)
        os.mkdir(path.name, dir_fd=parent)
        made = os.open(path.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
        os.fchmod(made, mode | os.fstat(made).st_mode & stat.S_ISGID)
        return made
    finally:
        os.close(parent)


def _bind(handle: int, target: Path) -> None:
    if mounts.is_mount(target):
        if os.path.samestat(os.stat(target), os.fstat(handle)):
            return
        mounts.unmount(target)  # of an earlier start: the volume has changed since
    target.parent.mkdir(parents=True, exist_ok=True)
    if stat.S_ISDIR(os.fstat(handle).st_mode):
        target.mkdir(exist_ok=True)
    else:
        target.touch()
    mounts.bind(handle, target)
