"""Defaults and validation of a PodSpec, shared by pods and by the templates of workloads. Pure.

Kubernetes: pkg/apis/core/v1/defaults.go and pkg/apis/core/validation/validation.go; the messages are theirs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from lightkube.models.core_v1 import Container, PodSecurityContext, PodSpec, Probe

from api import quantity
from api.errors import FieldError, duplicate, forbidden, invalid, not_supported, required
from apiserver.registry import fields, names

RESTART_POLICIES = ("Always", "OnFailure", "Never")
DNS_POLICIES = ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")
PULL_POLICIES = ("Always", "IfNotPresent", "Never")
PROTOCOLS = ("TCP", "UDP", "SCTP")
DEFAULT_MODE = 0o644


# --- defaults ---------------------------------------------------------------------------------------------------


def set_defaults(spec: PodSpec) -> None:
    """SetDefaults_PodSpec and all below it."""
    spec.restartPolicy = spec.restartPolicy or "Always"
    spec.dnsPolicy = spec.dnsPolicy or "ClusterFirst"
    spec.schedulerName = spec.schedulerName or "default-scheduler"
    if spec.terminationGracePeriodSeconds is None:
        spec.terminationGracePeriodSeconds = 30
    if spec.securityContext is None:
        spec.securityContext = PodSecurityContext()
    for container in (*(spec.initContainers or ()), *spec.containers):
        _set_container_defaults(container, host_network=bool(spec.hostNetwork))
    for volume in spec.volumes or ():
        _set_volume_defaults(volume)


def _set_container_defaults(container: Container, *, host_network: bool) -> None:
    container.terminationMessagePath = container.terminationMessagePath or "/dev/termination-log"
    container.terminationMessagePolicy = container.terminationMessagePolicy or "File"
    if not container.imagePullPolicy:
        container.imagePullPolicy = "Always" if _is_latest(container.image or "") else "IfNotPresent"
    for port in container.ports or ():
        port.protocol = port.protocol or "TCP"
        if host_network and not port.hostPort:
            port.hostPort = port.containerPort
    for probe in (container.livenessProbe, container.readinessProbe, container.startupProbe):
        if probe is not None:
            _set_probe_defaults(probe)
    lifecycle = container.lifecycle
    for hook in (lifecycle.postStart, lifecycle.preStop) if lifecycle else ():
        if hook is not None and hook.httpGet is not None:
            _set_http_defaults(hook.httpGet)
    for variable in container.env or ():
        if variable.valueFrom is not None and variable.valueFrom.fieldRef is not None:
            variable.valueFrom.fieldRef.apiVersion = variable.valueFrom.fieldRef.apiVersion or "v1"


def _is_latest(image: str) -> bool:
    """Whether the image has the tag `latest`, or neither tag nor digest."""
    if "@" in image:
        return False
    _, colon, tag = image.rpartition("/")[2].partition(":")
    return not colon or tag == "latest"


def _set_probe_defaults(probe: Probe) -> None:
    probe.timeoutSeconds = probe.timeoutSeconds or 1
    probe.periodSeconds = probe.periodSeconds or 10
    probe.successThreshold = probe.successThreshold or 1
    probe.failureThreshold = probe.failureThreshold or 3
    if probe.httpGet is not None:
        _set_http_defaults(probe.httpGet)
    if probe.grpc is not None and probe.grpc.service is None:
        probe.grpc.service = ""


def _set_http_defaults(action: Any) -> None:
    action.path = action.path or "/"
    action.scheme = action.scheme or "HTTP"


def _set_volume_defaults(volume: Any) -> None:
    for source in (volume.secret, volume.configMap, volume.downwardAPI, volume.projected):
        if source is not None and source.defaultMode is None:
            source.defaultMode = DEFAULT_MODE
    if volume.hostPath is not None and volume.hostPath.type is None:
        volume.hostPath.type = ""
    for projection in (volume.projected and volume.projected.sources) or ():
        token = projection.serviceAccountToken
        if token is not None and token.expirationSeconds is None:
            token.expirationSeconds = 3600


def set_requests(spec: PodSpec) -> None:
    """A limit without a request is the request too (SetDefaults_Pod; not for templates)."""
    for container in (*(spec.initContainers or ()), *spec.containers):
        resources = container.resources
        if resources is not None and resources.limits:
            resources.requests = {**resources.limits, **(resources.requests or {})}


def qos_class(spec: PodSpec) -> str:
    """https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/"""
    anything, guaranteed = False, True
    for container in (*(spec.initContainers or ()), *spec.containers):
        resources = container.resources
        limits = (resources and resources.limits) or {}
        requests = {**limits, **((resources and resources.requests) or {})}
        for name in ("cpu", "memory"):
            anything = anything or _positive(requests.get(name)) or _positive(limits.get(name))
            guaranteed = guaranteed and _positive(limits.get(name)) and requests[name] == limits[name]
    if not anything:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def _positive(amount: str | None) -> bool:
    return amount is not None and quantity.parse(amount) > 0


# --- validation -------------------------------------------------------------------------------------------------


_RIGHT: dict[tuple[str, bytes], None] = {}
_RIGHT_SPECS, _RIGHT_BYTES = 1024, 16384
"""How many specs found right are remembered, and how large one may be: pods come in series of one template."""


def validate(spec: PodSpec, path: str) -> list[FieldError]:
    """Everything wrong with a PodSpec found at `path`."""
    key = (path, msgspec.json.encode(spec))
    if key in _RIGHT:
        return []
    errors = _validate(spec, path)
    if not errors and len(key[1]) <= _RIGHT_BYTES:
        if len(_RIGHT) >= _RIGHT_SPECS:
            _RIGHT.clear()
        _RIGHT[key] = None
    return errors


def template_rule(path: str, *, restart: Sequence[str] = ("Always",)) -> Callable[[Any], list[FieldError]]:
    """A pod template that is there; `restart`: the restart policies its owner can deal with (none: any)."""

    def rule(obj: Any) -> list[FieldError]:
        template = fields.get(obj, path)
        if template is None:
            return [required(path)]
        spec = template.spec
        if spec is None:
            return [required(f"{path}.spec.containers")]
        errors = names.check_labels(template.metadata and template.metadata.labels, f"{path}.labels")
        errors += validate(spec, f"{path}.spec")
        if restart and spec.restartPolicy in RESTART_POLICIES and spec.restartPolicy not in restart:
            errors.append(not_supported(f"{path}.spec.restartPolicy", spec.restartPolicy, restart))
        if "Always" in restart and spec.activeDeadlineSeconds is not None:
            why = "activeDeadlineSeconds in workload is not Supported"
            errors.append(forbidden(f"{path}.spec.activeDeadlineSeconds", why))
        return errors

    return rule


def _validate(spec: PodSpec, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    volumes = _validate_volumes(spec.volumes or [], f"{path}.volumes", errors)
    if not spec.containers:
        errors.append(required(f"{path}.containers"))
    seen: set[str] = set()
    for field in ("initContainers", "containers"):
        for index, container in enumerate(getattr(spec, field) or ()):
            here = f"{path}.{field}[{index}]"
            _validate_container(container, here, volumes, seen, errors, init=field == "initContainers")
    _choice(errors, f"{path}.restartPolicy", spec.restartPolicy, RESTART_POLICIES)
    _choice(errors, f"{path}.dnsPolicy", spec.dnsPolicy, DNS_POLICIES)
    _at_least(errors, f"{path}.terminationGracePeriodSeconds", spec.terminationGracePeriodSeconds, 0)
    _at_least(errors, f"{path}.activeDeadlineSeconds", spec.activeDeadlineSeconds, 1)
    errors += names.check_labels(spec.nodeSelector, f"{path}.nodeSelector")
    for field in ("nodeName", "serviceAccountName"):
        if text := getattr(spec, field):
            errors += names.check(f"{path}.{field}", text, names.dns_subdomain)
    for field in ("hostname", "subdomain"):
        if text := getattr(spec, field):
            errors += names.check(f"{path}.{field}", text, names.dns_label)
    for index, toleration in enumerate(spec.tolerations or ()):
        _validate_toleration(toleration, f"{path}.tolerations[{index}]", errors)
    return errors


def _choice(errors: list[FieldError], path: str, value: str | None, options: Sequence[str]) -> None:
    if not value or value not in options:
        errors.append(not_supported(path, value, [*options]) if value else required(path))


def _at_least(errors: list[FieldError], path: str, value: int | None, least: int) -> None:
    if value is not None and value < least:
        errors.append(invalid(path, value, f"must be greater than or equal to {least}"))


def _validate_container(
    container: Container, path: str, volumes: set[str], seen: set[str], errors: list[FieldError], *, init: bool
) -> None:
    if not container.name:
        errors.append(required(f"{path}.name"))
    else:
        errors += names.check(f"{path}.name", container.name, names.dns_label)
        if container.name in seen:
            errors.append(duplicate(f"{path}.name", container.name))
        seen.add(container.name)
    image = container.image or ""
    if not image:
        errors.append(required(f"{path}.image"))
    elif image != image.strip():
        errors.append(invalid(f"{path}.image", image, "must not have leading or trailing whitespace"))
    _choice(errors, f"{path}.imagePullPolicy", container.imagePullPolicy, PULL_POLICIES)
    _validate_ports(container.ports or [], f"{path}.ports", errors)
    _validate_env(container.env or [], f"{path}.env", errors)
    _validate_mounts(container.volumeMounts or [], f"{path}.volumeMounts", volumes, errors)
    if container.resources is not None:
        _validate_resources(container.resources, f"{path}.resources", errors)
    _validate_probes(container, path, errors, init=init)


def _validate_ports(ports: list[Any], path: str, errors: list[FieldError]) -> None:
    seen: set[str] = set()
    for index, port in enumerate(ports):
        here = f"{path}[{index}]"
        if port.name:
            errors += names.check(f"{here}.name", port.name, port_name)
            if port.name in seen:
                errors.append(duplicate(f"{here}.name", port.name))
            seen.add(port.name)
        check_port(errors, f"{here}.containerPort", port.containerPort)
        if port.hostPort:
            check_port(errors, f"{here}.hostPort", port.hostPort)
        _choice(errors, f"{here}.protocol", port.protocol, PROTOCOLS)


def check_port(errors: list[FieldError], path: str, port: int) -> None:
    if not 1 <= port <= 65535:
        errors.append(invalid(path, port, "must be between 1 and 65535, inclusive"))


_PORT_NAME = re.compile(r"[a-z0-9]+(-+[a-z0-9]+)*")


def port_name(text: str) -> list[str]:
    """An IANA service name."""
    wrong = []
    if len(text) > 15:
        wrong.append("must be no more than 15 characters")
    if not _PORT_NAME.fullmatch(text):
        wrong.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search("[a-z]", text):
        wrong.append("must contain at least one letter (a-z)")
    if "--" in text:
        wrong.append("must not contain consecutive hyphens")
    return wrong


def target_port(port: int | str) -> list[str]:
    """A port by number or by the name of a container's port."""
    if isinstance(port, str):
        return port_name(port)
    return [] if 1 <= port <= 65535 else ["must be between 1 and 65535, inclusive"]


