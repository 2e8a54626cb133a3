"""The cgroups a lab host's containers live in: /minik/<lab>/<host> in every hierarchy, v1 or v2."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")


def name(lab: str, host: str | None = None) -> str:
    """The cgroup path as /proc/PID/cgroup and Docker write it."""
    return f"/minik/{lab}/{host}" if host else f"/minik/{lab}"


def remove(cgroup: str) -> None:
    """Remove the cgroup and those below it, in every hierarchy; then its parents, if nothing else is in them."""
    for hierarchy in _hierarchies():
        top = hierarchy / cgroup.lstrip("/")
        for directory, _, _ in os.walk(top, topdown=False):
            with contextlib.suppress(OSError):  # busy: it holds processes of others
                os.rmdir(directory)
        for parent in top.parents[: len(Path(cgroup).parents) - 1]:
            with contextlib.suppress(OSError):
                os.rmdir(parent)


def _hierarchies() -> list[Path]:
    """v2: the root itself; v1: one folder per controller (and `unified`)."""
    if (ROOT / "cgroup.controllers").exists():
        return [ROOT]
    return [entry for entry in ROOT.iterdir() if entry.is_dir() and not entry.is_symlink()] if ROOT.exists() else []
