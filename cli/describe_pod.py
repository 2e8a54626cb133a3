"""`describe pod`, and the pod template inside `describe deployment`. Pure: objects in, lines out (see layout.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cli.ages import age, rfc1123
from cli.layout import annotation_lines, controlled_by, indent, labels, tolerations

Object = Mapping[str, Any]


def pod_lines(pod: Object) -> list[str]:
    """All about one pod."""
    meta, spec, status = pod["metadata"], pod["spec"], pod.get("status") or {}
    return [
        f"Name:\t{meta['name']}",
        f"Namespace:\t{meta['namespace']}",
        *_if(spec, "priority", "Priority"),
        *_if(spec, "priorityClassName", "Priority Class Name"),
        *_if(spec, "runtimeClassName", "Runtime Class Name"),
        *_if(spec, "serviceAccountName", "Service Account"),
        f"Node:\t{spec['nodeName'] + '/' + status.get('hostIP', '') if spec.get('nodeName') else '<none>'}",
        *([f"Start Time:\t{rfc1123(status['startTime'])}"] if status.get("startTime") else []),
        *labels("Labels", meta.get("labels")),
        *annotation_lines("Annotations", meta.get("annotations")),
        *_phase(meta, status),
        *_if(status, "reason", "Reason"),
        *_if(status, "message", "Message"),
        *_why_pending(pod),
        f"IP:\t{status.get('podIP', '')}",
        *_addresses(status),
        *controlled_by(pod),
        *_if(status, "nominatedNodeName", "NominatedNodeName"),
        *_containers(spec, status),
        *_conditions(status),
        *_volumes(spec.get("volumes")),
        f"QoS Class:\t{status.get('qosClass', 'BestEffort')}",
        *labels("Node-Selectors", spec.get("nodeSelector")),
        *tolerations("Tolerations", spec.get("tolerations")),
    ]


def _if(section: Object, field: str, title: str) -> list[str]:
    value = section.get(field)
    return [f"{title}:\t{value}"] if value is not None and value != "" else []


def _phase(meta: Object, status: Object) -> list[str]:
    if meta.get("deletionTimestamp") and status.get("phase") not in ("Succeeded", "Failed"):
        return [
            f"Status:\tTerminating (lasts {age(meta['deletionTimestamp'])})",
            f"Termination Grace Period:\t{meta.get('deletionGracePeriodSeconds', 0)}s",
        ]
    return [f"Status:\t{status.get('phase', 'Pending')}"]


def _why_pending(pod: Object) -> list[str]:
    """What a pending pod waits for, also when the event that said so is long gone."""
    status = pod.get("status") or {}
    if status.get("phase", "Pending") != "Pending" or pod["metadata"].get("deletionTimestamp"):
        return []
    for condition in status.get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return [f"Waiting For:\t{condition.get('message') or condition.get('reason')}"]
    states = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    waiting = [(each["name"], (each.get("state") or {}).get("waiting") or {}) for each in states]
    return [f"Waiting For:\tcontainer {name}: {state['message']}" for name, state in waiting if state.get("message")][
        :1
    ]


def _addresses(status: Object) -> list[str]:
    found = status.get("podIPs") or []
    return ["IPs:", *(f"  IP:\t{each['ip']}" for each in found)] if found else ["IPs:\t<none>"]


def _conditions(status: Object) -> list[str]:
    found = status.get("conditions") or []
    rows = [f"  {each['type']} \t{each['status']} " for each in found]
    return ["Conditions:", "  Type\tStatus", *rows] if found else []


# Containers


def _containers(spec: Object, status: Object) -> list[str]:
    lines: list[str] = []
    for title, field, statuses in (
        ("Init Containers", "initContainers", "initContainerStatuses"),
        ("Containers", "containers", "containerStatuses"),
        ("Ephemeral Containers", "ephemeralContainers", "ephemeralContainerStatuses"),
    ):
        known = {each["name"]: each for each in status.get(statuses) or []}
        found = spec.get(field) or []
        if found:
            lines.append(f"{title}:")
            for each in found:
                lines += _container(each, known.get(each["name"]))
    return lines


def _container(container: Object, status: Object | None) -> list[str]:
    lines = [f"Container ID:\t{status.get('containerID', '')}"] if status else []
    lines.append(f"Image:\t{container.get('image', '')}")
    lines += [f"Image ID:\t{status.get('imageID', '')}"] if status else []
    lines += _ports(container.get("ports") or [])
    lines += _words("Command", container.get("command")) + _words("Args", container.get("args"))
    lines += _container_status(status) if status else []
    lines += _resources(container.get("resources") or {})
    for title in ("Liveness", "Readiness", "Startup"):
        if probe := container.get(f"{title.lower()}Probe"):
            lines.append(f"{title}:\t{probe_text(probe)}")
    lines += _environment_from(container.get("envFrom")) + _environment(container.get("env"))
    lines += _mounts(container.get("volumeMounts"))
    return [f"  {container['name']}:", *indent(2, lines)]


def _ports(ports: Sequence[Object]) -> list[str]:
    inside = ", ".join(f"{each['containerPort']}/{each.get('protocol', 'TCP')}" for each in ports)
    outside = ", ".join(f"{each.get('hostPort', 0)}/{each.get('protocol', 'TCP')}" for each in ports)
    plural = "s" if len(ports) > 1 else ""
    return [f"Port{plural}:\t{inside or '<none>'}", f"Host Port{plural}:\t{outside or '<none>'}"]


def _words(title: str, words: Sequence[str] | None) -> list[str]:
    if not words:
        return []
    return [f"{title}:", *(f"  {line}" for word in words for line in str(word).split("\n"))]


def _container_status(status: Object) -> list[str]:
    last = status.get("lastState") or {}
    return [
        *_state("State", status.get("state") or {}),
        *(_state("Last State", last) if last.get("terminated") else []),
        f"Ready:\t{bool(status.get('ready'))}",
        f"Restart Count:\t{status.get('restartCount', 0)}",
    ]


def _state(title: str, state: Object) -> list[str]:
    if running := state.get("running"):
        return [f"{title}:\tRunning", f"  Started:\t{rfc1123(running.get('startedAt'))}"]
    if ended := state.get("terminated"):
        return [
            f"{title}:\tTerminated",
            *_if(ended, "reason", "  Reason"),
            *_if(ended, "message", "  Message"),
            f"  Exit Code:\t{ended.get('exitCode', 0)}",
            *([f"  Signal:\t{ended['signal']}"] if ended.get("signal") else []),
            f"  Started:\t{rfc1123(ended.get('startedAt'))}",
            f"  Finished:\t{rfc1123(ended.get('finishedAt'))}",
        ]
    waiting = state.get("waiting") or {}
    return [f"{title}:\tWaiting", *_if(waiting, "reason", "  Reason")]


def _resources(resources: Object) -> list[str]:
    lines: list[str] = []
    for title in ("limits", "requests"):
        amounts = resources.get(title) or {}
        lines += [f"{title.title()}:"] if amounts else []
        lines += [f"  {name}:\t{amount}" for name, amount in sorted(amounts.items())]
    return lines


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
        path = str(action.get("path") or "")
        url = f"{action.get('scheme', 'HTTP').lower()}://{action.get('host', '')}:{action['port']}"
        return f"http-get {url}{path if path.startswith('/') or not path else '/' + path} {numbers}"
    if action := probe.get("tcpSocket"):
        return f"tcp-socket {action.get('host', '')}:{action['port']} {numbers}"
    if action := probe.get("grpc"):
        return f"grpc <pod>:{action['port']} {action.get('service') or ''} {numbers}"
    return f"unknown {numbers}"


def _environment_from(sources: Sequence[Object] | None) -> list[str]:
    lines: list[str] = []
    for each in sources or []:
        kind, title = ("configMapRef", "ConfigMap") if each.get("configMapRef") else ("secretRef", "Secret")
        ref = each.get(kind) or {}
        prefix = f" with prefix '{each['prefix']}'" if each.get("prefix") else ""
        optional = str(bool(ref.get("optional"))).lower()
        lines.append(f"  {ref.get('name', '')}\t{title}{prefix}\tOptional: {optional}")
    return ["Environment Variables from:", *lines] if lines else []


def _environment(variables: Sequence[Object] | None) -> list[str]:
    if not variables:
        return ["Environment:\t<none>"]
    lines = ["Environment:"]
    for each in variables:
        source = each.get("valueFrom")
        if source:
            lines.append(f"  {each['name']}:\t{_value_from(source)}")
        else:
            first, *rest = str(each.get("value", "")).split("\n")
            lines += [f"  {each['name']}:\t{first}", *(f"  \t{line}" for line in rest)]
    return lines


def _value_from(source: Object) -> str:
    if ref := source.get("fieldRef"):
        return f" ({ref.get('apiVersion', 'v1')}:{ref['fieldPath']})"
    if ref := source.get("resourceFieldRef"):
        return f" ({ref['resource']})"
    if ref := source.get("secretKeyRef"):
        text = f"<set to the key '{ref['key']}' in secret '{ref.get('name', '')}'>"
    elif ref := source.get("configMapKeyRef"):
        text = f"<set to the key '{ref['key']}' of config map '{ref.get('name', '')}'>"
    else:
        return ""
    return f"{text}\tOptional: {str(bool(ref.get('optional'))).lower()}"


def _mounts(mounts: Sequence[Object] | None) -> list[str]:
    if not mounts:
        return ["Mounts:\t<none>"]
    lines = ["Mounts:"]
    for each in sorted(mounts, key=lambda mount: str(mount["mountPath"])):
        flags = ["ro" if each.get("readOnly") else "rw"]
        flags += [f'path="{each["subPath"]}"'] if each.get("subPath") else []
        lines.append(f"  {each['mountPath']} from {each['name']} ({','.join(flags)})")
    return lines


# Volumes


def _volumes(volumes: Sequence[Object] | None) -> list[str]:
    if not volumes:
        return ["Volumes:\t<none>"]
    lines = ["Volumes:"]
    for each in volumes:
        lines.append(f"  {each['name']}:")
        lines += indent(2, _volume(each))
    return lines


VOLUMES: dict[str, tuple[str, dict[str, str]]] = {
    "emptyDir": (
        "EmptyDir (a temporary directory that shares a pod's lifetime)",
        {"Medium": "medium", "SizeLimit": "sizeLimit"},
    ),
    "hostPath": ("HostPath (bare host directory volume)", {"Path": "path", "HostPathType": "type"}),
    "configMap": ("ConfigMap (a volume populated by a ConfigMap)", {"Name": "name", "Optional": "optional"}),
    "secret": ("Secret (a volume populated by a Secret)", {"SecretName": "secretName", "Optional": "optional"}),
    "persistentVolumeClaim": (
        "PersistentVolumeClaim (a reference to a PersistentVolumeClaim in the same namespace)",
        {"ClaimName": "claimName", "ReadOnly": "readOnly"},
    ),
    "projected": ("Projected (a volume that contains injected data from multiple sources)", {}),
    "downwardAPI": ("DownwardAPI (a volume populated by information about the pod)", {}),
}
"""What a volume's type is called, and the fields of it that are shown."""