def _validate_env(variables: list[Any], path: str, errors: list[FieldError]) -> None:
    for index, variable in enumerate(variables):
        here = f"{path}[{index}]"
        if not variable.name:
            errors.append(required(f"{here}.name"))
        else:
            errors += names.check(f"{here}.name", variable.name, names.env_name)
        source = variable.valueFrom
        if source is None:
            continue
        if variable.value:
            errors.append(invalid(f"{here}.valueFrom", "", "may not be specified when `value` is not empty"))
        given = [
            name
            for name in ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef")
            if getattr(source, name)
        ]
        if not given:
            errors.append(
                invalid(
                    f"{here}.valueFrom",
                    "",
                    "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`",
                )
            )
        elif len(given) > 1:
            errors.append(invalid(f"{here}.valueFrom", "", "may not have more than one field specified at a time"))


def _validate_mounts(mounts: list[Any], path: str, volumes: set[str], errors: list[FieldError]) -> None:
    seen: set[str] = set()
    for index, mount in enumerate(mounts):
        here = f"{path}[{index}]"
        if not mount.name:
            errors.append(required(f"{here}.name"))
        elif mount.name not in volumes:
            errors.append(FieldError(f"{here}.name", "FieldValueNotFound", "", mount.name))
        if not mount.mountPath:
            errors.append(required(f"{here}.mountPath"))
        elif mount.mountPath in seen:
            errors.append(invalid(f"{here}.mountPath", mount.mountPath, "must be unique"))
        seen.add(mount.mountPath)
        if mount.subPath and (mount.subPath.startswith("/") or ".." in mount.subPath.split("/")):
            why = "must be a relative path" if mount.subPath.startswith("/") else "must not contain '..'"
            errors.append(invalid(f"{here}.subPath", mount.subPath, why))


