"""A claim's volume: the PersistentVolume is brought to the node once, and bound into each pod that names the claim.

    STATE/disks/<volume>           network disks, see disk.py
    STATE/local-path/<volume>      directories of this node (class local-path)
    STATE/pods/<uid>/volumes/kubernetes.io~csi/<name>/mount and vol_data.json (which volume it is of)

hostPath and local volumes of an administrator are bound from where they are.
"""

from __future__ import annotations

import json
import stat
import threading
from collections import defaultdict
from pathlib import Path

from lightkube.models.core_v1 import Volume
from lightkube.resources.core_v1 import PersistentVolume

from api import meta, storage
from kubelet.pods.env import ConfigError
from kubelet.volumes import disk
from kubelet.volumes.plugin import Request
from linux import mounts

_DATA = "vol_data.json"


class ClaimVolume:
    name = "csi"
    read_only = False

    def __init__(self) -> None:
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def setup(self, request: Request) -> None:
        bound = request.around.claims.get(request.volume.name)
        if bound is None:
            raise ConfigError(f'the claim of volume "{request.volume.name}" is not known yet')
        name, target = meta.name(bound.volume), request.path / "mount"
        with self._locks[name]:
            if not mounts.is_mount(target):
                target.mkdir(parents=True, exist_ok=True)
            (request.path / _DATA).write_text(json.dumps({"volume": name}))
            source = self._source(bound.volume, bound.session, _state(request.path))
            if not mounts.is_mount(target):
                mounts.bind(source, target)
                _give_to(target, request)

    def _source(self, volume: PersistentVolume, session: disk.Session | None, state: Path) -> Path:
        spec = volume.spec
        assert spec is not None
        if spec.csi is not None and spec.csi.driver == storage.SHARED and session is not None:
            return disk.stage(state / "disks" / meta.name(volume), session)
        if spec.csi is not None and spec.csi.driver == storage.LOCAL_PATH:
            path = state / "local-path" / meta.name(volume)
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(0o777)
            return path
        if spec.local is not None or spec.hostPath is not None:
            path = Path((spec.local or spec.hostPath).path)  # type: ignore[union-attr]
            if spec.hostPath is not None and spec.hostPath.type in ("", None, "DirectoryOrCreate"):
                path.mkdir(parents=True, exist_ok=True)
            if not path.is_dir():
                raise ConfigError(f'path "{path}" does not exist')
            return path
        raise ConfigError("no volume plugin matched")

    def location(self, volume: Volume, path: Path) -> Path:
        return path / "mount"

    def teardown(self, path: Path) -> None:
        name = _volume_of(path)
        with self._locks[name]:
            while mounts.is_mount(path / "mount"):
                mounts.unmount(path / "mount")
            state = _state(path)
            if name and name not in [_volume_of(each) for each in self._all(state) if each != path]:
                try:
                    disk.unstage(state / "disks" / name)
                except ConfigError as error:
                    raise OSError(str(error)) from error
            if (path / "mount").exists():
                (path / "mount").rmdir()
            (path / _DATA).unlink(missing_ok=True)
            path.rmdir()

    def _all(self, state: Path) -> list[Path]:
        return [*state.glob(f"pods/*/volumes/kubernetes.io~{self.name}/*")]


def _state(path: Path) -> Path:
    """The kubelet's own directory, given STATE/pods/<uid>/volumes/<driver>/<name>."""
    return path.parents[4]


def _volume_of(path: Path) -> str:
    try:
        return str(json.loads((path / _DATA).read_text())["volume"])
    except (OSError, ValueError, KeyError):
        return ""


def _give_to(root: Path, request: Request) -> None:
    """fsGroup: everything in the volume becomes the group's."""
    group = request.group
    security = request.pod.spec.securityContext if request.pod.spec else None
    if group is None or security is None:
        return
    about = root.stat()
    if security.fsGroupChangePolicy == "OnRootMismatch" and about.st_gid == group and about.st_mode & stat.S_ISGID:
        return
    disk.run("chgrp", "--recursive", "--no-dereference", str(group), str(root))
    disk.run("chmod", "--recursive", "g+rwX", str(root))
    disk.run("find", str(root), "-xdev", "-type", "d", "-exec", "chmod", "g+s", "{}", "+")
