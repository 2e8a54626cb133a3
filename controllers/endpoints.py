"""Which endpoints a Service has: as EndpointSlices, and as the Endpoints object of old. Pure.

Kubernetes: staging/src/k8s.io/endpointslice, pkg/controller/endpoint.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lightkube.models.core_v1 import EndpointAddress, EndpointPort, EndpointSubset, ObjectReference, ServicePort
from lightkube.models.discovery_v1 import Endpoint, EndpointConditions
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Endpoints, Pod, Service
from lightkube.resources.discovery_v1 import EndpointSlice

from api import meta, pods, selectors
from controllers import slicing
from controllers.slicing import HEADLESS, MANAGED_BY, SERVICE_NAME, Ports

MANAGER = "endpointslice-controller.k8s.io"
ENDPOINTS_MANAGED_BY = "endpoints.kubernetes.io/managed-by"
ENDPOINTS_MANAGER = "endpoint-controller"
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"
MAX_ADDRESSES = 1000
"""In one Endpoints object; more are cut off, and the annotation says so."""


def wants_slices(service: Service) -> bool:
    """Services without a selector are filled by others; ExternalName is an alias."""
    spec = service.spec
    return spec is not None and bool(spec.selector) and spec.type != "ExternalName"


def selector(service: Service) -> selectors.LabelSelector:
    return selectors.from_map(service.spec.selector if service.spec else None)


def plan(service: Service, selected: Iterable[Pod], present: Sequence[EndpointSlice]) -> slicing.Plan:
    """What to write so that the Service's slices show the selected pods."""
    wanted: dict[slicing.Shape, list[Endpoint]] = {}
    for pod in sorted(selected, key=meta.name):
        if _may_serve(pod):
            wanted.setdefault(("IPv4", _ports(service, pod)), []).append(endpoint(service, pod))
    if not wanted:
        wanted["IPv4", _ports(service, None)] = []  # an empty slice says that there is nobody
    labels = _own_labels(service) | {SERVICE_NAME: meta.name(service), MANAGED_BY: MANAGER}
    return slicing.plan(slicing.Owner(service, labels), wanted, present)


def endpoints_object(service: Service, selected: Iterable[Pod], present: Endpoints | None) -> Endpoints | None:
    """The Endpoints of the Service as they should be, None when that is how they are."""
    subsets, complete = _subsets(service, selected)
    labels = _own_labels(service) | {ENDPOINTS_MANAGED_BY: ENDPOINTS_MANAGER}
    found = meta.annotations(present) if present is not None else {}
    annotations = {key: text for key, text in found.items() if key != OVER_CAPACITY}
    if not complete:
        annotations[OVER_CAPACITY] = "truncated"
    if present is None:
        metadata = ObjectMeta(name=meta.name(service), namespace=meta.namespace(service))
        wanted = Endpoints(metadata=metadata)
    else:
        wanted = meta.clone(present)
    metadata = meta.metadata(wanted)
    metadata.labels, metadata.annotations, wanted.subsets = labels, annotations or None, subsets or None
    return None if present is not None and _shown(wanted) == _shown(present) else wanted


def is_ours(obj: Endpoints) -> bool:
    return meta.labels(obj).get(ENDPOINTS_MANAGED_BY) == ENDPOINTS_MANAGER


def _shown(obj: Endpoints) -> tuple[object, ...]:
    return obj.subsets or None, meta.labels(obj), meta.annotations(obj)


def _subsets(service: Service, selected: Iterable[Pod]) -> tuple[list[EndpointSubset], bool]:
    """The pods by their ports, and whether all found room."""
    anyway = bool(service.spec and service.spec.publishNotReadyAddresses)
    headless = bool(service.spec and service.spec.clusterIP == "None")
    by_ports: dict[Ports, EndpointSubset] = {}
    count = 0
    # The ready ones first, so that they are not the ones that are cut off.
    for pod in sorted(selected, key=lambda pod: (not pods.is_ready(pod), meta.name(pod))):
        ports = _ports(service, pod)
        if not _may_serve(pod) or (meta.is_terminating(pod) and not anyway) or not (ports or headless):
            continue
        count += 1
        if count > MAX_ADDRESSES:
            continue
        shown = endpoint(service, pod)
        address = EndpointAddress(
            ip=shown.addresses[0], hostname=shown.hostname, nodeName=shown.nodeName, targetRef=shown.targetRef
        )
        subset = by_ports.setdefault(ports, EndpointSubset(ports=_endpoint_ports(ports)))
        if anyway or pods.is_ready(pod):
            subset.addresses = [*(subset.addresses or []), address]
        else:
            subset.notReadyAddresses = [*(subset.notReadyAddresses or []), address]
    return [by_ports[ports] for ports in sorted(by_ports, key=str)], count <= MAX_ADDRESSES


def _endpoint_ports(ports: Ports) -> list[EndpointPort] | None:
    return [
        EndpointPort(name=name or None, port=number or 0, protocol=protocol, appProtocol=app)
        for name, number, protocol, app in ports
    ] or None


def _own_labels(service: Service) -> dict[str, str]:
    """The Service's labels, and whether it is headless."""
    own = {key: value for key, value in meta.labels(service).items() if key != HEADLESS}
    return {**own, HEADLESS: ""} if service.spec and service.spec.clusterIP == "None" else own


def _may_serve(pod: Pod) -> bool:
    """On a node, with an (IPv4) address, and not ended."""
    address = (pod.status and pod.status.podIP) or ""
    return bool(pods.node_name(pod)) and "." in address and not pods.is_terminal(pod)


def endpoint(service: Service, pod: Pod) -> Endpoint:
    """A terminating pod is never ready but may still be serving."""
    serving = pods.is_ready(pod)
    terminating = meta.is_terminating(pod)
    anyway = bool(service.spec and service.spec.publishNotReadyAddresses)
    subdomain = pod.spec.subdomain if pod.spec else None
    named = subdomain == meta.name(service) and meta.namespace(pod) == meta.namespace(service)
    return Endpoint(
        addresses=[(pod.status and pod.status.podIP) or ""],
        conditions=EndpointConditions(
            ready=anyway or (serving and not terminating), serving=serving, terminating=terminating
        ),
        hostname=(pod.spec.hostname if pod.spec and named else None) or None,
        nodeName=pods.node_name(pod),
        targetRef=ObjectReference(kind="Pod", namespace=meta.namespace(pod), name=meta.name(pod), uid=meta.uid(pod)),
    )


def _ports(service: Service, pod: Pod | None) -> Ports:
    """The Service's ports as numbers on this pod; ports whose name the pod does not have are left out."""
    found = []
    for port in (service.spec and service.spec.ports) or ():
        number = target_port(port, pod)
        if number is not None:
            found.append((port.name or "", number, port.protocol or "TCP", port.appProtocol))
    return tuple(found)


def target_port(port: ServicePort, pod: Pod | None) -> int | None:
    """The pod's port number behind a Service port: targetPort may be a number, a port's name, or absent."""
    target = port.targetPort
    if target is None or target == "":
        return port.port
    if isinstance(target, int) or str(target).isdigit():
        return int(target) or port.port
    spec = pod.spec if pod is not None else None
    containers = (
        [*spec.containers, *(c for c in spec.initContainers or () if c.restartPolicy == "Always")] if spec else []
    )
    for container in containers:
        for candidate in container.ports or ():
            if candidate.name == target and (candidate.protocol or "TCP") == (port.protocol or "TCP"):
                return candidate.containerPort
    return None