def _validate_resources(resources: Any, path: str, errors: list[FieldError]) -> None:
    limits = resources.limits or {}
    for field in ("limits", "requests"):
        for name, amount in (getattr(resources, field) or {}).items():
            if quantity.parse(amount) < 0:
                errors.append(invalid(f"{path}.{field}[{name}]", amount, "must be greater than or equal to 0"))
    for name, amount in (resources.requests or {}).items():
        if name in limits and quantity.parse(amount) > quantity.parse(limits[name]):
            errors.append(
                invalid(f"{path}.requests", amount, f"must be less than or equal to {name} limit of {limits[name]}")
            )


_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")


def _validate_probes(container: Container, path: str, errors: list[FieldError], *, init: bool) -> None:
    for field in ("livenessProbe", "readinessProbe", "startupProbe"):
        probe = getattr(container, field)
        if probe is None:
            continue
        here = f"{path}.{field}"
        if init and container.restartPolicy != "Always":
            errors.append(forbidden(here, "may not be set for init containers without restartPolicy=Always"))
            continue
        given = [name for name in _HANDLERS if getattr(probe, name) is not None]
        if not given:
            errors.append(required(here, "must specify a handler type"))
        errors += [forbidden(f"{here}.{name}", "may not specify more than 1 handler type") for name in given[1:]]
        for name in ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"):
            _at_least(errors, f"{here}.{name}", getattr(probe, name), 0)
        if field != "readinessProbe" and probe.successThreshold not in (None, 1):
            errors.append(invalid(f"{here}.successThreshold", probe.successThreshold, "must be 1"))
        _validate_handler_port(probe, here, errors)


