"""A directory of files that changes as one: Kubernetes' atomic writer.

    volume/a        -> ..data/a
    volume/..data   -> ..2030_01_01_12_00_00.1a2b3c
    volume/..2030_01_01_12_00_00.1a2b3c/a

An update is a new directory that `..data` is moved to, so a reader sees the old files or the new. A writer that died at
any point leaves at most names that the next one replaces or clears away.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from kubelet.pods.env import ConfigError

DEFAULT_MODE = 0o644
_GROUP_READS = 0o440
_GROUP_ENTERS = 0o2550


@dataclass(frozen=True, slots=True)
class File:
    content: bytes
    mode: int = DEFAULT_MODE
    user: int = 0


Files = Mapping[str, File]


def write(directory: Path, files: Files, group: int | None = None) -> bool:
    """Make the directory show exactly these files, readable to the group. Returns whether they had to be written.

    Raises ConfigError for a name that leads out of the directory, OSError.
    """
    for name in files:
        if name.startswith("/") or ".." in Path(name).parts or not Path(name).parts or name.startswith(".."):
            raise ConfigError(f"path {name!r} must stay inside the volume")
    wanted = {name: _entry(file, group) for name, file in files.items()}
    data = directory / "..data"
    changed = not data.exists() or _read(data) != wanted
    if changed:
        fresh = datetime.now(UTC).strftime("..%Y_%m_%d_%H_%M_%S.") + os.urandom(4).hex()
        _fill(directory / fresh, wanted)
        link = directory / "..data_tmp"
        link.unlink(missing_ok=True)
        link.symlink_to(fresh)
        os.replace(link, data)
    _link_names(directory, {Path(name).parts[0] for name in files})
    _clear_leftovers(directory, keep={"..data", os.readlink(data)})
    return changed


@dataclass(frozen=True, slots=True)
class _Entry:
    content: bytes
    mode: int
    user: int
    group: int


def _entry(file: File, group: int | None) -> _Entry:
    mode = file.mode if group is None else file.mode | _GROUP_READS
    return _Entry(file.content, mode, file.user, group or 0)


def _fill(fresh: Path, entries: Mapping[str, _Entry]) -> None:
    fresh.mkdir()
    for name, entry in entries.items():
        path = fresh / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(entry.content)
        os.chown(path, entry.user, entry.group)
        path.chmod(entry.mode)
    group = next((each.group for each in entries.values()), 0)
    if group:
        for path in (fresh, *(each for each in fresh.rglob("*") if each.is_dir())):
            os.chown(path, -1, group)
            path.chmod(path.stat().st_mode | _GROUP_ENTERS)


def _read(data: Path) -> dict[str, _Entry]:
    found = {}
    for path in data.rglob("*"):
        if path.is_file():
            about = path.stat()
            entry = _Entry(path.read_bytes(), about.st_mode & 0o7777, about.st_uid, about.st_gid)
            found[str(path.relative_to(data))] = entry
    return found


def _link_names(directory: Path, names: set[str]) -> None:
    for existing in directory.iterdir():
        if not existing.name.startswith("..") and existing.name not in names:
            existing.unlink()
    for name in names:
        with contextlib.suppress(FileExistsError):
            (directory / name).symlink_to(f"..data/{name}")


def _clear_leftovers(directory: Path, keep: set[str]) -> None:
    for each in directory.iterdir():
        if each.name.startswith("..") and each.name not in keep:
            if each.is_dir() and not each.is_symlink():
                shutil.rmtree(each)
            else:
                each.unlink()
