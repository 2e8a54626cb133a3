"""Mounts, by the system calls themselves: no program to start, and the kernel's own reason when one fails.

    mount_tmpfs(path, ...) / bind(what, path)   mount on a directory or file that exists
    share(directory)                            mounts below it reach the namespaces made from this one
    separate(shared=directory)                  a namespace of this thread's own; mounts leave it below `shared` alone
    is_mount(path) / below(directory)           what is mounted where, from /proc/thread-self/mountinfo
    unmount(path)                               detach it, even while it is in use
    unmount_below / remove_tree(directory)      unmount what is below, then remove; never through a mount
    open_beneath(base, path)                    a handle on what lies inside `base`, whatever links it is made of

All raise OSError.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

_CLONE_NEWNS = 0x00020000
_MS_BIND, _MS_NOSUID, _MS_NODEV = 1 << 12, 2, 4
_MS_PRIVATE, _MS_SLAVE, _MS_SHARED = 1 << 18, 1 << 19, 1 << 20
_MNT_DETACH, _UMOUNT_NOFOLLOW = 2, 8
_SYS_OPENAT2 = 437
"""The same number on every architecture."""
_RESOLVE_NO_MAGICLINKS, _RESOLVE_BENEATH = 0x02, 0x08

_libc = ctypes.CDLL(None, use_errno=True)


class _OpenHow(ctypes.Structure):
    _fields_ = [("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64)]


def mount_tmpfs(path: Path, *, mode: int, group: int = 0, size_bytes: int = 0) -> None:
    """Memory as a file system; a size of 0 leaves the kernel's own limit, half of the memory."""
    options = f"mode={mode:o},gid={group}" + (f",size={size_bytes}" if size_bytes else "")
    _mount("tmpfs", path, "tmpfs", _MS_NOSUID | _MS_NODEV, options)


def bind(source: Path | int, target: Path) -> None:
    """Show the source at `target` too. For an open file descriptor, what it stands for: no name is looked up again."""
    _mount(str(source) if isinstance(source, Path) else f"/proc/self/fd/{source}", target, "", _MS_BIND, "")


def share(directory: Path) -> None:
    """Let what is mounted below from now on be seen in mount namespaces made from this one."""
    if not is_mount(directory):
        _mount(str(directory), directory, "", _MS_BIND, "")
        _mount("", directory, "", _MS_PRIVATE, "")  # else what is mounted below is mounted on the parent, too
    _mount("", directory, "", _MS_SHARED, "")


def separate(*, shared: Path) -> None:
    """Give this thread, and what it starts, a mount namespace of its own. Mounts go on flowing in; only what is mounted
    below the `shared` directory flows out, too."""
    if _libc.unshare(_CLONE_NEWNS) != 0:
        raise _error("make a mount namespace")
    common = next((each.number for each in _table() if each.point == str(shared)), "")
    root = os.open("/", os.O_PATH | os.O_CLOEXEC)
    try:
        _leave_changed_root()
        for each in _table():
            if each.shared and each.number != common:
                with contextlib.suppress(OSError):  # covered by another mount, or its directory is gone
                    _mount("", Path(each.point), "", _MS_SLAVE, "")
        _make_root(root)
    finally:
        os.close(root)


def _leave_changed_root() -> None:
    """Enter the namespace this thread is in: that leads to the namespace's own root."""
    with open("/proc/thread-self/ns/mnt") as own:
        if _libc.setns(own.fileno(), _CLONE_NEWNS) != 0:
            raise _error("enter a mount namespace")


def _make_root(directory: int) -> None:
    """Make the root of the namespace what was this thread's. In a change of root they differ; then whoever enters a
    container's namespace, as exec does, would find himself in the machine's root."""
    old = os.open("/", os.O_PATH | os.O_CLOEXEC)
    try:
        if _mount_of(old) == _mount_of(directory):
            return
        os.fchdir(directory)
        if _libc.pivot_root(b".", b".") != 0:  # the old root is now mounted over the new one
            raise _error("change the root of a mount namespace")
        os.fchdir(old)
        unmount(Path("."))
        os.chdir("/")
    finally:
        os.close(old)


def _mount(source: str, target: Path, kind: str, flags: int, options: str) -> None:
    texts = [each.encode() or None for each in (source, str(target), kind)]
    if _libc.mount(*texts, ctypes.c_ulong(flags), options.encode() or None) != 0:
        raise _error(f"mount {kind or source} on {target}")


def unmount(path: Path) -> None:
    if _libc.umount2(str(path).encode(), _MNT_DETACH | _UMOUNT_NOFOLLOW) != 0:
        raise _error(f"unmount {path}")


def _error(what: str) -> OSError:
    code = ctypes.get_errno()
    return OSError(code, f"{what}: {os.strerror(code)}")


def _mount_of(descriptor: int) -> str:
    with open(f"/proc/thread-self/fdinfo/{descriptor}") as facts:
        return next(line for line in facts if line.startswith("mnt_id:"))


@dataclass(frozen=True)
class _Row:
    number: str
    point: str
    shared: bool


def is_mount(path: Path) -> bool:
    return any(each.point == str(path) for each in _table())


def below(directory: Path) -> list[Path]:
    """Mount points at or below the directory, the last mounted first; one mounted over twice is there twice."""
    points = [each.point for each in reversed(_table())]
    return [Path(each) for each in points if each == str(directory) or each.startswith(f"{directory}/")]


def _table() -> list[_Row]:
    """This thread's mounts."""
    with open("/proc/thread-self/mountinfo") as table:
        rows = [line.split() for line in table]
    # Blanks and the like are written in octal.
    decoded = (row[4].encode().decode("unicode_escape").encode("latin-1").decode() for row in rows)
    return [_Row(row[0], point, row[6].startswith("shared:")) for row, point in zip(rows, decoded, strict=True)]


def unmount_below(directory: Path) -> None:
    """Everything at or below the directory."""
    while points := below(directory):
        unmount(points[0])


def remove_tree(directory: Path) -> None:
    """Whatever cannot be unmounted stays, and so does the directory: what is mounted there is somebody's data."""
    unmount_below(directory)
    if directory.exists():
        shutil.rmtree(directory)


def open_beneath(base: int, path: str) -> int:
    """A handle (O_PATH) on `path` inside the directory `base`. Links that lead out of it fail with EXDEV."""
    how = _OpenHow(os.O_PATH | os.O_CLOEXEC, 0, _RESOLVE_BENEATH | _RESOLVE_NO_MAGICLINKS)
    opened = _libc.syscall(_SYS_OPENAT2, base, path.encode(), ctypes.byref(how), ctypes.sizeof(how))
    if opened < 0:
        code = ctypes.get_errno()
        raise OSError(code, "leads out of its directory" if code == errno.EXDEV else os.strerror(code), path)
    return int(opened)
