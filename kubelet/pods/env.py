"""The environment and command line of a container. Pure: the objects they refer to are fetched by the caller.

    references(...)          which ConfigMaps and Secrets are needed
    environment(...)         env and envFrom as a dict
    expand("$(NAME)", env)   variables in env, command and args; `$$` is a dollar, unknown names stay as written
    field_value(...)         what a fieldRef names

Kubernetes: https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from lightkube.models.core_v1 import Container, EnvVar, EnvVarSource, ObjectFieldSelector, ResourceFieldSelector
from lightkube.resources.core_v1 import ConfigMap, Pod, Secret

from api import meta, quantity

_VARIABLE = re.compile(r"\$(\$|\([^()]*\))")
_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['(.+)'\]\Z")


class ConfigError(Exception):
    """A container asks for something that is not there (CreateContainerConfigError)."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A ConfigMap or Secret of the pod's namespace."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a pod's spec may refer to beside itself."""

    objects: Mapping[Reference, ConfigMap | Secret | None] = field(default_factory=dict)
    """The objects `references` named; None for one that does not exist."""
    pod_ip: str = ""
    host_ip: str = ""
    allocatable: Mapping[str, str] = field(default_factory=dict)
    """Of the node: what a container without a limit may use."""
    services: Mapping[str, str] = field(default_factory=dict)
    """KUBERNETES_SERVICE_HOST and the like."""
    claims: Mapping[str, Any] = field(default_factory=dict)
    """By the name of the pod's volume, what its claim is bound to (volumes/bound.py)."""


def references(container: Container) -> set[Reference]:
    found = set()
    for source in container.envFrom or []:
        if source.configMapRef:
            found.add(Reference("ConfigMap", source.configMapRef.name or ""))
        if source.secretRef:
            found.add(Reference("Secret", source.secretRef.name or ""))
    for variable in container.env or []:
        value_from = variable.valueFrom
        if value_from and value_from.configMapKeyRef:
            found.add(Reference("ConfigMap", value_from.configMapKeyRef.name or ""))
        if value_from and value_from.secretKeyRef:
            found.add(Reference("Secret", value_from.secretKeyRef.name or ""))
    return found


def data_of(obj: ConfigMap | Secret) -> dict[str, bytes]:
    """The contents of either kind."""
    if isinstance(obj, Secret):
        return {key: base64.b64decode(value) for key, value in (obj.data or {}).items()}
    plain = {key: value.encode() for key, value in (obj.data or {}).items()}
    return plain | {key: base64.b64decode(value) for key, value in (obj.binaryData or {}).items()}


def environment(pod: Pod, container: Container, around: Surroundings) -> dict[str, str]:
    """Services first, then envFrom, then env; a later one wins. Raises ConfigError."""
    env = dict(around.services)
    env.update(_from_objects(pod, container, around))
    for variable in container.env or []:
        value = _value(pod, container, variable, around, env)
        if value is not None:
            env[variable.name] = value
    return env


def expand(text: str, env: Mapping[str, str]) -> str:
    def replace(match: re.Match[str]) -> str:
        inner = match[1]
        return "$" if inner == "$" else env.get(inner[1:-1], match[0])

    return _VARIABLE.sub(replace, text)


def expand_all(texts: Sequence[str] | None, env: Mapping[str, str]) -> list[str]:
    return [expand(each, env) for each in texts or []]


def _from_objects(pod: Pod, container: Container, around: Surroundings) -> Iterator[tuple[str, str]]:
    for source in container.envFrom or []:
        wanted = source.configMapRef or source.secretRef
        if wanted is None:
            continue
        reference = Reference("ConfigMap" if source.configMapRef else "Secret", wanted.name or "")
        obj = _object(reference, around, optional=bool(wanted.optional))
        for key, value in (data_of(obj) if obj else {}).items():
            yield (source.prefix or "") + key, value.decode(errors="replace")


def _object(reference: Reference, around: Surroundings, *, optional: bool) -> ConfigMap | Secret | None:
    obj = around.objects.get(reference)
    if obj is None and not optional:
        raise ConfigError(f'{reference.kind.lower()} "{reference.name}" not found')
    return obj


def _value(
    pod: Pod, container: Container, variable: EnvVar, around: Surroundings, env: Mapping[str, str]
) -> str | None:
    source = variable.valueFrom
    if source is None:
        return expand(variable.value or "", env)
    if source.fieldRef:
        return field_value(pod, source.fieldRef, pod_ip=around.pod_ip, host_ip=around.host_ip)
    if source.resourceFieldRef:
        return resource_value(pod, source.resourceFieldRef, container.name, around.allocatable)
    return _key_value(pod, source, around)


def _key_value(pod: Pod, source: EnvVarSource, around: Surroundings) -> str | None:
    selector = source.configMapKeyRef or source.secretKeyRef
    if selector is None:
        return None
    kind = "ConfigMap" if source.configMapKeyRef else "Secret"
    obj = _object(Reference(kind, selector.name or ""), around, optional=bool(selector.optional))
    data = data_of(obj) if obj else {}
    if selector.key in data:
        return data[selector.key].decode(errors="replace")
    if selector.optional:
        return None
    raise ConfigError(f"couldn't find key {selector.key} in {kind} {meta.namespace(pod)}/{selector.name}")


def field_value(pod: Pod, selector: ObjectFieldSelector, *, pod_ip: str, host_ip: str) -> str:
    """Raises ConfigError for a path the downward API does not have."""
    path, spec = selector.fieldPath, pod.spec
    subscript = _SUBSCRIPT.match(path)
    if subscript:
        values = meta.labels(pod) if subscript[1] == "labels" else meta.annotations(pod)
        return values.get(subscript[2], "")
    simple = {
        "metadata.name": meta.name(pod),
        "metadata.namespace": meta.namespace(pod),
        "metadata.uid": meta.uid(pod),
        "metadata.labels": _lines(meta.labels(pod)),
        "metadata.annotations": _lines(meta.annotations(pod)),
        "spec.nodeName": (spec and spec.nodeName) or "",
        "spec.serviceAccountName": (spec and spec.serviceAccountName) or "default",
        "status.hostIP": host_ip,
        "status.hostIPs": host_ip,
        "status.podIP": pod_ip,
        "status.podIPs": pod_ip,
    }
    if path not in simple:
        raise ConfigError(f"unsupported fieldPath: {path}")
    return simple[path]


def _lines(values: Mapping[str, str]) -> str:
    quoted = {
        key: value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") for key, value in values.items()
    }
    return "\n".join(f'{key}="{value}"' for key, value in sorted(quoted.items()))


def resource_value(
    pod: Pod, selector: ResourceFieldSelector, container_name: str, allocatable: Mapping[str, str]
) -> str:
    """requests.* or limits.* in units of the divisor, rounded up. Without a limit it is all the node has."""
    name = selector.containerName or container_name
    spec = pod.spec
    containers = [*(spec.initContainers or []), *spec.containers] if spec else []
    container = next((each for each in containers if each.name == name), None)
    if container is None:
        raise ConfigError(f"container {name} not found")
    which, _, resource = selector.resource.partition(".")
    limits = (container.resources and container.resources.limits) or {}
    requests = (container.resources and container.resources.requests) or {}
    text = (limits if which == "limits" else requests).get(resource) or limits.get(resource)
    if text is None:
        text = allocatable.get(resource, "0") if which == "limits" else "0"
    divisor = quantity.parse(str(selector.divisor or "1")) or Decimal(1)
    return str(math.ceil(quantity.parse(str(text)) / divisor))
