"""emptyDir: a directory, on the node's disk or in memory, that lives as long as its pod."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from lightkube.models.core_v1 import Volume

from api import quantity
from kubelet.pods.env import ConfigError
from kubelet.volumes.plugin import Request
from linux import mounts

_MODE, _MEMORY_MODE = 0o777, 0o1777
_SET_GROUP = 0o2000
_BLOCK_BYTES = 512


class EmptyDir:
    name = "empty-dir"
    read_only = False

    def setup(self, request: Request) -> None:
        source = request.volume.emptyDir
        assert source is not None
        if source.medium == "Memory":
            mount_memory(request.path, mode=_MEMORY_MODE, group=request.group, size_bytes=_memory_limit(request))
        elif source.medium:
            raise ConfigError(f'storage medium "{source.medium}" is not supported')
        elif not request.path.exists():
            _make(request.path, request.group)

    def location(self, volume: Volume, path: Path) -> Path:
        return path

    def teardown(self, path: Path) -> None:
        mounts.remove_tree(path)


def mount_memory(path: Path, *, mode: int, group: int | None, size_bytes: int = 0) -> None:
    """A file system in memory, unless it is there. If it cannot be mounted no directory is left in its place."""
    if mounts.is_mount(path):
        return
    path.mkdir(exist_ok=True)
    try:
        setgid = _SET_GROUP if group is not None else 0
        mounts.mount_tmpfs(path, mode=mode | setgid, group=group or 0, size_bytes=size_bytes)
    except OSError:
        path.rmdir()
        raise


def _make(path: Path, group: int | None) -> None:
    """Under another name until it is as it should be: from then on it belongs to the pod."""
    fresh = path.with_name(f"{path.name}.new")  # no volume has a dot in its name
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    if group is not None:
        os.chown(fresh, -1, group)
    fresh.chmod(_MODE | (_SET_GROUP if group is not None else 0))
    fresh.rename(path)


def _memory_limit(request: Request) -> int:
    """The smallest of the volume's limit, the pod's, and what the node has for pods. Bytes; 0 when there is none."""
    source = request.volume.emptyDir
    spec = request.pod.spec
    assert source is not None and spec is not None
    limits = [(each.resources and each.resources.limits) or {} for each in spec.containers]
    own = [source.sizeLimit] if source.sizeLimit else []
    ofs = [quantity.bytes_(str(each)) for each in (*own, request.around.allocatable.get("memory", "")) if each]
    if all("memory" in each for each in limits):
        ofs.append(sum(quantity.bytes_(str(each["memory"])) for each in limits))
    return min(ofs, default=0)


def excess(volume: Volume, path: Path) -> str:
    """Kubernetes' message when the volume, on disk, holds more than it may; empty when all is well."""
    source = volume.emptyDir
    if source is None or not source.sizeLimit or source.medium:
        return ""
    limit = str(source.sizeLimit)
    over = _used_bytes(path) > quantity.bytes_(limit)
    return f'Usage of EmptyDir volume "{volume.name}" exceeds the limit "{limit}". ' if over else ""


def _used_bytes(directory: Path) -> int:
    """On the disk, as du counts: what is sparse or linked twice takes its room once. Files may go while it counts."""
    blocks: dict[int, int] = {}
    for parent, names, files in os.walk(directory):
        for name in (*names, *files):
            with contextlib.suppress(OSError):
                about = os.lstat(os.path.join(parent, name))
                blocks[about.st_ino] = about.st_blocks
    return sum(blocks.values()) * _BLOCK_BYTES
