"""`describe pod`. Pure: objects in, lines out (see layout.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from api.durations import since
from cli.layout import annotation_lines, controlled_by, indent, labels, lower, maybe, rfc1123, tolerations

Object = Mapping[str, Any]


def pod_lines(pod: Object) -> list[str]:
    """All about one pod."""
    meta, spec, status = pod["metadata"], pod["spec"], pod.get("status") or {}
    conditions = [f"  {each['type']} \t{each['status']} " for each in status.get("conditions") or []]
    addresses = [f"  IP:\t{each['ip']}" for each in status.get("podIPs") or []]
    return [
        f"Name:\t{meta['name']}",
        f"Namespace:\t{meta['namespace']}",
        *maybe(spec, "priority", "Priority"),
        *maybe(spec, "priorityClassName", "Priority Class Name"),
        *maybe(spec, "runtimeClassName", "Runtime Class Name"),
        *maybe(spec, "serviceAccountName", "Service Account"),
        f"Node:\t{spec['nodeName'] + '/' + status.get('hostIP', '') if spec.get('nodeName') else '<none>'}",
        *([f"Start Time:\t{rfc1123(status['startTime'])}"] if status.get("startTime") else []),
        *labels("Labels", meta.get("labels")),
        *annotation_lines("Annotations", meta.get("annotations")),
        *_phase(meta, status),
        *maybe(status, "reason", "Reason"),
        *maybe(status, "message", "Message"),
        *_why_pending(meta, status),
        f"IP:\t{status.get('podIP', '')}",
        *(["IPs:", *addresses] if addresses else ["IPs:\t<none>"]),
        *controlled_by(pod),
        *maybe(status, "nominatedNodeName", "NominatedNodeName"),
        *_containers("Init Containers", spec.get("initContainers"), status.get("initContainerStatuses")),
        *_containers("Containers", spec.get("containers"), status.get("containerStatuses")),
        *(["Conditions:", "  Type\tStatus", *conditions] if conditions else []),
        *_volumes(spec.get("volumes")),
        f"QoS Class:\t{status.get('qosClass', 'BestEffort')}",
        *labels("Node-Selectors", spec.get("nodeSelector")),
        *tolerations("Tolerations", spec.get("tolerations")),
    ]


def _phase(meta: Object, status: Object) -> list[str]:
    if meta.get("deletionTimestamp") and status.get("phase") not in ("Succeeded", "Failed"):
        return [
            f"Status:\tTerminating (lasts {since(meta['deletionTimestamp'])})",
            f"Termination Grace Period:\t{meta.get('deletionGracePeriodSeconds', 0)}s",
        ]
    return [f"Status:\t{status.get('phase', 'Pending')}"]


def _why_pending(meta: Object, status: Object) -> list[str]:
    """What a pending pod waits for, also when the event that said so is long gone."""
    if status.get("phase", "Pending") != "Pending" or meta.get("deletionTimestamp"):
        return []
    for condition in status.get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return [f"Waiting For:\t{condition.get('message') or condition.get('reason')}"]
    for each in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        if message := ((each.get("state") or {}).get("waiting") or {}).get("message"):
            return [f"Waiting For:\tcontainer {each['name']}: {message}"]
    return []


# Containers


def _containers(title: str, containers: Sequence[Object] | None, statuses: Sequence[Object] | None) -> list[str]:
    known = {each["name"]: each for each in statuses or []}
    lines = [line for each in containers or [] for line in _container(each, known.get(each["name"]) or {})]
    return [f"{title}:", *lines] if lines else []


def _container(container: Object, status: Object) -> list[str]:
    ports = container.get("ports") or []
    many = "s" if len(ports) > 1 else ""
    resources, last = container.get("resources") or {}, status.get("lastState") or {}
    lines = [
        *([f"Container ID:\t{status.get('containerID', '')}"] if status else []),
        f"Image:\t{container.get('image', '')}",
        *([f"Image ID:\t{status.get('imageID', '')}"] if status else []),
        f"Port{many}:\t{_ports(ports, 'containerPort')}",
        f"Host Port{many}:\t{_ports(ports, 'hostPort')}",
        *_words("Command", container.get("command")),
        *_words("Args", container.get("args")),
        *(_state("State", status.get("state") or {}) if status else []),
        *(_state("Last State", last) if last.get("terminated") else []),
        *([f"Ready:\t{bool(status.get('ready'))}"] if status else []),
        *([f"Restart Count:\t{status.get('restartCount', 0)}"] if status else []),
        *_amounts("Limits", resources.get("limits")),
        *_amounts("Requests", resources.get("requests")),
        *(
            f"{title}:\t{probe_text(container[f'{title.lower()}Probe'])}"
            for title in ("Liveness", "Readiness", "Startup")
            if container.get(f"{title.lower()}Probe")
        ),
        *_environment_from(container.get("envFrom")),
        *_environment(container.get("env")),
        *_mounts(container.get("volumeMounts")),
    ]
    return [f"  {container['name']}:", *indent(2, lines)]


def _ports(ports: Sequence[Object], field: str) -> str:
    return ", ".join(f"{each.get(field, 0)}/{each.get('protocol', 'TCP')}" for each in ports) or "<none>"


def _words(title: str, words: Sequence[str] | None) -> list[str]:
    return [f"{title}:", *(f"  {line}" for word in words for line in str(word).split("\n"))] if words else []


def _amounts(title: str, amounts: Mapping[str, str] | None) -> list[str]:
    return [f"{title}:", *(f"  {name}:\t{amount}" for name, amount in sorted(amounts.items()))] if amounts else []


def _state(title: str, state: Object) -> list[str]:
    if running := state.get("running"):
        return [f"{title}:\tRunning", f"  Started:\t{rfc1123(running.get('startedAt'))}"]
    if ended := state.get("terminated"):
        return [
            f"{title}:\tTerminated",
            *maybe(ended, "reason", "  Reason"),
            *maybe(ended, "message", "  Message"),
            f"  Exit Code:\t{ended.get('exitCode', 0)}",
            *([f"  Signal:\t{ended['signal']}"] if ended.get("signal") else []),
            f"  Started:\t{rfc1123(ended.get('startedAt'))}",
            f"  Finished:\t{rfc1123(ended.get('finishedAt'))}",
        ]
    return [f"{title}:\tWaiting", *maybe(state.get("waiting") or {}, "reason", "  Reason")]


def probe_text(probe: Object) -> str:
    """`http-get http://:8080/ delay=0s timeout=1s period=10s #success=1 #failure=3`."""
    numbers = (
        f"delay={probe.get('initialDelaySeconds', 0)}s timeout={probe.get('timeoutSeconds', 1)}s "
        f"period={probe.get('periodSeconds', 10)}s #success={probe.get('successThreshold', 1)} "
        f"#failure={probe.get('failureThreshold', 3)}"
    )
    if action := probe.get("exec"):
        return f"exec [{' '.join(action.get('command') or [])}] {numbers}"
    if action := probe.get("httpGet"):
        path = "/" + str(action.get("path") or "").lstrip("/") if action.get("path") else ""
        scheme = action.get("scheme", "HTTP").lower()
        return f"http-get {scheme}://{action.get('host', '')}:{action['port']}{path} {numbers}"
    if action := probe.get("tcpSocket"):
        return f"tcp-socket {action.get('host', '')}:{action['port']} {numbers}"
    action = probe.get("grpc") or {}
    return f"grpc <pod>:{action.get('port')} {action.get('service') or ''} {numbers}"


def _environment_from(sources: Sequence[Object] | None) -> list[str]:
    lines: list[str] = []
    for each in sources or []:
        title, ref = ("ConfigMap", each["configMapRef"]) if "configMapRef" in each else ("Secret", each["secretRef"])
        prefix = f" with prefix '{each['prefix']}'" if each.get("prefix") else ""
        lines.append(f"  {ref.get('name', '')}\t{title}{prefix}\tOptional: {lower(ref.get('optional'))}")
    return ["Environment Variables from:", *lines] if lines else []


def _environment(variables: Sequence[Object] | None) -> list[str]:
    lines: list[str] = []
    for each in variables or []:
        value = _value_from(each["valueFrom"]) if each.get("valueFrom") else str(each.get("value", ""))
        first, *rest = value.split("\n")
        lines += [f"  {each['name']}:\t{first}", *(f"  \t{line}" for line in rest)]
    return ["Environment:", *lines] if lines else ["Environment:\t<none>"]


def _value_from(source: Object) -> str:
    if ref := source.get("fieldRef"):
        return f" ({ref.get('apiVersion', 'v1')}:{ref['fieldPath']})"
    if ref := source.get("resourceFieldRef"):
        return f" ({ref['resource']})"
    of = "in secret" if "secretKeyRef" in source else "of config map"
    ref = source.get("secretKeyRef") or source.get("configMapKeyRef") or {}
    return f"<set to the key '{ref.get('key')}' {of} '{ref.get('name', '')}'>\tOptional: {lower(ref.get('optional'))}"


def _mounts(mounts: Sequence[Object] | None) -> list[str]:
    lines: list[str] = []
    for each in sorted(mounts or [], key=lambda mount: str(mount["mountPath"])):
        path = f',path="{each["subPath"]}"' if each.get("subPath") else ""
        lines.append(f"  {each['mountPath']} from {each['name']} ({'ro' if each.get('readOnly') else 'rw'}{path})")
    return ["Mounts:", *lines] if lines else ["Mounts:\t<none>"]


# Volumes

VOLUMES: dict[str, tuple[str, dict[str, tuple[str, str]]]] = {
    "emptyDir": (
        "EmptyDir (a temporary directory that shares a pod's lifetime)",
        {"Medium": ("medium", ""), "SizeLimit": ("sizeLimit", "<unset>")},
    ),
    "hostPath": ("HostPath (bare host directory volume)", {"Path": ("path", ""), "HostPathType": ("type", "")}),
    "configMap": (
        "ConfigMap (a volume populated by a ConfigMap)",
        {"Name": ("name", ""), "Optional": ("optional", "false")},
    ),
    "secret": (
        "Secret (a volume populated by a Secret)",
        {"SecretName": ("secretName", ""), "Optional": ("optional", "false")},
    ),
    "persistentVolumeClaim": (
        "PersistentVolumeClaim (a reference to a PersistentVolumeClaim in the same namespace)",
        {"ClaimName": ("claimName", ""), "ReadOnly": ("readOnly", "false")},
    ),
    "projected": ("Projected (a volume that contains injected data from multiple sources)", {}),
    "downwardAPI": ("DownwardAPI (a volume populated by information about the pod)", {}),
}
"""What a volume's type is called, and what is shown of it: title -> field, and what stands for a missing one."""

