"""`describe` for Deployments, ReplicaSets, Services, small kinds and any kind at all. Pure: objects in, lines out."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from typing import Any

from cli.describe_pod import template_lines
from cli.layout import annotation_lines, controlled_by, events, head, labels

Object = Mapping[str, Any]


def selector_text(selector: Object | None) -> str:
    """`app=web,tier in (a,b)`."""
    parts = [f"{key}={value}" for key, value in sorted(((selector or {}).get("matchLabels") or {}).items())]
    for each in (selector or {}).get("matchExpressions") or []:
        operator, key = each["operator"], each["key"]
        if operator in ("In", "NotIn"):
            parts.append(f"{key} {operator.lower()} ({','.join(each.get('values') or [])})")
        else:
            parts.append(key if operator == "Exists" else f"!{key}")
    return ",".join(parts) or "<none>"


def deployment_lines(
    deployment: Object, *, new: Sequence[Object], old: Sequence[Object], happened: Sequence[Object]
) -> list[str]:
    """`new` and `old` are its ReplicaSets: the one of the current template, and earlier ones that still have pods."""
    spec, status = deployment["spec"], deployment.get("status") or {}
    strategy = spec.get("strategy") or {}
    counts = [
        f"{spec.get('replicas', 1)} desired",
        f"{status.get('updatedReplicas', 0)} updated",
        f"{status.get('replicas', 0)} total",
        f"{status.get('availableReplicas', 0)} available",
        f"{status.get('unavailableReplicas', 0)} unavailable",
    ]
    lines = [
        *head(deployment, created=True),
        f"Selector:\t{selector_text(spec.get('selector'))}",
        f"Replicas:\t{' | '.join(counts)}",
        f"StrategyType:\t{strategy.get('type', '')}",
        f"MinReadySeconds:\t{spec.get('minReadySeconds', 0)}",
    ]
    if rolling := strategy.get("rollingUpdate"):
        most, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
        lines.append(f"RollingUpdateStrategy:\t{most} max unavailable, {surge} max surge")
    return [
        *lines,
        *template_lines(spec["template"]),
        *_conditions(status),
        *([f"OldReplicaSets:\t{_sets(old)}", f"NewReplicaSet:\t{_sets(new)}"] if [*old, *new] else []),
        *events(happened),
    ]


def _sets(sets: Sequence[Object]) -> str:
    texts = [
        f"{each['metadata']['name']} ({(each.get('status') or {}).get('replicas', 0)}/{each['spec'].get('replicas', 0)}"
        " replicas created)"
        for each in sets
    ]
    return ", ".join(texts) or "<none>"


def replicaset_lines(replicaset: Object, *, pods: Sequence[Object], happened: Sequence[Object]) -> list[str]:
    meta, spec, status = replicaset["metadata"], replicaset["spec"], replicaset.get("status") or {}
    phases = [(each.get("status") or {}).get("phase", "Pending") for each in pods]
    counts = {phase: phases.count(phase) for phase in ("Running", "Pending", "Succeeded", "Failed")}
    return [
        f"Name:\t{meta['name']}",
        f"Namespace:\t{meta['namespace']}",
        f"Selector:\t{selector_text(spec.get('selector'))}",
        *labels("Labels", meta.get("labels")),
        *annotation_lines("Annotations", meta.get("annotations")),
        *controlled_by(replicaset),
        f"Replicas:\t{status.get('replicas', 0)} current / {spec.get('replicas', 1)} desired",
        f"Pods Status:\t{counts['Running']} Running / {counts['Pending']} Waiting / "
        f"{counts['Succeeded']} Succeeded / {counts['Failed']} Failed",
        *template_lines(spec["template"]),
        *_conditions(status),
        *events(happened),
    ]


def _conditions(status: Object) -> list[str]:
    found = status.get("conditions") or []
    rows = [f"  {each['type']} \t{each['status']}\t{each.get('reason', '')}" for each in found]
    return ["Conditions:", "  Type\tStatus\tReason", "  ----\t------\t------", *rows] if found else []


# Services


def service_lines(service: Object, *, slices: Sequence[Object], happened: Sequence[Object]) -> list[str]:
    spec = service["spec"]
    selector = ",".join(f"{key}={value}" for key, value in sorted((spec.get("selector") or {}).items()))
    lines = [
        *head(service),
        f"Selector:\t{selector or '<none>'}",
        f"Type:\t{spec.get('type', 'ClusterIP')}",
        f"IP Family Policy:\t{spec.get('ipFamilyPolicy', '<unset>')}",
        f"IP Families:\t{','.join(spec.get('ipFamilies') or []) or '<none>'}",
        f"IP:\t{spec.get('clusterIP', '')}",
        f"IPs:\t{','.join(spec.get('clusterIPs') or []) or '<none>'}",
    ]
    lines += [f"External IPs:\t{','.join(spec['externalIPs'])}"] if spec.get("externalIPs") else []
    lines += [f"External Name:\t{spec['externalName']}"] if spec.get("externalName") else []
    for port in spec.get("ports") or []:
        lines += _service_port(port, slices)
    lines += [f"Session Affinity:\t{spec.get('sessionAffinity', 'None')}"]
    for field, title in (
        ("externalTrafficPolicy", "External Traffic Policy"),
        ("internalTrafficPolicy", "Internal Traffic Policy"),
    ):
        lines += [f"{title}:\t{spec[field]}"] if spec.get(field) else []
    return [*lines, *events(happened)]


def _service_port(port: Object, slices: Sequence[Object]) -> list[str]:
    name, protocol = port.get("name") or "<unset>", port.get("protocol", "TCP")
    target = port.get("targetPort", port["port"])
    lines = [f"Port:\t{name}\t{port['port']}/{protocol}", f"TargetPort:\t{target}/{protocol}"]
    lines += [f"NodePort:\t{name}\t{port['nodePort']}/{protocol}"] if port.get("nodePort") else []
    return [*lines, f"Endpoints:\t{endpoints_text(slices, port.get('name') or '')}"]


def endpoints_text(slices: Sequence[Object], port_name: str, *, most: int = 3) -> str:
    """The addresses a Service's port leads to: ready ones, the first few."""
    if not slices:
        return "<none>"
    found = []
    for piece in slices:
        ports = [each["port"] for each in piece.get("ports") or [] if (each.get("name") or "") == port_name]
        for endpoint in piece.get("endpoints") or []:
            if (endpoint.get("conditions") or {}).get("ready") is not False:
                found += [f"{address}:{port}" for address in endpoint["addresses"] for port in ports]
    found = list(dict.fromkeys(found))
    more = f" + {len(found) - most} more..." if len(found) > most else ""
    return ",".join(found[:most]) + more


