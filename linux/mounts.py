"""Mounts, by the system calls themselves: no program to start, and the kernel's own reason when one fails.

    mount_tmpfs(path, ...) / bind(fd, path)     mount on a directory or file that exists
    share(directory)                            mounts below it reach the namespaces made from this one
    is_mount(path) / below(directory)           what is mounted where, from /proc/self/mountinfo
    unmount(path)                               detach it, even while it is in use
    remove_tree(directory)                      unmount what is below, then remove; never through a mount
    open_beneath(base, path)                    a handle on what lies inside `base`, whatever links it is made of

All raise OSError.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
from pathlib import Path

_MS_BIND, _MS_NOSUID, _MS_NODEV, _MS_SHARED = 1 << 12, 2, 4, 1 << 20
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


def bind(source: int, target: Path) -> None:
    """Show what the open file descriptor stands for at `target` too; no name is looked up again."""
    _mount(f"/proc/self/fd/{source}", target, "", _MS_BIND, "")


def share(directory: Path) -> None:
    """Let what is mounted below from now on be seen in mount namespaces made from this one."""
    if not is_mount(directory):
        _mount(str(directory), directory, "", _MS_BIND, "")
    _mount("", directory, "", _MS_SHARED, "")


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


def is_mount(path: Path) -> bool:
    return str(path) in _points()


def below(directory: Path) -> list[Path]:
    """Mount points at or below the directory, the last mounted first; one mounted over twice is there twice."""
    return [Path(each) for each in reversed(_points()) if each == str(directory) or each.startswith(f"{directory}/")]


def _points() -> list[str]:
    with open("/proc/self/mountinfo") as table:
        # Blanks and the like are written in octal.
        return [line.split()[4].encode().decode("unicode_escape").encode("latin-1").decode() for line in table]


def remove_tree(directory: Path) -> None:
    """Whatever cannot be unmounted stays, and so does the directory: what is mounted there is somebody's data."""
    for point in below(directory):
        unmount(point)
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
