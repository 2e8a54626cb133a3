"""Defaults and rules of a PodSpec, shared by pods and by the templates of workloads. Pure.

Kubernetes: pkg/apis/core/v1/defaults.go and pkg/apis/core/validation/validation.go; the messages are theirs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import msgspec
from lightkube.models.core_v1 import PodSpec, Volume

from api import quantity
from api.errors import FieldError, duplicate, forbidden, invalid, not_supported, required
from apiserver.registry import fields, names, rules
from apiserver.registry.defaults import filled, made, nonzero

RESTART_POLICIES = ("Always", "OnFailure", "Never")
DNS_POLICIES = ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")
PULL_POLICIES = ("Always", "IfNotPresent", "Never")
PROTOCOLS = ("TCP", "UDP", "SCTP")
PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
PROBE_NUMBERS = ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold")
HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")
SOURCES = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef")
_FILE_MODE = {"defaultMode": 0o644}


# --- defaults ---------------------------------------------------------------------------------------------------


def _pull_policy(container: Any) -> None:
    if not container.imagePullPolicy:
        container.imagePullPolicy = "Always" if _is_latest(container.image or "") else "IfNotPresent"


def _is_latest(image: str) -> bool:
    """Whether the image has the tag `latest`, or neither tag nor digest."""
    if "@" in image:
        return False
    _, colon, tag = image.rpartition("/")[2].partition(":")
    return not colon or tag == "latest"


def _host_ports(spec: PodSpec) -> None:
    for container in (*(spec.initContainers or ()), *spec.containers) if spec.hostNetwork else ():
        for port in container.ports or ():
            port.hostPort = port.hostPort or port.containerPort


_HTTP = {"httpGet": {"path": "/", "scheme": "HTTP"}}
_PROBE = {
    "timeoutSeconds": nonzero(1), "periodSeconds": nonzero(10), "successThreshold": nonzero(1),
    "failureThreshold": nonzero(3), "grpc": {"service": ""}, **_HTTP,
}  # fmt: skip
_CONTAINER = {
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
    "ports": [{"protocol": "TCP"}],
    **dict.fromkeys(PROBES, _PROBE),
    "lifecycle": {"postStart": _HTTP, "preStop": _HTTP},
    "env": [{"valueFrom": {"fieldRef": {"apiVersion": "v1"}}}],
}
_VOLUME = {
    **dict.fromkeys(("secret", "configMap", "downwardAPI"), _FILE_MODE),
    "projected": {**_FILE_MODE, "sources": [{"serviceAccountToken": {"expirationSeconds": 3600}}]},
    "hostPath": {"type": ""},
}
set_defaults = filled(
    {
        "restartPolicy": "Always",
        "dnsPolicy": "ClusterFirst",
        "schedulerName": "default-scheduler",
        "terminationGracePeriodSeconds": 30,
        "securityContext": made({}),
        "initContainers": [filled(_CONTAINER, _pull_policy)],
        "containers": [filled(_CONTAINER, _pull_policy)],
        "volumes": [_VOLUME],
    },
    _host_ports,
)
"""SetDefaults_PodSpec and all below it."""
TEMPLATE = {"spec": set_defaults}
"""The shape of a pod template."""


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


# --- rules ------------------------------------------------------------------------------------------------------

_RIGHT: dict[bytes, None] = {}
_RIGHT_SPECS, _RIGHT_BYTES = 1024, 16384
"""How many specs found right are remembered, and how large one may be: pods come in series of one template."""


def validate(spec: PodSpec, path: str) -> list[FieldError]:
    """Everything wrong with a PodSpec found at `path`."""
    node, spec.nodeName = spec.nodeName, None  # pods of one template are on many nodes
    try:
        key = msgspec.json.encode(spec)
        errors = [] if key in _RIGHT else [error for rule in _RULES for error in rule(spec)]
    finally:
        spec.nodeName = node
    if not errors and len(key) <= _RIGHT_BYTES:
        if len(_RIGHT) >= _RIGHT_SPECS:
            _RIGHT.clear()
        _RIGHT[key] = None
    if node:
        errors += names.check("nodeName", node, names.dns_subdomain)
    return [replace(error, path=f"{path}.{error.path}") for error in errors]


_MISSING = "FieldValueNotFound"


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
        claims = {name for _, name in fields.find(obj, "spec.volumeClaimTemplates[*].metadata.name")}  # volumes to be
        errors += [each for each in validate(spec, f"{path}.spec") if each.kind != _MISSING or each.value not in claims]
        if restart and spec.restartPolicy in RESTART_POLICIES and spec.restartPolicy not in restart:
            errors.append(not_supported(f"{path}.spec.restartPolicy", spec.restartPolicy, restart))
        if "Always" in restart and spec.activeDeadlineSeconds is not None:
            why = "activeDeadlineSeconds in workload is not Supported"
            errors.append(forbidden(f"{path}.spec.activeDeadlineSeconds", why))
        return errors

    return rule


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


def _negative(amount: str) -> list[str]:
    return [] if quantity.parse(amount) >= 0 else ["must be greater than or equal to 0"]


def _no_way_up(path: str) -> Iterator[str]:
    if path.startswith("/"):
        yield "must be a relative path"
    elif ".." in path.split("/"):
        yield "must not contain '..'"


def _names_differ(spec: PodSpec) -> Iterator[FieldError]:
    """Those of all containers together."""
    seen = set()
    for field in ("initContainers", "containers"):
        for path, name in fields.find(spec, f"{field}[*].name"):
            if name and name in seen:
                yield duplicate(path, name)
            seen.add(name)


def _volumes_are_there(spec: PodSpec) -> Iterator[FieldError]:
    known = {volume.name for volume in spec.volumes or ()}
    for field in ("initContainers", "containers"):
        for path, name in fields.find(spec, f"{field}[*].volumeMounts[*].name"):
            if name and name not in known:
                yield FieldError(path, _MISSING, "", name)


def _mount_paths_differ(mounts: Sequence[Any], path: str) -> Iterator[FieldError]:
    seen: set[str] = set()
    for index, mount in enumerate(mounts):
        if mount.mountPath and mount.mountPath in seen:
            yield invalid(f"{path}[{index}].mountPath", mount.mountPath, "must be unique")
        seen.add(mount.mountPath)


def _one_source(variable: Any) -> Iterator[FieldError]:
    if variable.valueFrom is None:
        return
    given = sum(getattr(variable.valueFrom, name) is not None for name in SOURCES)
    if variable.value:
        yield invalid("valueFrom", "", "may not be specified when `value` is not empty")
    if not given:
        listed = "`, `".join(SOURCES[:-1])
        yield invalid("valueFrom", "", f"must specify one of: `{listed}` or `{SOURCES[-1]}`")
    elif given > 1:
        yield invalid("valueFrom", "", "may not have more than one field specified at a time")


def _within_limits(resources: Any) -> Iterator[FieldError]:
    limits = resources.limits or {}
    for name, amount in (resources.requests or {}).items():
        if name in limits and quantity.parse(amount) > quantity.parse(limits[name]):
            why = f"must be less than or equal to {name} limit of {limits[name]}"
            yield invalid("requests", amount, why)


def _toleration(toleration: Any) -> Iterator[FieldError]:
    operator, effect = toleration.operator or "", toleration.effect or ""
    if not toleration.key and operator != "Exists":
        why = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
        yield invalid("operator", operator, why)
    if toleration.tolerationSeconds is not None and effect != "NoExecute":
        yield invalid("effect", effect, "effect must be 'NoExecute' when `tolerationSeconds` is set")
    if operator not in ("", "Equal", "Exists", "Lt", "Gt"):
        yield not_supported("operator", operator, ["Equal", "Exists"])
    elif operator == "Exists" and toleration.value:
        yield invalid("operator", toleration.value, "value must be empty when `operator` is 'Exists'")


def _probe_rules(name: str) -> rules.Rule:
    return rules.within(
        name,
        rules.one_member("", "handler type", *HANDLERS),
        *rules.not_negative(*PROBE_NUMBERS),
        rules.check("httpGet.port", target_port),
        rules.check("tcpSocket.port", target_port),
        rules.required("exec.command"),
        rules.check("successThreshold", lambda count: ["must be 1"] if name != "readinessProbe" and count != 1 else []),
    )


_CONTAINER_RULES: tuple[rules.Rule, ...] = (
    rules.required("name"),
    rules.named("name", names.dns_label),
    rules.required("image"),
    rules.check("image", lambda text: [] if text == text.strip() else ["must not have leading or trailing whitespace"]),
    rules.one_of("imagePullPolicy", *PULL_POLICIES, needed=True),
    rules.within(
        "ports[*]",
        rules.named("name", port_name),
        rules.port_number("containerPort"),
        rules.check("hostPort", lambda port: target_port(port) if port else []),
        rules.one_of("protocol", *PROTOCOLS, needed=True),
    ),
    rules.distinct("ports", lambda port: port.name, ".name"),
    rules.within("env[*]", rules.required("name"), rules.named("name", names.env_name), _one_source),
    rules.within(
        "volumeMounts[*]",
        rules.required("name"),
        rules.required("mountPath"),
        rules.check("subPath", _no_way_up),
    ),
    rules.each("volumeMounts", _mount_paths_differ),
    rules.within(
        "resources", rules.check("limits[*]", _negative), rules.check("requests[*]", _negative), _within_limits
    ),
)
_PROBE_RULES = tuple(map(_probe_rules, PROBES))


def _init_probes(container: Any) -> Iterator[FieldError]:
    """Only an init container that goes on running, a sidecar, can be probed."""
    if container.restartPolicy == "Always":
        for rule in _PROBE_RULES:
            yield from rule(container)
        return
    for field in PROBES:
        if getattr(container, field) is not None:
            yield forbidden(field, "may not be set for init containers without restartPolicy=Always")


_RULES: tuple[rules.Rule, ...] = (
    rules.within(
        "volumes[*]",
        rules.required("name"),
        rules.named("name", names.dns_label),
        rules.one_member("", "volume type", *(each for each in Volume.__struct_fields__ if each != "name")),
        rules.required("hostPath.path"),
    ),
    rules.distinct("volumes", lambda volume: volume.name or None, ".name"),
    rules.required("containers"),
    rules.within("initContainers[*]", *_CONTAINER_RULES, _init_probes),
    rules.within("containers[*]", *_CONTAINER_RULES, *_PROBE_RULES),
    _names_differ,
    _volumes_are_there,
    rules.one_of("restartPolicy", *RESTART_POLICIES, needed=True),
    rules.one_of("dnsPolicy", *DNS_POLICIES, needed=True),
    rules.at_least("terminationGracePeriodSeconds", 0),
    rules.at_least("activeDeadlineSeconds", 1),
    rules.labels("nodeSelector"),
    rules.named("serviceAccountName", names.dns_subdomain),
    *(rules.named(field, names.dns_label) for field in ("hostname", "subdomain")),
    rules.within(
        "tolerations[*]",
        rules.named("key", names.qualified_name),
        rules.one_of("effect", "NoExecute", "NoSchedule", "PreferNoSchedule"),
        _toleration,
    ),
)


# --- changes ----------------------------------------------------------------------------------------------------

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
