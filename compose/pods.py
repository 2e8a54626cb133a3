"""The pod of a service: its container, and what of the container's settings are the pod's in Kubernetes. Pure.

pod(service, name, storage) -> a PodSpec
"""

from __future__ import annotations

import math
import re
from typing import Any

from compose import health
from compose.names import Object, dns, pruned
from compose.report import Keys
from compose.storage import Storage, amount

ARCHITECTURE = "kubernetes.io/arch"
HOSTNAME = "kubernetes.io/hostname"


def pod(service: Keys, name: str, image: str, storage: Storage) -> Object:
    mounts, volumes = storage.mounts(service, name)
    container = {"name": dns(name), "image": image, **_process(service), **_resources(service)}
    container |= health.probes(service) | _hooks(service)
    container |= {"securityContext": _container_security(service), "volumeMounts": mounts}
    placed = placement(service)
    return pruned(
        {
            "hostname": service.get("hostname") and dns(service.get("hostname")),
            **_host(service),
            **placed,
            "terminationGracePeriodSeconds": _grace(service),
            "securityContext": _pod_security(service),
            "hostAliases": _aliases(service),
            **_resolver(service),
            "containers": [pruned(container)],
            "volumes": volumes,
        }
    )


# The container


def escaped(text: str) -> str:
    """Kubernetes replaces $(NAME) in commands and environments; Compose does not."""
    return text.replace("$(", "$$(")


def _process(service: Keys) -> Object:
    environment = service.get("environment", {})
    result = {
        "imagePullPolicy": _pull_policy(service),
        "command": [escaped(each) for each in service.get("entrypoint", [])],
        "args": [escaped(each) for each in service.get("command", [])],
        "workingDir": service.get("working_dir"),
        "env": [{"name": key, "value": escaped(value)} for key, value in environment.items()],
        "ports": container_ports(service),
        "stdin": service.get("stdin_open"),
        "tty": service.get("tty"),
    }
    return pruned(result)


def _pull_policy(service: Keys) -> str | None:
    """Compose pulls what is missing; Kubernetes pulls `latest` always."""
    wanted = service.get("pull_policy", "missing")
    known = {"always": "Always", "never": "Never", "missing": "IfNotPresent", "if_not_present": "IfNotPresent"}
    if wanted == "build" or service.get("build"):
        return "IfNotPresent"
    if wanted not in known:
        service.approximate("pull_policy", "an image that is there is not pulled again")
    last = service.get("image", "").rpartition("/")[2]
    latest = "@" not in last and (":" not in last or last.endswith(":latest"))
    policy = known.get(wanted, "IfNotPresent")
    return policy if latest or "pull_policy" in service else None


def ports_of(service: Keys) -> dict[tuple[int, str], None]:
    """The (port, protocol) pairs a container listens on, as far as the file tells."""
    found = {(each["target"], each["protocol"].upper()): None for each in service.get("ports", [])}
    for text in service.get("expose", []):
        ports, _, protocol = text.partition("/")
        first, _, last = ports.partition("-")
        if first.isdigit():
            found |= {(port, (protocol or "tcp").upper()): None for port in range(int(first), int(last or first) + 1)}
    return found


def container_ports(service: Keys) -> list[Object]:
    on_host = {(each["target"], each["protocol"].upper()): each for each in service.get("ports", []) if _on_host(each)}
    return [
        pruned(
            {
                "containerPort": port,
                "hostPort": int(on_host[port, protocol]["published"]) if (port, protocol) in on_host else None,
                "protocol": None if protocol == "TCP" else protocol,
            }
        )
        for port, protocol in ports_of(service)
    ]


def _on_host(port: Any) -> bool:
    return bool(port.get("mode") == "host" and str(port.get("published", "")).isdigit())


def _resources(service: Keys) -> Object:
    given = service.sub("deploy").sub("resources")
    limits, requests = given.sub("limits"), given.sub("reservations")
    cpus, memory = service.get("cpus", limits.get("cpus")), service.get("mem_limit", limits.get("memory"))
    reserved = service.get("mem_reservation", requests.get("memory"))
    result = {
        "requests": pruned({"cpu": _cpu(requests.get("cpus")), "memory": amount(reserved) if reserved else None}),
        "limits": pruned({"cpu": _cpu(cpus), "memory": amount(memory) if memory else None}),
    }
    return pruned({"resources": pruned(result)})


def _cpu(cores: float | None) -> str | int | None:
    if not cores:
        return None
    return int(cores) if float(cores).is_integer() else f"{math.ceil(cores * 1000)}m"


def _hooks(service: Keys) -> Object:
    found: Object = {}
    for key, moment in (("post_start", "postStart"), ("pre_stop", "preStop")):
        hooks = service.items(key)
        for hook in hooks[:1]:
            found[moment] = {"exec": {"command": hook.get("command", [])}}
        if len(hooks) > 1:
            service.ignored(key, "a container has one such hook: the first is taken")
    return pruned({"lifecycle": found})


# Security


def _container_security(service: Keys) -> Object:
    add = [_capability(each) for each in service.get("cap_add", [])]
    drop = [_capability(each) for each in service.get("cap_drop", [])]
    found = {
        "privileged": service.get("privileged") or None,
        "readOnlyRootFilesystem": service.get("read_only") or None,
        "capabilities": pruned({"add": add, "drop": drop}),
        **_user(service),
        **_options(service),
    }
    return pruned(found)


