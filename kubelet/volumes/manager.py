"""The pods' directories on this node, and the drivers that fill them.

    prepare(pod, around, tokens)    make the pod's volumes; again later, to bring changed contents in
    mounts(pod, container, env)     what to bind where
    release(uid)                    when its containers have ended: claims' volumes may be wanted elsewhere
    remove(uid)                     when the pod is gone

    pods/<uid>/volumes/kubernetes.io~<driver>/<name>        as Kubernetes lays them out
    pods/<uid>/volume-subpaths/<name>/<container>/<number>
    pods/<uid>/etc/                                         the pod's own hosts and resolv.conf

One hand works on a pod's directory at a time, and none after it was removed.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lightkube.models.core_v1 import Container, Volume, VolumeMount
from lightkube.resources.core_v1 import Pod

from api import meta
from kubelet.pods.env import ConfigError, Surroundings, expand
from kubelet.runtime.base import Mount
from kubelet.volumes import empty_dir, files, sub_path
from kubelet.volumes.claim import ClaimVolume
from kubelet.volumes.empty_dir import EmptyDir
from kubelet.volumes.files import FileVolume
from kubelet.volumes.host_path import HostPath
from kubelet.volumes.in_use import InUse
from kubelet.volumes.plugin import Request, Tokens, VolumePlugin
from linux import mounts

_CLAIM = ClaimVolume()

PLUGINS: Mapping[str, VolumePlugin] = {
    "emptyDir": EmptyDir(),
    "hostPath": HostPath(),
    "configMap": FileVolume("configmap", in_memory=False),
    "secret": FileVolume("secret", in_memory=True),
    "downwardAPI": FileVolume("downward-api", in_memory=True),
    "projected": FileVolume("projected", in_memory=True),
    "persistentVolumeClaim": _CLAIM,
    "ephemeral": _CLAIM,
}
"""By the field of a Volume that holds its source."""

_DIRECTORIES = {f"kubernetes.io~{each.name}": each for each in PLUGINS.values()}
_PROPAGATION = {"HostToContainer": "rslave", "Bidirectional": "rshared"}


@dataclass(slots=True)
class _Hold:
    lock: threading.Lock = field(default_factory=threading.Lock)
    removed: bool = False


class Volumes:
    """Blocking: call from a thread."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._holds: defaultdict[str, _Hold] = defaultdict(_Hold)
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.in_use = InUse(self.disks)

    @property
    def disks(self) -> Path:
        """Where network disks are mounted, see disk.py."""
        return self._root.parent / "disks"

    def directory(self, uid: str) -> Path:
        return self._root / uid

    def path(self, uid: str, volume: Volume) -> Path:
        """Where the volume is made. Raises ConfigError for a type that no driver is for."""
        return self.directory(uid) / "volumes" / f"kubernetes.io~{_plugin(volume).name}" / volume.name

    def pod_uids(self) -> list[str]:
        """Pods that have a directory here."""
        return [each.name for each in self._root.iterdir()]

    def prepare(self, pod: Pod, around: Surroundings, tokens: Tokens | None) -> None:
        """Raises ConfigError, with Kubernetes' message for the FailedMount event."""
        with self._held(meta.uid(pod)) as removed:
            if removed:
                return
            for volume in files.volumes_of(pod):
                if volume.name == files.TOKEN_VOLUME and tokens is None:
                    continue  # asked for by nobody, issued by nobody
                try:
                    path = self.path(meta.uid(pod), volume)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    _plugin(volume).setup(Request(pod, volume, path, around, tokens))
                except (ConfigError, OSError) as error:
                    raise ConfigError(f'MountVolume.SetUp failed for volume "{volume.name}" : {error}') from error

    @contextmanager
    def _held(self, uid: str) -> Iterator[bool]:
        """Yields whether the pod's directory was removed while one waited."""
        hold = self._holds[uid]
        with hold.lock:
            yield hold.removed

    def mounts(self, pod: Pod, container: Container, env: Mapping[str, str]) -> list[Mount]:
        """Raises ConfigError."""
        volumes = {each.name: each for each in files.volumes_of(pod)}
        wanted = list(container.volumeMounts or [])
        if files.wants_token(pod, container) and self.path(meta.uid(pod), volumes[files.TOKEN_VOLUME]).exists():
            wanted.append(VolumeMount(files.TOKEN_DIRECTORY, files.TOKEN_VOLUME))
        found = []
        for number, mount in enumerate(wanted):
            if mount.name not in volumes:
                raise ConfigError(f'volume "{mount.name}" not found')
            plugin = _plugin(volumes[mount.name])
            base = plugin.location(volumes[mount.name], self.path(meta.uid(pod), volumes[mount.name]))
            part = expand(mount.subPathExpr, env) if mount.subPathExpr else mount.subPath
            if part:
                place = self.directory(meta.uid(pod)) / "volume-subpaths" / mount.name / container.name / str(number)
                base = _bound(base, part, place, mount.name, container.name)
            propagation = _PROPAGATION.get(mount.mountPropagation or "", "")
            claim = volumes[mount.name].persistentVolumeClaim
            read_only = bool(mount.readOnly or plugin.read_only or (claim and claim.readOnly))
            found.append(Mount(str(base), mount.mountPath, read_only, propagation))
        return found

    def excess(self, pod: Pod) -> str:
        """What is wrong when a volume of the pod holds more than it may."""
        volumes = (each for each in (pod.spec and pod.spec.volumes) or [] if each.emptyDir)
        return next(filter(None, (empty_dir.excess(each, self.path(meta.uid(pod), each)) for each in volumes)), "")

    def write(self, uid: str, name: str, content: str) -> Path:
        """A file of the pod itself, such as its /etc/hosts."""
        path = self.directory(uid) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text() != content:
            path.write_text(content)
        return path

    def release(self, uid: str) -> None:
        """Raises OSError, ConfigError when a volume cannot be unmounted."""
        with self._held(uid):
            directory = self.directory(uid)
            paths = [*directory.glob(f"volumes/kubernetes.io~{_CLAIM.name}/*")]
            if paths:
                mounts.remove_tree(directory / "volume-subpaths")
            for path in paths:
                _CLAIM.teardown(path)

    def remove(self, uid: str) -> None:
        """Raises OSError when something is mounted that cannot be unmounted; it and its directory stay."""
        with self._held(uid):
            directory = self.directory(uid)
            mounts.remove_tree(directory / "volume-subpaths")
            for path in directory.glob("volumes/*/*"):
                _DIRECTORIES[path.parent.name].teardown(path)
            mounts.remove_tree(directory)
            self._holds.pop(uid).removed = True


def _plugin(volume: Volume) -> VolumePlugin:
    for source, plugin in PLUGINS.items():
        if getattr(volume, source) is not None:
            return plugin
    raise ConfigError("this type of volume is not supported")


def _bound(base: Path, part: str, place: Path, volume: str, container: str) -> Path:
    try:
        return sub_path.bound(base, part, place)
    except (ConfigError, OSError) as error:
        message = f'failed to prepare subPath for volumeMount "{volume}" of container "{container}": {error}'
        raise ConfigError(message) from error