def _validate_handler_port(probe: Probe, path: str, errors: list[FieldError]) -> None:
    for name in ("httpGet", "tcpSocket"):
        action = getattr(probe, name)
        if action is None:
            continue
        if isinstance(action.port, int):
            check_port(errors, f"{path}.{name}.port", action.port)
        else:
            errors += names.check(f"{path}.{name}.port", action.port, port_name)
    if probe.exec is not None and not probe.exec.command:
        errors.append(required(f"{path}.exec.command"))


def _validate_volumes(volumes: list[Any], path: str, errors: list[FieldError]) -> set[str]:
    """Checks them and returns their names."""
    seen: set[str] = set()
    for index, volume in enumerate(volumes):
        here = f"{path}[{index}]"
        if not volume.name:
            errors.append(required(f"{here}.name"))
        else:
            errors += names.check(f"{here}.name", volume.name, names.dns_label)
            if volume.name in seen:
                errors.append(duplicate(f"{here}.name", volume.name))
            seen.add(volume.name)
        sources = [name for name in volume.__struct_fields__ if name != "name" and getattr(volume, name) is not None]
        if not sources:
            errors.append(required(here, "must specify a volume type"))
        errors += [forbidden(f"{here}.{name}", "may not specify more than 1 volume type") for name in sources[1:]]
        if volume.hostPath is not None and not volume.hostPath.path:
            errors.append(required(f"{here}.hostPath.path"))
    return seen


def _validate_toleration(toleration: Any, path: str, errors: list[FieldError]) -> None:
    if toleration.key:
        errors += names.check(f"{path}.key", toleration.key, names.qualified_name)
    elif toleration.operator != "Exists":
        errors.append(
            invalid(
                f"{path}.operator",
                toleration.operator or "",
                'operator must be Exists when `key` is empty, which means "match all values and all keys"',
            )
        )
    if toleration.tolerationSeconds is not None and toleration.effect != "NoExecute":
        errors.append(
            invalid(
                f"{path}.effect", toleration.effect or "", "effect must be 'NoExecute' when `tolerationSeconds` is set"
            )
        )
    if toleration.operator not in (None, "", "Equal", "Exists", "Lt", "Gt"):
        errors.append(not_supported(f"{path}.operator", toleration.operator, ["Equal", "Exists"]))
    elif toleration.operator == "Exists" and toleration.value:
        errors.append(invalid(f"{path}.operator", toleration.value, "value must be empty when `operator` is 'Exists'"))
    if toleration.effect not in (None, "", "NoSchedule", "PreferNoSchedule", "NoExecute"):
        errors.append(
            not_supported(f"{path}.effect", toleration.effect, ["NoExecute", "NoSchedule", "PreferNoSchedule"])
        )


IMMUTABLE = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def validate_change(new: PodSpec, old: PodSpec, path: str) -> list[FieldError]:
    """A pod's spec is fixed but for a few fields."""
    if new == old:
        return []
    munged = msgspec.convert(msgspec.to_builtins(new), PodSpec)
    errors = _validate_new_deadline(new, old, f"{path}.activeDeadlineSeconds")
    munged.activeDeadlineSeconds = old.activeDeadlineSeconds
    kept = old.tolerations or []
    if all(each in (new.tolerations or []) for each in kept):
        munged.tolerations = old.tolerations
    for field in ("containers", "initContainers"):
        mine, theirs = getattr(munged, field) or [], getattr(old, field) or []
        if len(mine) != len(theirs):
            errors.append(forbidden(f"{path}.{field}", "pod updates may not add or remove containers"))
            return errors
        for container, before in zip(mine, theirs, strict=True):
            container.image = before.image
    if munged != old:
        errors.append(forbidden(path, IMMUTABLE))
    return errors


def _validate_new_deadline(new: PodSpec, old: PodSpec, path: str) -> list[FieldError]:
    after, before = new.activeDeadlineSeconds, old.activeDeadlineSeconds
    if before is None or after == before:
        return []
    if after is None:
        return [invalid(path, None, "must not update from a positive integer to nil value")]
    return [invalid(path, after, "must be less than or equal to previous value")] if after > before else []