def _capability(text: str) -> str:
    return text.upper().removeprefix("CAP_")


def _user(service: Keys) -> Object:
    user, _, group = service.get("user", "").partition(":")
    if not user:
        return {}
    if not user.isdigit() or (group and not group.isdigit()):
        service.ignored("user", "Kubernetes takes numbers: write the uid (and gid), or leave it to the image's USER")
        return {}
    return pruned({"runAsUser": int(user), "runAsGroup": int(group) if group else None})


def _options(service: Keys) -> Object:
    found: Object = {}
    for option in service.get("security_opt", []):
        name, value = [*re.split("[:=]", option, maxsplit=1), "true"][:2]
        if name == "no-new-privileges":
            found["allowPrivilegeEscalation"] = value == "false"
        elif name in ("seccomp", "apparmor") and value == "unconfined":
            found["seccompProfile" if name == "seccomp" else "appArmorProfile"] = {"type": "Unconfined"}
        else:
            service.ignored("security_opt", f"{option} names something of the node")
    return found


def _pod_security(service: Keys) -> Object:
    groups = service.get("group_add", [])
    if any(not each.isdigit() for each in groups):
        service.ignored("group_add", "Kubernetes takes numbers")
    sysctls = [{"name": name, "value": value} for name, value in service.get("sysctls", {}).items()]
    return pruned({"supplementalGroups": [int(each) for each in groups if each.isdigit()], "sysctls": sysctls})


# What the pod takes from its host


def _host(service: Keys) -> Object:
    found: Object = {}
    mode = service.get("network_mode", "")
    if mode == "host":
        found |= {"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"}
    elif mode not in ("", "bridge", "none"):
        service.ignored("network_mode", "containers that share a network are one pod: write them as one by hand")
    for key, field in (("pid", "hostPID"), ("ipc", "hostIPC")):
        if service.get(key) == "host":
            found[field] = True
        elif service.get(key) not in (None, "private", "shareable"):
            service.ignored(key, "only the host's, or the pod's own")
    if service.get("init"):
        found["shareProcessNamespace"] = True
        service.approximate("init", "the pod's first process is pause, which reaps")
    return found


def _grace(service: Keys) -> int | None:
    seconds = service.get("stop_grace_period")
    return None if seconds is None else math.ceil(seconds)


def _aliases(service: Keys) -> list[Object]:
    by_address: dict[str, list[str]] = {}
    for name, addresses in service.get("extra_hosts", {}).items():
        for address in addresses:
            if address == "host-gateway":
                service.ignored("extra_hosts", f"{name}: a pod may run on any node, there is no host to name")
            else:
                by_address.setdefault(address, []).append(name)
    return [{"ip": address, "hostnames": names} for address, names in by_address.items()]


def _resolver(service: Keys) -> Object:
    servers, searches = service.get("dns", []), service.get("dns_search", [])
    options = [dict(zip(("name", "value"), each.split(":", 1), strict=False)) for each in service.get("dns_opt", [])]
    if servers:
        service.approximate("dns", "asked besides the cluster's, which knows the services")
    return pruned({"dnsConfig": pruned({"nameservers": servers, "searches": searches, "options": options})})


# Where it runs


def placement(service: Keys) -> Object:
    """nodeSelector, affinity and spread, from deploy.placement and platform."""
    place = service.sub("deploy").sub("placement")
    selector: dict[str, str] = {}
    if platform := service.get("platform"):
        system, _, architecture = platform.partition("/")
        selector |= {"kubernetes.io/os": system} | ({ARCHITECTURE: architecture.split("/")[0]} if architecture else {})
    rules: list[Object] = []
    for constraint in place.get("constraints", []):
        key, operator, value = (*re.split(r"\s*(==|!=)\s*", constraint, maxsplit=1), "", "")[:3]
        label = _node_label(key.strip(), value)
        if label is None or operator not in ("==", "!="):
            place.ignored("constraints", f"{constraint}: nodes have no such label")
        elif operator == "==" and label[1]:
            selector[label[0]] = label[1]
        else:
            rules.append(_rule(*label, wanted=operator == "=="))
    spread = [
        {"maxSkew": 1, "topologyKey": each.get("spread", "").removeprefix("node.labels."), **SOFT}
        for each in place.items("preferences")
    ]
    if place.get("max_replicas_per_node"):
        place.ignored("max_replicas_per_node", "write a podAntiAffinity or a topologySpreadConstraint")
    terms = [{"matchExpressions": rules}] if rules else []
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}
    return pruned(
        {"nodeSelector": selector, "affinity": affinity if terms else None, "topologySpreadConstraints": spread}
    )


SOFT = {"whenUnsatisfiable": "ScheduleAnyway"}


def _node_label(key: str, value: str) -> tuple[str, str] | None:
    """The label that says of a node what Swarm's attribute says, and its value; "" for a label that is there or not."""
    if key.startswith("node.labels."):
        return key.removeprefix("node.labels."), value
    if key == "node.role":
        return "node-role.kubernetes.io/control-plane", ""
    known = {"node.hostname": HOSTNAME, "node.platform.os": "kubernetes.io/os", "node.platform.arch": ARCHITECTURE}
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(value, value)
    return (known[key], architecture if key == "node.platform.arch" else value) if key in known else None


def _rule(label: str, value: str, *, wanted: bool) -> Object:
    if value:
        return {"key": label, "operator": "NotIn", "values": [value]}
    return {"key": label, "operator": "Exists" if wanted else "DoesNotExist"}
