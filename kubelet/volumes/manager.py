"""Volumes: directories and files of the node that appear inside containers.

    prepare(pod, around)      make them; again later, to bring changed ConfigMaps, Secrets and tokens in
    mounts(pod, container)    what to bind where
    remove(uid)               when the pod is gone

Everything of a pod lies under `pods/<uid>/`. Contents that can change are written the way Kubernetes' atomic writer
does: into a new directory that the symlink `..data` is then moved to, so a reader never sees half of an update.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lightkube.models.core_v1 import (
    Container,
    DownwardAPIVolumeFile,
    EmptyDirVolumeSource,
    HostPathVolumeSource,
    KeyToPath,
    Volume,
    VolumeMount,
    VolumeProjection,
)
from lightkube.resources.core_v1 import Pod

from api import meta, quantity
from kubelet.pods.env import ConfigError, Reference, Surroundings, data_of, expand, field_value, resource_value
from kubelet.runtime.base import Mount

DEFAULT_MODE = 0o644
TOKEN_DIRECTORY = "/var/run/secrets/kubernetes.io/serviceaccount"
TOKEN_VOLUME = "kube-api-access"

_PROPAGATION = {"HostToContainer": "rslave", "Bidirectional": "rshared"}


@dataclass(frozen=True, slots=True)
class File:
    content: bytes
    mode: int = DEFAULT_MODE


Files = dict[str, File]


@dataclass(frozen=True, slots=True)
class Tokens:
    """Service account tokens by audience ("" for the API server's own), and the CA that signs for the API server."""

    by_audience: Mapping[str, str]
    ca: bytes


def references(pod: Pod) -> set[Reference]:
    """The ConfigMaps and Secrets the pod's volumes hold."""
    found = set()
    for volume in (pod.spec and pod.spec.volumes) or []:
        if volume.configMap:
            found.add(Reference("ConfigMap", volume.configMap.name or ""))
        if volume.secret:
            found.add(Reference("Secret", volume.secret.secretName or ""))
        for source in (volume.projected and volume.projected.sources) or []:
            if source.configMap:
                found.add(Reference("ConfigMap", source.configMap.name or ""))
            if source.secret:
                found.add(Reference("Secret", source.secret.name or ""))
    return found


def audiences(pod: Pod) -> set[str]:
    """The service account tokens the pod needs."""
    spec = pod.spec
    assert spec is not None
    projections = [
        each for volume in spec.volumes or [] for each in (volume.projected and volume.projected.sources) or []
    ]
    wanted = {each.serviceAccountToken.audience or "" for each in projections if each.serviceAccountToken}
    if any(_wants_token(pod, each) for each in [*(spec.initContainers or []), *spec.containers]):
        wanted.add("")
    return wanted


def _wants_token(pod: Pod, container: Container) -> bool:
    """Whether the container gets the usual token directory although its spec does not mount one."""
    if pod.spec is None or pod.spec.automountServiceAccountToken is False:
        return False
    return all(each.mountPath.rstrip("/") != TOKEN_DIRECTORY for each in container.volumeMounts or [])


class Volumes:
    """The pods' directories under `root`. Blocking: call from a thread."""

    def __init__(self, root: Path) -> None:
        self._root = root
        root.mkdir(parents=True, exist_ok=True, mode=0o700)

    def directory(self, uid: str) -> Path:
        return self._root / uid

    def pod_uids(self) -> list[str]:
        """Pods that have a directory here."""
        return [each.name for each in self._root.iterdir()]

    def prepare(self, pod: Pod, around: Surroundings, tokens: Tokens | None) -> None:
        """Raises ConfigError, with Kubernetes' message for the FailedMount event."""
        for volume in (pod.spec and pod.spec.volumes) or []:
            try:
                self._prepare_one(pod, volume, around, tokens)
            except (ConfigError, OSError) as error:
                raise ConfigError(f'MountVolume.SetUp failed for volume "{volume.name}" : {error}') from error
        if tokens is not None and "" in audiences(pod):
            files = {
                "token": File(tokens.by_audience[""].encode()),
                "ca.crt": File(tokens.ca),
                "namespace": File(meta.namespace(pod).encode()),
            }
            write_atomically(self._path(pod, TOKEN_VOLUME), files)

    def _prepare_one(self, pod: Pod, volume: Volume, around: Surroundings, tokens: Tokens | None) -> None:
        path = self._path(pod, volume.name)
        if volume.hostPath:
            _prepare_host_path(volume.hostPath)
        elif _is_of_files(volume):
            write_atomically(path, dict(_files(pod, volume, around, tokens)))
        elif volume.emptyDir:
            _prepare_empty_dir(path, volume.emptyDir, _group(pod))
        else:
            raise ConfigError("this type of volume is not supported")

    def _path(self, pod: Pod, volume: str) -> Path:
        return self.directory(meta.uid(pod)) / "volumes" / volume

    def mounts(self, pod: Pod, container: Container, env: Mapping[str, str]) -> Iterator[Mount]:
        volumes = {each.name: each for each in (pod.spec and pod.spec.volumes) or []}
        for mount in container.volumeMounts or []:
            volume = volumes.get(mount.name)
            if volume is None:
                raise ConfigError(f'volume "{mount.name}" not found')
            base = Path(volume.hostPath.path) if volume.hostPath else self._path(pod, mount.name)
            yield Mount(
                source=str(_sub_path(base, mount, env)),
                target=mount.mountPath,
                read_only=bool(mount.readOnly) or _is_of_files(volume),
                propagation=_PROPAGATION.get(mount.mountPropagation or "", ""),
            )
        if _wants_token(pod, container) and self._path(pod, TOKEN_VOLUME).exists():
            yield Mount(str(self._path(pod, TOKEN_VOLUME)), TOKEN_DIRECTORY, read_only=True)

    def write(self, uid: str, name: str, content: str) -> Path:
        """A file of the pod itself, such as its /etc/hosts."""
        path = self.directory(uid) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text() != content:
            path.write_text(content)
        return path

    def remove(self, uid: str) -> None:
        directory = self.directory(uid)
        if not directory.exists():
            return
        for mounted in _mounts_below(directory):
            subprocess.run(["umount", "-l", mounted], capture_output=True, check=False)
        shutil.rmtree(directory, ignore_errors=True)


def _is_of_files(volume: Volume) -> bool:
    return bool(volume.configMap or volume.secret or volume.projected or volume.downwardAPI)


def _sub_path(base: Path, mount: VolumeMount, env: Mapping[str, str]) -> Path:
    sub_path = expand(mount.subPathExpr, env) if mount.subPathExpr else mount.subPath
    if not sub_path:
        return base
    if sub_path.startswith("/") or ".." in Path(sub_path).parts:
        raise ConfigError(f"subPath {sub_path!r} must stay inside the volume")
    path = (base / sub_path).resolve()
    if not path.is_relative_to(base.resolve()):
        raise ConfigError(f"subPath {sub_path!r} leads out of the volume")
    if not path.exists():
        path.mkdir(parents=True)
    return path


# Directories


def _prepare_empty_dir(path: Path, source: EmptyDirVolumeSource, group: int | None) -> None:
    if path.exists():
        return  # from here on it belongs to the pod
    path.mkdir(parents=True)
    if source.medium == "Memory":
        size = f",size={quantity.bytes_(str(source.sizeLimit))}" if source.sizeLimit else ""
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"mode=1777{size}", "tmpfs", str(path)], capture_output=True, check=False
        )
        if done.returncode:
            raise ConfigError(done.stderr.decode().strip())
    path.chmod(0o777)
    if group is not None:
        os.chown(path, -1, group)
        path.chmod(0o2777)