UNSET = {"sizeLimit": "<unset>", "optional": "false", "readOnly": "false"}


def _volume(volume: Object) -> list[str]:
    kind = next((name for name in volume if name != "name"), "")
    source = volume.get(kind) or {}
    title, fields = VOLUMES.get(kind, (kind, {}))
    lines = [f"Type:\t{title}", *(f"{name}:\t{_plain(source, field)}" for name, field in fields.items())]
    if kind == "downwardAPI":
        items = [(each.get("fieldRef") or {}, each["path"]) for each in source.get("items") or []]
        lines += ["Items:", *(f"  {ref.get('fieldPath', '')} -> {path}" for ref, path in items)]
    return [*lines, *(line for each in source.get("sources") or [] for line in _projected(each))]


def _plain(source: Object, field: str) -> str:
    value = source.get(field, UNSET.get(field, ""))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _projected(source: Object) -> list[str]:
    if ref := source.get("serviceAccountToken"):
        return [f"TokenExpirationSeconds:\t{ref.get('expirationSeconds', 3600)}"]
    if ref := source.get("configMap"):
        return [f"ConfigMapName:\t{ref['name']}", f"ConfigMapOptional:\t{ref.get('optional', '<nil>')}"]
    if ref := source.get("secret"):
        return [f"SecretName:\t{ref['name']}", f"SecretOptionalName:\t{ref.get('optional', '<nil>')}"]
    return ["DownwardAPI:\ttrue"] if source.get("downwardAPI") else []