# Small kinds


def config_map_lines(config: Object, *, happened: Sequence[Object]) -> list[str]:
    lines = [*head(config), "", "Data", "===="]
    for key, value in sorted((config.get("data") or {}).items()):
        lines += [f"{key}:", "----", *value.split("\n"), ""]
    lines += ["", "BinaryData", "===="]
    for key, value in sorted((config.get("binaryData") or {}).items()):
        lines.append(f"{key}: {len(base64.b64decode(value))} bytes")
    return [*lines, "", *events(happened)]


def secret_lines(secret: Object) -> list[str]:
    """Sizes only: a secret is not shown to whoever looks over a shoulder."""
    lines = [*head(secret), "", f"Type:\t{secret.get('type', '')}", "", "Data", "===="]
    sizes = {key: len(base64.b64decode(value)) for key, value in (secret.get("data") or {}).items()}
    return [*lines, *(f"{key}:\t{size} bytes" for key, size in sorted(sizes.items()))]


def namespace_lines(namespace: Object) -> list[str]:
    status = (namespace.get("status") or {}).get("phase", "")
    return [*head(namespace), f"Status:\t{status}"]


# Any kind

ACRONYMS = ("api", "url", "uid", "id", "ip", "tcp", "udp", "http", "dns", "cidr")


def generic_lines(obj: Object, *, happened: Sequence[Object]) -> list[str]:
    """Every field with a readable title; for kinds this CLI has no view of its own of."""
    meta = obj["metadata"]
    lines = [f"Name:\t{meta['name']}", f"Namespace:\t{meta.get('namespace', '')}"]
    lines += [*labels("Labels", meta.get("labels")), *annotation_lines("Annotations", meta.get("annotations"))]
    shown = ("name", "namespace", "labels", "annotations", "managedFields")
    rest = {**obj, "metadata": {key: value for key, value in meta.items() if key not in shown}}
    return [*lines, *_fields(rest, 0), *events(happened)]


def _fields(section: Object, level: int) -> list[str]:
    lines: list[str] = []
    margin = "  " * level
    for key in sorted(section):
        value, title = section[key], title_of(key)
        if isinstance(value, dict):
            lines += [f"{margin}{title}:", *_fields(value, level + 1)]
        elif isinstance(value, list):
            lines.append(f"{margin}{title}:")
            for each in value:
                lines += _fields(each, level + 1) if isinstance(each, dict) else [f"{margin}  {each}"]
        else:
            shown = str(value).lower() if isinstance(value, bool) else value
            lines.append(f"{margin}{title}:\t{'<nil>' if shown is None else shown}")
    return lines


def title_of(field: str) -> str:
    """A field's name in words: `podCIDRs` is `Pod CIDRs`, `apiVersion` is `API Version`."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9]*", field):
        return field
    words = re.findall(r"[A-Z]{2,}s?(?![a-z])|[A-Z]?[a-z0-9]+|[A-Z]+", field)
    return " ".join(word.upper() if word.lower() in ACRONYMS else word[0].upper() + word[1:] for word in words)