def _group(pod: Pod) -> int | None:
    security = pod.spec.securityContext if pod.spec else None
    return security.fsGroup if security else None


def _prepare_host_path(source: HostPathVolumeSource) -> None:
    path, kind = Path(source.path), source.type or ""
    if kind == "DirectoryOrCreate" or (kind == "" and not path.exists()):
        path.mkdir(parents=True, exist_ok=True, mode=0o755)
    elif kind == "FileOrCreate":
        path.touch(mode=0o644)
    elif (kind == "Directory" and not path.is_dir()) or (kind == "File" and not path.is_file()):
        raise ConfigError(f"hostPath type check failed: {path} is not a {kind.lower()}")


def _mounts_below(directory: Path) -> list[str]:
    """Deepest first."""
    with open("/proc/self/mounts") as table:
        points = [line.split()[1] for line in table]
    return sorted((each for each in points if each.startswith(f"{directory}/")), reverse=True)


# Files


def _files(pod: Pod, volume: Volume, around: Surroundings, tokens: Tokens | None) -> Iterator[tuple[str, File]]:
    if volume.configMap:
        source = volume.configMap
        reference = Reference("ConfigMap", source.name or "")
        mode = source.defaultMode or DEFAULT_MODE
        yield from _object_files(pod, reference, source.items, around, optional=bool(source.optional), mode=mode)
    elif volume.secret:
        secret = volume.secret
        reference = Reference("Secret", secret.secretName or "")
        mode = secret.defaultMode or DEFAULT_MODE
        yield from _object_files(pod, reference, secret.items, around, optional=bool(secret.optional), mode=mode)
    elif volume.downwardAPI:
        mode = volume.downwardAPI.defaultMode or DEFAULT_MODE
        yield from _downward_files(pod, volume.downwardAPI.items, around, mode)
    elif volume.projected:
        mode = volume.projected.defaultMode or DEFAULT_MODE
        for projection in volume.projected.sources or []:
            yield from _projected_files(pod, projection, around, tokens, mode)


