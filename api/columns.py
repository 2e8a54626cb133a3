"""What `get` prints for each kind: the columns of a Table. Pure.

Interface: `columns_of(kind)`; a `Column` computes its cell from the object as plain data.
Kubernetes: k8s.io/kubernetes/pkg/printers/internalversion/printers.go.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from api.kinds import Kind

Object = dict[str, Any]
Cell = Callable[[Object], Any]


@dataclass(frozen=True)
class Column:
    """One column; `priority` 1 shows it only with `-o wide`."""

    name: str
    cell: Cell
    type: str = "string"
    priority: int = 0
    format: str = ""
    description: str = ""


def name_of(obj: Object) -> str:
    return str(obj["metadata"].get("name", ""))


def age(obj: Object) -> str:
    return since(obj["metadata"].get("creationTimestamp"))


def since(timestamp: str | None, now: datetime | None = None) -> str:
    """How long ago, as kubectl writes it: 45s, 5m10s, 3h2m, 2d4h, 20d, 1y30d."""
    moment = parse_time(timestamp)
    if moment is None:
        return "<unknown>"
    return human_duration(((now or datetime.now(UTC)) - moment).total_seconds())


def parse_time(timestamp: str | None) -> datetime | None:
    if not timestamp:
        return None
    return datetime.fromisoformat(timestamp)


def human_duration(seconds: float) -> str:
    """k8s.io/apimachinery/pkg/util/duration.HumanDuration."""
    total = int(seconds)
    if total < -1:
        return "<invalid>"
    total = max(total, 0)
    minutes, hours, days = total // 60, total // 3600, total // 86400
    if total < 120:
        return f"{total}s"
    if minutes < 10:
        return _two(minutes, "m", total % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if hours < 192:
        return _two(days, "d", hours % 24, "h")
    if hours < 24 * 365 * 2:
        return f"{days}d"
    if hours < 24 * 365 * 8:
        return _two(days // 365, "y", days % 365, "d")
    return f"{days // 365}y"


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}" + (f"{small}{small_unit}" if small else "")


NAME = Column("Name", name_of, format="name", description="Name must be unique within a namespace.")
AGE = Column("Age", age, description="How long ago the object was created.")
NONE = "<none>"


def columns_of(kind: Kind) -> tuple[Column, ...]:
    """The columns of a kind; a kind without a row of its own shows name and age."""
    return COLUMNS.get(kind.qualified, (NAME, AGE))


# --- reading plain data -----------------------------------------------------------------------------------------


def at(path: str, default: Any = NONE) -> Cell:
    """A cell that shows one field, or `default` where it is absent or empty."""
    parts = path.split(".")

    def cell(obj: Object) -> Any:
        value: Any = obj
        for part in parts:
            value = value.get(part) if isinstance(value, dict) else None
        return default if value in (None, "") else value

    return cell


def number(path: str) -> Cell:
    return at(path, 0)


def count(path: str) -> Cell:
    field = at(path, ())
    return lambda obj: len(field(obj))


def listed(values: list[str], limit: int = 0) -> str:
    """`a,b,c`, or `a,b + 3 more...` past the limit."""
    if not values:
        return NONE
    if limit and len(values) > limit:
        return f"{','.join(values[:limit])} + {len(values) - limit} more..."
    return ",".join(values)


def _condition(obj: Object, type_: str) -> Object:
    conditions = obj.get("status", {}).get("conditions") or []
    return next((each for each in conditions if each.get("type") == type_), {})


def _template(obj: Object) -> list[Object]:
    containers: list[Object] = obj.get("spec", {}).get("template", {}).get("spec", {}).get("containers") or []
    return containers


def _selector_text(selector: Object | None) -> str:
    """A metav1.LabelSelector as text."""
    if not selector:
        return NONE
    parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for each in selector.get("matchExpressions") or []:
        operator, values = each.get("operator", ""), ",".join(sorted(each.get("values") or []))
        forms = {"Exists": each["key"], "DoesNotExist": f"!{each['key']}"}
        parts.append(forms.get(operator) or f"{each['key']} {operator.lower()} ({values})")
    return ",".join(parts) or NONE


TEMPLATE_COLUMNS = (
    Column("Containers", lambda obj: listed([each["name"] for each in _template(obj)]), priority=1),
    Column("Images", lambda obj: listed([each.get("image", "") for each in _template(obj)]), priority=1),
    Column("Selector", lambda obj: _selector_text(obj.get("spec", {}).get("selector")), priority=1),
)


# --- pods -------------------------------------------------------------------------------------------------------


@dataclass
class _PodSummary:
    reason: str
    ready: int = 0
    restarts: int = 0
    last_restart: str = ""
    initializing: bool = False


def pod_status(pod: Object) -> str:
    """STATUS as kubectl shows it: the phase, or whatever says more (CrashLoopBackOff, Init:0/1, Terminating)."""
    return _summary(pod).reason


def pod_ready(pod: Object) -> str:
    """READY: containers ready / containers that count."""
    spec = pod.get("spec", {})
    sidecars = [each for each in spec.get("initContainers") or [] if each.get("restartPolicy") == "Always"]
    return f"{_summary(pod).ready}/{len(spec.get('containers') or []) + len(sidecars)}"


def pod_restarts(pod: Object) -> str:
    """RESTARTS: `3 (12s ago)`."""
    summary = _summary(pod)
    if summary.restarts and summary.last_restart:
        return f"{summary.restarts} ({since(summary.last_restart)} ago)"
    return str(summary.restarts)


def _summary(pod: Object) -> _PodSummary:
    status = pod.get("status", {})
    summary = _PodSummary(status.get("reason") or status.get("phase") or "Unknown")
    if _condition(pod, "PodScheduled").get("reason") == "SchedulingGated":
        summary.reason = "SchedulingGated"
    _summarise_init(pod, summary)
    if not summary.initializing or _condition(pod, "Initialized").get("status") == "True":
        _summarise_containers(pod, summary)
    if "deletionTimestamp" in pod["metadata"]:
        if status.get("reason") == "NodeLost":
            summary.reason = "Unknown"
        elif status.get("phase") not in ("Succeeded", "Failed"):
            summary.reason = "Terminating"
    return summary


def _summarise_init(pod: Object, summary: _PodSummary) -> None:
    specs = pod.get("spec", {}).get("initContainers") or []
    sidecars = {each["name"] for each in specs if each.get("restartPolicy") == "Always"}
    for index, container in enumerate(pod.get("status", {}).get("initContainerStatuses") or []):
        summary.restarts += container.get("restartCount", 0)
        _note_restart(container, summary)
        state = container.get("state") or {}
        terminated, waiting = state.get("terminated"), state.get("waiting") or {}
        if terminated is not None and terminated.get("exitCode") == 0:
            continue
        if container["name"] in sidecars and container.get("started"):
            summary.ready += bool(container.get("ready"))
            continue
        if terminated is not None:
            summary.reason = "Init:" + _ended(terminated)
        elif waiting.get("reason") not in (None, "", "PodInitializing"):
            summary.reason = "Init:" + waiting["reason"]
        else:
            summary.reason = f"Init:{index}/{len(specs)}"
        summary.initializing = True
        return


def _summarise_containers(pod: Object, summary: _PodSummary) -> None:
    running = False
    if not any(each.get("restartPolicy") == "Always" for each in pod.get("spec", {}).get("initContainers") or []):
        summary.restarts, summary.last_restart = 0, ""
    for container in reversed(pod.get("status", {}).get("containerStatuses") or []):
        summary.restarts += container.get("restartCount", 0)
        _note_restart(container, summary)
        state = container.get("state") or {}
        waiting, terminated = state.get("waiting"), state.get("terminated")
        if waiting is not None and waiting.get("reason"):
            summary.reason = waiting["reason"]
        elif terminated is not None:
            summary.reason = _ended(terminated)
        elif container.get("ready") and state.get("running") is not None:
            running = True
            summary.ready += 1
    if summary.reason == "Completed" and running:
        summary.reason = "Running" if _condition(pod, "Ready").get("status") == "True" else "NotReady"


def _ended(terminated: Object) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    return f"Signal:{terminated['signal']}" if terminated.get("signal") else f"ExitCode:{terminated.get('exitCode', 0)}"


def _note_restart(container: Object, summary: _PodSummary) -> None:
    ended = (container.get("lastState") or {}).get("terminated") or {}
    summary.last_restart = max(summary.last_restart, ended.get("finishedAt") or "")


def _readiness_gates(pod: Object) -> str:
    gates = pod.get("spec", {}).get("readinessGates") or []
    if not gates:
        return NONE
    met = sum(_condition(pod, gate["conditionType"]).get("status") == "True" for gate in gates)
    return f"{met}/{len(gates)}"


# --- services, nodes and the rest -------------------------------------------------------------------------------


def _external_address(service: Object) -> str:
    spec = service.get("spec", {})
    external = spec.get("externalIPs") or []
    match spec.get("type"):
        case "LoadBalancer":
            ingress = service.get("status", {}).get("loadBalancer", {}).get("ingress") or []
            addresses = [each.get("ip") or each.get("hostname", "") for each in ingress] + external
            return ",".join(addresses) if addresses else "<pending>"
        case "ExternalName":
            return str(spec.get("externalName", NONE))
    return listed(external)


def _service_ports(service: Object) -> str:
    ports = []
    for each in service.get("spec", {}).get("ports") or []:
        node_port = f":{each['nodePort']}" if each.get("nodePort") else ""
        ports.append(f"{each['port']}{node_port}/{each.get('protocol', 'TCP')}")
    return listed(ports)


def _map_text(labels: dict[str, str] | None) -> str:
    return listed([f"{key}={value}" for key, value in sorted((labels or {}).items())])


def node_status(node: Object) -> str:
    """Ready, NotReady or Unknown, and whether scheduling is disabled."""
    status = {"True": "Ready", "False": "NotReady", "Unknown": "NotReady"}.get(
        _condition(node, "Ready").get("status", "")
    )
    disabled = ",SchedulingDisabled" if node.get("spec", {}).get("unschedulable") else ""
    return (status or "Unknown") + disabled


def node_roles(node: Object) -> str:
    prefix = "node-role.kubernetes.io/"
    labels = node["metadata"].get("labels") or {}
    roles = {key.removeprefix(prefix) for key in labels if key.startswith(prefix) and key != prefix}
    if labels.get("kubernetes.io/role"):
        roles.add(labels["kubernetes.io/role"])
    return listed(sorted(roles))


def _node_address(type_: str) -> Cell:
    def cell(node: Object) -> str:
        addresses = node.get("status", {}).get("addresses") or []
        return next((str(each["address"]) for each in addresses if each.get("type") == type_), NONE)

    return cell


def _slice_ports(obj: Object) -> str:
    ports = [str(each["port"]) if each.get("port") else "*" for each in obj.get("ports") or []]
    return listed(ports, 3) if ports else "<unset>"


def _slice_addresses(obj: Object) -> str:
    addresses = [address for each in obj.get("endpoints") or [] for address in each.get("addresses") or []]
    return listed(addresses, 3) if addresses else "<unset>"


def _event_seen(event: Object) -> str:
    series = event.get("series") or {}
    moment = series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime")
    return since(moment or event["metadata"].get("creationTimestamp"))


def _event_object(event: Object) -> str:
    about = event.get("involvedObject") or {}
    return f"{about.get('kind', '').lower()}/{about.get('name', '')}"


def _event_source(event: Object) -> str:
    source = event.get("source") or {}
    component = source.get("component") or event.get("reportingComponent") or ""
    host = source.get("host") or event.get("reportingInstance") or ""
    return f"{component}, {host}" if host else component


def _event_count(event: Object) -> int:
    return int((event.get("series") or {}).get("count") or event.get("count") or 1)


def _csr_condition(csr: Object) -> str:
    status = csr.get("status") or {}
    types = [each["type"] for each in status.get("conditions") or []]
    words = [word for word in ("Approved", "Denied", "Failed") if word in types] or ["Pending"]
    return ",".join([*words, "Issued"] if status.get("certificate") else words)


def _csr_duration(csr: Object) -> str:
    seconds = csr.get("spec", {}).get("expirationSeconds")
    return human_duration(seconds) if seconds else NONE


COLUMNS: dict[str, tuple[Column, ...]] = {
    "pods": (
        NAME,
        Column("Ready", pod_ready, description="Containers ready, of all that count."),
        Column("Status", pod_status, description="The phase, or what says more."),
        Column("Restarts", pod_restarts, description="How often containers were restarted, and when last."),
        AGE,
        Column("IP", at("status.podIP"), priority=1),
        Column("Node", at("spec.nodeName"), priority=1),
        Column("Nominated Node", at("status.nominatedNodeName"), priority=1),
        Column("Readiness Gates", _readiness_gates, priority=1),
    ),
    "deployments.apps": (
        NAME,
        Column("Ready", lambda obj: f"{number('status.readyReplicas')(obj)}/{number('spec.replicas')(obj)}"),
        Column("Up-to-date", number("status.updatedReplicas"), "integer"),
        Column("Available", number("status.availableReplicas"), "integer"),
        AGE,
        *TEMPLATE_COLUMNS,
    ),
    "replicasets.apps": (
        NAME,
        Column("Desired", number("spec.replicas"), "integer"),
        Column("Current", number("status.replicas"), "integer"),
        Column("Ready", number("status.readyReplicas"), "integer"),
        AGE,
        *TEMPLATE_COLUMNS,
    ),
    "services": (
        NAME,
        Column("Type", at("spec.type")),
        Column("Cluster-IP", at("spec.clusterIP")),
        Column("External-IP", _external_address),
        Column("Port(s)", _service_ports),
        AGE,
        Column("Selector", lambda obj: _map_text(obj.get("spec", {}).get("selector")), priority=1),
    ),
    "nodes": (
        NAME,
        Column("Status", node_status),
        Column("Roles", node_roles),
        AGE,
        Column("Version", at("status.nodeInfo.kubeletVersion", "")),
        Column("Internal-IP", _node_address("InternalIP"), priority=1),
        Column("External-IP", _node_address("ExternalIP"), priority=1),
        Column("OS-Image", at("status.nodeInfo.osImage", "<unknown>"), priority=1),
        Column("Kernel-Version", at("status.nodeInfo.kernelVersion", "<unknown>"), priority=1),
        Column("Container-Runtime", at("status.nodeInfo.containerRuntimeVersion", "<unknown>"), priority=1),
    ),
    "namespaces": (NAME, Column("Status", at("status.phase", "")), AGE),
    "configmaps": (NAME, Column("Data", lambda obj: _size(obj, "data", "binaryData"), "integer"), AGE),
    "secrets": (NAME, Column("Type", at("type", "")), Column("Data", lambda obj: _size(obj, "data"), "integer"), AGE),
    "serviceaccounts": (NAME, Column("Secrets", count("secrets"), "integer"), AGE),
    "leases.coordination.k8s.io": (NAME, Column("Holder", at("spec.holderIdentity", "")), AGE),
    "endpointslices.discovery.k8s.io": (
        NAME,
        Column("AddressType", at("addressType", "")),
        Column("Ports", _slice_ports),
        Column("Endpoints", _slice_addresses),
        AGE,
    ),
    "events": (
        Column("Last Seen", _event_seen),
        Column("Type", at("type", "")),
        Column("Reason", at("reason", "")),
        Column("Object", _event_object),
        Column("Subobject", at("involvedObject.fieldPath", ""), priority=1),
        Column("Source", _event_source, priority=1),
        Column("Message", lambda obj: str(obj.get("message") or "").strip()),
        Column("First Seen", lambda obj: since(obj.get("firstTimestamp") or obj.get("eventTime")), priority=1),
        Column("Count", _event_count, "integer", priority=1),
        Column("Name", name_of, format="name", priority=1),
    ),
    "certificatesigningrequests.certificates.k8s.io": (
        NAME,
        AGE,
        Column("SignerName", at("spec.signerName", "")),
        Column("Requestor", at("spec.username", "")),
        Column("RequestedDuration", _csr_duration),
        Column("Condition", _csr_condition),
    ),
}


def _size(obj: Object, *fields: str) -> int:
    return sum(len(obj.get(field) or {}) for field in fields)
