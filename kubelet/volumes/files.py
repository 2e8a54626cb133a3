"""Volumes of files: configMap, secret, downwardAPI, and projected, which is all of them in one.

    references(pod)   the ConfigMaps and Secrets the pod's volumes hold
    tokens(pod)       the service account tokens they hold

Whatever can hold a secret lies in memory and never on a disk.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lightkube.models.core_v1 import (
    ConfigMapProjection,
    Container,
    DownwardAPIProjection,
    DownwardAPIVolumeFile,
    KeyToPath,
    ObjectFieldSelector,
    ProjectedVolumeSource,
    ServiceAccountTokenProjection,
    Volume,
    VolumeProjection,
)
from lightkube.resources.core_v1 import Pod

from kubelet import limits
from kubelet.pods.env import ConfigError, Reference, Surroundings, data_of, field_value, resource_value
from kubelet.volumes import atomic
from kubelet.volumes.atomic import DEFAULT_MODE, File
from kubelet.volumes.empty_dir import mount_memory
from kubelet.volumes.plugin import Request, TokenRequest
from linux import mounts

TOKEN_DIRECTORY = "/var/run/secrets/kubernetes.io/serviceaccount"
TOKEN_VOLUME = "kube-api-access"
_PRIVATE = 0o600
_ROOT_CA = Reference("ConfigMap", "kube-root-ca.crt")


class FileVolume:
    """One driver for each of the four: they differ in where the files come from and where they lie."""

    read_only = True

    def __init__(self, name: str, *, in_memory: bool) -> None:
        self.name = name
        self._in_memory = in_memory

    def setup(self, request: Request) -> None:
        files = dict(_files(request))
        if self._in_memory:
            mount_memory(request.path, mode=0o755, group=None)
        else:
            request.path.mkdir(exist_ok=True)
        atomic.write(request.path, files, request.group)

    def location(self, volume: Volume, path: Path) -> Path:
        return path

    def teardown(self, path: Path) -> None:
        mounts.remove_tree(path)


# What a pod needs


def references(pod: Pod) -> set[Reference]:
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


def volumes_of(pod: Pod) -> list[Volume]:
    """The spec's, and the service account's token for the containers that do not say otherwise."""
    spec = pod.spec
    assert spec is not None
    volumes = list(spec.volumes or [])
    if any(wants_token(pod, each) for each in [*(spec.initContainers or []), *spec.containers]):
        namespace = DownwardAPIVolumeFile(path="namespace", fieldRef=ObjectFieldSelector("metadata.namespace"))
        sources = [
            VolumeProjection(serviceAccountToken=ServiceAccountTokenProjection("token")),
            VolumeProjection(configMap=ConfigMapProjection(items=[KeyToPath("ca.crt", "ca.crt")], name=_ROOT_CA.name)),
            VolumeProjection(downwardAPI=DownwardAPIProjection([namespace])),
        ]
        volumes.append(Volume(TOKEN_VOLUME, projected=ProjectedVolumeSource(sources=sources)))
    return volumes


def wants_token(pod: Pod, container: Container) -> bool:
    """Whether the container gets the usual token directory although its spec does not mount one."""
    if pod.spec is None or pod.spec.automountServiceAccountToken is False:
        return False
    return all(each.mountPath.rstrip("/") != TOKEN_DIRECTORY for each in container.volumeMounts or [])


def tokens(pod: Pod) -> set[TokenRequest]:
    projections = [each for volume in volumes_of(pod) for each in (volume.projected and volume.projected.sources) or []]
    return {_token_request(each.serviceAccountToken) for each in projections if each.serviceAccountToken}


def _token_request(projection: ServiceAccountTokenProjection) -> TokenRequest:
    return TokenRequest(projection.audience or "", projection.expirationSeconds or limits.TOKEN_SECONDS)


# The files


def _files(request: Request) -> Iterator[tuple[str, File]]:
    volume, around = request.volume, request.around
    if volume.configMap:
        source = volume.configMap
        reference = Reference("ConfigMap", source.name or "")
        mode = source.defaultMode or DEFAULT_MODE
        yield from _object_files(reference, source.items, around, optional=bool(source.optional), mode=mode)
    elif volume.secret:
        secret = volume.secret
        reference = Reference("Secret", secret.secretName or "")
        mode = secret.defaultMode or DEFAULT_MODE
        yield from _object_files(reference, secret.items, around, optional=bool(secret.optional), mode=mode)
    elif volume.downwardAPI:
        mode = volume.downwardAPI.defaultMode or DEFAULT_MODE
        yield from _downward_files(request.pod, volume.downwardAPI.items, around, mode)
    elif volume.projected:
        mode = volume.projected.defaultMode or DEFAULT_MODE
        for projection in volume.projected.sources or []:
            yield from _projected_files(request, projection, mode)


def _projected_files(request: Request, projection: VolumeProjection, mode: int) -> Iterator[tuple[str, File]]:
    around = request.around
    if projection.configMap:
        source = projection.configMap
        reference = Reference("ConfigMap", source.name or "")
        if reference == _ROOT_CA and around.objects.get(reference) is None and request.tokens is not None:
            yield "ca.crt", File(request.tokens.ca, mode)  # nobody published it here; we know it
        else:
            yield from _object_files(reference, source.items, around, optional=bool(source.optional), mode=mode)
    elif projection.secret:
        secret = projection.secret
        reference = Reference("Secret", secret.name or "")
        yield from _object_files(reference, secret.items, around, optional=bool(secret.optional), mode=mode)
    elif projection.downwardAPI:
        yield from _downward_files(request.pod, projection.downwardAPI.items, around, mode)
    elif projection.serviceAccountToken:
        yield projection.serviceAccountToken.path, _token_file(request, projection.serviceAccountToken, mode)
    else:
        raise ConfigError("this type of projection is not supported")


def _token_file(request: Request, projection: ServiceAccountTokenProjection, mode: int) -> File:
    """Only for whom it is meant: the group, or the one user all containers run as."""
    if request.tokens is None:
        raise ConfigError("the API server issues no service account tokens")
    user = _only_user(request.pod)
    private = user is not None or request.group is not None
    token = request.tokens.by_request[_token_request(projection)]
    return File(token.encode(), _PRIVATE if private else mode, user or 0)


def _only_user(pod: Pod) -> int | None:
    spec = pod.spec
    assert spec is not None
    shared = spec.securityContext.runAsUser if spec.securityContext else None
    own = [each.securityContext for each in [*(spec.initContainers or []), *spec.containers]]
    users = {each.runAsUser if each and each.runAsUser is not None else shared for each in own}
    return users.pop() if len(users) == 1 else None


def _object_files(
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