def _projected_files(
    pod: Pod, projection: VolumeProjection, around: Surroundings, tokens: Tokens | None, mode: int
) -> Iterator[tuple[str, File]]:
    if projection.configMap:
        source = projection.configMap
        reference = Reference("ConfigMap", source.name or "")
        if reference.name == "kube-root-ca.crt" and around.objects.get(reference) is None and tokens is not None:
            yield "ca.crt", File(tokens.ca, mode)  # nobody published it here; we know it
            return
        yield from _object_files(pod, reference, source.items, around, optional=bool(source.optional), mode=mode)
    if projection.secret:
        secret = projection.secret
        reference = Reference("Secret", secret.name or "")
        yield from _object_files(pod, reference, secret.items, around, optional=bool(secret.optional), mode=mode)
    if projection.downwardAPI:
        yield from _downward_files(pod, projection.downwardAPI.items, around, mode)
    if projection.serviceAccountToken and tokens is not None:
        token = projection.serviceAccountToken
        yield token.path, File(tokens.by_audience[token.audience or ""].encode(), mode)


def _object_files(
    pod: Pod,
    reference: Reference,
    items: list[KeyToPath] | None,
    around: Surroundings,
    *,
    optional: bool,
    mode: int,
) -> Iterator[tuple[str, File]]:
    obj = around.objects.get(reference)
    if obj is None:
        if optional:
            return
        raise ConfigError(f'{reference.kind.lower()} "{reference.name}" not found')
    data = data_of(obj)
    if not items:
        yield from ((key, File(value, mode)) for key, value in data.items())
        return
    for item in items:
        if item.key in data:
            yield item.path, File(data[item.key], item.mode or mode)
        elif not optional:
            kind = reference.kind.lower()
            raise ConfigError(f"{kind} references non-existent {kind} key: {item.key}")


def _downward_files(
    pod: Pod, items: list[DownwardAPIVolumeFile] | None, around: Surroundings, mode: int
) -> Iterator[tuple[str, File]]:
    for item in items or []:
        if item.fieldRef:
            text = field_value(pod, item.fieldRef, pod_ip=around.pod_ip, host_ip=around.host_ip)
        elif item.resourceFieldRef:
            text = resource_value(pod, item.resourceFieldRef, "", around.allocatable)
        else:
            continue
        yield item.path, File(text.encode(), item.mode or mode)


def write_atomically(directory: Path, files: Files) -> bool:
    """Make the directory show exactly these files. Returns whether anything changed."""
    directory.mkdir(parents=True, exist_ok=True)
    data = directory / "..data"
    if data.exists() and _read(data) == files:
        return False
    old = os.readlink(data) if data.is_symlink() else ""
    fresh = f"..{os.urandom(6).hex()}"
    for name, file in files.items():
        if name.startswith("/") or ".." in Path(name).parts:
            raise ConfigError(f"path {name!r} must stay inside the volume")
        path = directory / fresh / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)
        path.chmod(file.mode)
    (directory / fresh).mkdir(exist_ok=True)
    (directory / "..data_tmp").symlink_to(fresh)
    os.replace(directory / "..data_tmp", data)
    _link_names(directory, {Path(name).parts[0] for name in files})
    if old:
        shutil.rmtree(directory / old, ignore_errors=True)
    return True


def _read(data: Path) -> Files:
    paths = [each for each in data.rglob("*") if each.is_file()]
    return {str(each.relative_to(data)): File(each.read_bytes(), each.stat().st_mode & 0o7777) for each in paths}


def _link_names(directory: Path, names: set[str]) -> None:
    for existing in directory.iterdir():
        if not existing.name.startswith("..") and existing.name not in names:
            existing.unlink()
    for name in names:
        with contextlib.suppress(FileExistsError):
            (directory / name).symlink_to(f"..data/{name}")