PROJECTED = {
    "serviceAccountToken": {"TokenExpirationSeconds": ("expirationSeconds", "3600")},
    "configMap": {"ConfigMapName": ("name", ""), "ConfigMapOptional": ("optional", "<nil>")},
    "secret": {"SecretName": ("name", ""), "SecretOptionalName": ("optional", "<nil>")},
    "downwardAPI": {"DownwardAPI": ("", "true")},
}
"""The same for the parts of a projected volume."""


def _volumes(volumes: Sequence[Object] | None) -> list[str]:
    lines = [line for each in volumes or [] for line in (f"  {each['name']}:", *indent(2, _volume(each)))]
    return ["Volumes:", *lines] if lines else ["Volumes:\t<none>"]


def _volume(volume: Object) -> list[str]:
    kind = next((name for name in volume if name != "name"), "")
    source = volume.get(kind) or {}
    title, shown = VOLUMES.get(kind, (kind, {}))
    lines = [f"Type:\t{title}", *_fields(source, shown)]
    if kind == "downwardAPI":
        items = [(each.get("fieldRef") or {}, each["path"]) for each in source.get("items") or []]
        lines += ["Items:", *(f"  {ref.get('fieldPath', '')} -> {path}" for ref, path in items)]
    for part in source.get("sources") or []:
        lines += [line for name, inner in part.items() if inner for line in _fields(inner, PROJECTED.get(name, {}))]
    return lines


def _fields(source: Object, shown: Mapping[str, tuple[str, str]]) -> list[str]:
    return [f"{title}:\t{lower(source.get(field, missing))}" for title, (field, missing) in shown.items()]
