"""volumes, tmpfs, configs and secrets -> claims, ConfigMaps, Secrets and the mounts of a container.

    Storage.mounts(service)     what a service's container mounts, and the volumes of its pod
    Storage.objects             the claims, ConfigMaps and Secrets this took
Files are read through `files`.
"""

from __future__ import annotations

import base64
import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from compose.document import Map
from compose.errors import ComposeError
from compose.names import Object, dns, labels, manifest, pruned
from compose.project import Project
from compose.report import Keys, Report

CONFIG_BYTES = 512 << 10
"""Bound files larger than this in sum stay on the node: a ConfigMap holds 1 MiB."""
CLAIM = "1Gi"
KEY = re.compile(r"[-._a-zA-Z0-9]+")


class Files(Protocol):
    def folder(self, path: str) -> Mapping[str, bytes] | None:
        """The files right in a folder, or the one file under its name; None if there is more below, or nothing."""


class Storage:
    def __init__(self, project: Project, files: Files, report: Report) -> None:
        self._project, self._files, self._report = project, files, report
        self.objects: dict[str, Object] = {}
        self._shared = _used_by_several(project)
        for section in ("volumes", "configs", "secrets"):
            data = project.section(section)
            keys = Keys(data, section, report)
            setattr(self, f"_{section}", {name: keys.sub(name) for name in data})

    def mounts(self, service: Keys, name: str) -> tuple[list[Object], list[Object]]:
        """Mounts of the container and volumes of the pod."""
        mounts: list[Object] = []
        volumes: dict[str, Object] = {}
        for each, read_only in [*((each, False) for each in service.items("volumes")), *self._others(service)]:
            volume, mount = self._volume(each, name)
            self._add(volume, mount | ({"readOnly": True} if read_only else {}), mounts, volumes)
        for index, text in enumerate(service.get("tmpfs", [])):
            path, _, options = text.partition(":")
            size = next((each[5:] for each in options.split(",") if each.startswith("size=")), "")
            memory = pruned({"medium": "Memory", "sizeLimit": _amount(size) if size else None})
            self._add({"name": f"tmpfs-{index}", "emptyDir": memory}, {"mountPath": path}, mounts, volumes)
        if size := service.get("shm_size"):
            memory = {"medium": "Memory", "sizeLimit": amount(size)}
            self._add({"name": "shm", "emptyDir": memory}, {"mountPath": "/dev/shm"}, mounts, volumes)
        for section in ("configs", "secrets"):
            for each in service.items(section):
                volume, mount = self._file(section, each)
                self._add(volume, mount, mounts, volumes)
        return mounts, list(volumes.values())

    def _others(self, service: Keys) -> Iterator[tuple[Keys, bool]]:
        """The volumes of other services that volumes_from names, and whether they are not to be written to."""
        for text in service.get("volumes_from", []):
            other, _, mode = text.partition(":")
            if other not in self._project.services:
                service.ignored("volumes_from", f"{other} is no service of the file")
                continue
            owner = Keys(self._project.services[other], f"services.{other}", Report())
            yield from ((each, mode == "ro") for each in owner.items("volumes"))

    @staticmethod
    def _add(volume: Object, mount: Object, mounts: list[Object], volumes: dict[str, Object]) -> None:
        """A volume that is there already is used again; another of the same name gets a number."""
        name, number = volume["name"], 1
        while volumes.setdefault(volume["name"], volume) != volume:
            number += 1
            volume = {**volume, "name": f"{name}-{number}"}
        mounts.append({"name": volume["name"], **mount})

    def _volume(self, each: Keys, service: str) -> tuple[Object, Object]:
        kind, source = each.get("type"), each.get("source", "")
        each.get("consistency")
        mount = pruned({"mountPath": each.get("target"), "readOnly": each.get("read_only")})
        if kind == "bind":
            return self._bind(each, source, service, mount)
        if kind == "tmpfs":
            size = each.sub("tmpfs").get("size")
            memory = pruned({"medium": "Memory", "sizeLimit": amount(size) if size else None})
            return {"name": dns(mount["mountPath"]), "emptyDir": memory}, mount
        if kind == "volume" and source:
            options = each.sub("volume")
            if subpath := options.get("subpath"):
                mount["subPath"] = subpath
            options.get("nocopy")
            return {"name": dns(source), "persistentVolumeClaim": {"claimName": self._claim(source)}}, mount
        if kind == "volume":
            each.approximate("", "a volume without a name is empty in each new pod")
            return {"name": dns(mount["mountPath"]), "emptyDir": {}}, mount
        each.ignored("type", f"a volume of type {kind} has no counterpart; the pod gets an empty folder")
        return {"name": dns(mount["mountPath"]), "emptyDir": {}}, mount

    def _claim(self, source: str) -> str:
        keys: Keys = self._volumes[source]  # type: ignore[attr-defined]
        external = keys.get("external", False)
        name = dns(str(keys.get("name") or source)) if external else dns(source)
        if external is not False:
            keys.approximate("external", f"a PersistentVolumeClaim called {name} must be there")
            return name
        keys.get("labels")
        if "driver_opts" in keys:
            keys.ignored("driver_opts", "the cluster's storage class decides where volumes are")
        keys.get("name")
        keys.approximate("", f"a claim of {CLAIM}: Compose's volumes have no size, claims do; it begins empty")
        mode = "ReadWriteMany" if source in self._shared else "ReadWriteOnce"
        spec = {"accessModes": [mode], "resources": {"requests": {"storage": CLAIM}}}
        owner = labels(self._project.name)
        self.objects[f"pvc/{name}"] = manifest("v1", "PersistentVolumeClaim", name, owner, spec=spec)
        return name

    def _bind(self, each: Keys, source: str, service: str, mount: Object) -> tuple[Object, Object]:
        options = each.sub("bind")
        options.get("create_host_path")
        options.get("selinux")
        found = self._files.folder(source)
        base = posixpath.basename(source)
        if not found or sum(map(len, found.values())) > CONFIG_BYTES or not all(map(KEY.fullmatch, found)):
            why = "every node has a folder of its own there: use a named volume, or put the files into the image"
            each.approximate("source", f"hostPath {source}: {why}")
            if propagation := options.get("propagation"):
                kinds = {"rshared": "Bidirectional", "shared": "Bidirectional", "rslave": "HostToContainer"}
                mount |= pruned({"mountPropagation": kinds.get(propagation)})
            return {"name": dns(base), "hostPath": {"path": source}}, mount
        if mount.get("readOnly") is not True:
            each.approximate("source", "a ConfigMap: what is in the file now, and read-only")
        name = f"{dns(service)}-{dns(base)}"
        self._config_map(name, found)
        if list(found) == [base]:
            mount["subPath"] = base
        return {"name": dns(base), "configMap": {"name": name}}, mount

    def _file(self, section: str, each: Keys) -> tuple[Object, Object]:
        """A config or secret as a file at its target."""
        source = each.get("source")
        keys: Keys = getattr(self, f"_{section}")[source]
        target = each.get("target") or f"/{source}"
        name, base = dns(source), posixpath.basename(target)
        for key in ("uid", "gid"):
            if each.get(key) not in (None, "0", 0):
                each.ignored(key, "files belong to root, or by securityContext.fsGroup to a group")
        mode = int(str(each.get("mode")), 8) if "mode" in each else None
        which = {"configMap": {"name": name}} if section == "configs" else {"secret": {"secretName": name}}
        inner = next(iter(which.values()))
        inner |= pruned({"items": [{"key": source, "path": base}], "defaultMode": mode})
        keys.get("name"), keys.get("labels"), keys.get("external")
        if keys.data.get("external"):
            keys.approximate("external", f"one called {name} with the key {source} must be there")
        elif section == "configs":
            self._config_map(name, {source: self._content(keys, source)})
        else:
            content = {source: base64.b64encode(self._content(keys, source)).decode()}
            owner = labels(self._project.name)
            self.objects[f"secret/{name}"] = manifest("v1", "Secret", name, owner, type="Opaque", data=content)
        return {"name": name, **which}, {"mountPath": target, "subPath": base, "readOnly": True}

    def _content(self, keys: Keys, source: str) -> bytes:
        if (content := keys.get("content")) is not None:
            return str(content).encode()
        if variable := keys.get("environment"):
            if variable not in self._project.variables:
                raise ComposeError(f"{keys.mark}: {keys.path}: environment variable {variable} is not set")
            return self._project.variables[variable].encode()
        path = keys.get("file", "")
        found = self._files.folder(path) or {}
        if posixpath.basename(path) not in found:
            raise ComposeError(f"{keys.mark}: {keys.path}: {path}: no such file")
        return found[posixpath.basename(path)]

    def _config_map(self, name: str, content: Mapping[str, bytes]) -> None:
        texts: dict[str, str] = {}
        binary: dict[str, str] = {}
        for key, value in content.items():
            try:
                texts[key] = value.decode()
            except UnicodeDecodeError:
                binary[key] = base64.b64encode(value).decode()
        owner = labels(self._project.name)
        self.objects[f"configmap/{name}"] = manifest("v1", "ConfigMap", name, owner, data=texts, binaryData=binary)


def _used_by_several(project: Project) -> set[str]:
    """The volumes more than one pod may use at a time."""
    users: dict[str, int] = {}
    for _, service in project.workloads():
        deploy = service.get("deploy") or Map()
        pods = 2 if deploy.get("mode") == "global" else deploy.get("replicas") or 1
        for source in {each.get("source") for each in service.get("volumes") or [] if each.get("type") == "volume"}:
            users[source] = users.get(source, 0) + pods
    return {name for name, count in users.items() if count > 1}


def amount(size: int) -> str:
    """Bytes as a person writes them."""
    for unit, factor in (("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)):
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return str(size)


def _amount(text: str) -> str:
    from compose.canonical import Context, size

    return amount(size(text, Context("")))


def claims(pod: Mapping[str, Any]) -> bool:
    """Whether a pod writes to a claim: two of it at a time may not be wanted."""
    return any("persistentVolumeClaim" in each for each in pod.get("volumes") or [])
