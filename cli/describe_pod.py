"""`describe pod`, and the pod template inside `describe deployment`. Pure: objects in, lines out (see layout.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cli.ages import age, rfc1123
from cli.layout import annotation_lines, controlled_by, events, indent, labels, tolerations

Object = Mapping[str, Any]


def pod_lines(pod: Object, happened: Sequence[Object]) -> list[str]:
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
        *_containers(spec, status, margin=""),
        *_conditions(status),
        *_volumes(spec.get("volumes"), margin=""),
        f"QoS Class:\t{status.get('qosClass', 'BestEffort')}",
        *labels("Node-Selectors", spec.get("nodeSelector")),
        *tolerations("Tolerations", spec.get("tolerations")),
        *events(happened),
    ]


def template_lines(template: Object) -> list[str]:
    """A pod template, as Deployments and ReplicaSets have one."""
    meta, spec = template.get("metadata") or {}, template.get("spec") or {}
    return [
        "Pod Template:",
        *labels("  Labels", meta.get("labels")),
        *(annotation_lines("  Annotations", meta["annotations"]) if meta.get("annotations") else []),
        *_if(spec, "serviceAccountName", "  Service Account"),
        *_containers(spec, {}, margin="  "),
        *_volumes(spec.get("volumes"), margin="  "),
        *_if(spec, "priorityClassName", "  Priority Class Name"),
        *labels("  Node-Selectors", spec.get("nodeSelector")),
        *tolerations("  Tolerations", spec.get("tolerations")),
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


def _containers(spec: Object, status: Object, *, margin: str) -> list[str]:
    lines: list[str] = []
    for title, field, statuses in (
        ("Init Containers", "initContainers", "initContainerStatuses"),
        ("Containers", "containers", "containerStatuses"),
        ("Ephemeral Containers", "ephemeralContainers", "ephemeralContainerStatuses"),
    ):
        known = {each["name"]: each for each in status.get(statuses) or []}
        found = spec.get(field) or []
        if found:
            lines.append(f"{margin}{title}:")
            for each in found:
                lines += _container(each, known.get(each["name"]), margin=margin)
    return lines


def _container(container: Object, status: Object | None, *, margin: str) -> list[str]:
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
    return [f"  {' ' if margin else ''}{container['name']}:", *indent(2, lines)]


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


def _volumes(volumes: Sequence[Object] | None, *, margin: str) -> list[str]:
    if not volumes:
        return [f"{margin}Volumes:\t<none>"]
    lines = [f"{margin}Volumes:"]
    for each in volumes:
        lines.append(f"  {' ' if margin else ''}{each['name']}:")
        lines += indent(2, _volume(each))
    return lines


def _volume(volume: Object) -> list[str]:
    if (source := volume.get("emptyDir")) is not None:
        medium, limit = source.get("medium", ""), source.get("sizeLimit", "<unset>")
        kind = "EmptyDir (a temporary directory that shares a pod's lifetime)"
        return [f"Type:\t{kind}", f"Medium:\t{medium}", f"SizeLimit:\t{limit}"]
    if source := volume.get("hostPath"):
        kind = "HostPath (bare host directory volume)"
        return [f"Type:\t{kind}", f"Path:\t{source['path']}", f"HostPathType:\t{source.get('type', '')}"]
    if source := volume.get("configMap"):
        optional = str(bool(source.get("optional"))).lower()
        return [
            "Type:\tConfigMap (a volume populated by a ConfigMap)",
            f"Name:\t{source['name']}",
            f"Optional:\t{optional}",
        ]
    if source := volume.get("secret"):
        optional = str(bool(source.get("optional"))).lower()
        kind = "Secret (a volume populated by a Secret)"
        return [f"Type:\t{kind}", f"SecretName:\t{source['secretName']}", f"Optional:\t{optional}"]
    if source := volume.get("projected"):
        parts = [line for each in source.get("sources") or [] for line in _projected(each)]
        return ["Type:\tProjected (a volume that contains injected data from multiple sources)", *parts]
    if source := volume.get("downwardAPI"):
        items = [
            f"  {(each.get('fieldRef') or {}).get('fieldPath', '')} -> {each['path']}"
            for each in source.get("items") or []
        ]
        return ["Type:\tDownwardAPI (a volume populated by information about the pod)", "Items:", *items]
    kind = next((name for name in volume if name != "name"), "")
    return [f"Type:\t{kind}"]


def _projected(source: Object) -> list[str]:
    if ref := source.get("serviceAccountToken"):
        return [f"TokenExpirationSeconds:\t{ref.get('expirationSeconds', 3600)}"]
    if ref := source.get("configMap"):
        return [f"ConfigMapName:\t{ref['name']}", f"ConfigMapOptional:\t{ref.get('optional', '<nil>')}"]
    if ref := source.get("secret"):
        return [f"SecretName:\t{ref['name']}", f"SecretOptionalName:\t{ref.get('optional', '<nil>')}"]
    return ["DownwardAPI:\ttrue"] if source.get("downwardAPI") else []
