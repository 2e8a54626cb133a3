"""Which endpoints a Service has, and how they are packed into EndpointSlices. Pure.

Kubernetes: staging/src/k8s.io/endpointslice. Endpoints keep the slice they are in, so that a change of one pod
rewrites one slice; a slice's name follows from the Service, its ports and a number, so that whoever writes it twice
writes the same one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from lightkube.models.core_v1 import ObjectReference, ServicePort
from lightkube.models.discovery_v1 import Endpoint, EndpointConditions, EndpointPort
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Pod, Service
from lightkube.resources.discovery_v1 import EndpointSlice

from api import meta, pods

SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"
HEADLESS = "service.kubernetes.io/headless"
MAX_ENDPOINTS = 100

Ports = tuple[tuple[str, int | None, str, str | None], ...]
"""(name, number, protocol, appProtocol) of every port; None is a port the pod does not have."""


@dataclass
class Plan:
    """The writes that make the slices right."""

    create: list[EndpointSlice] = field(default_factory=list)
    update: list[EndpointSlice] = field(default_factory=list)
    delete: list[EndpointSlice] = field(default_factory=list)


def wants_slices(service: Service) -> bool:
    """Services without a selector are filled by others; ExternalName is an alias."""
    spec = service.spec
    return spec is not None and bool(spec.selector) and spec.type != "ExternalName"


def plan(service: Service, selected: Iterable[Pod], present: Sequence[EndpointSlice]) -> Plan:
    """What to write so that the Service's slices show the selected pods."""
    wanted: dict[Ports, dict[str, Endpoint]] = {}
    for pod in sorted(selected, key=meta.name):
        if _may_serve(pod):
            wanted.setdefault(_ports(service, pod), {})[meta.uid(pod)] = endpoint(service, pod)
    if not wanted:
        wanted[_ports(service, None)] = {}  # an empty slice says that there is nobody
    result = Plan()
    by_ports: dict[Ports, list[EndpointSlice]] = {}
    for each in sorted(present, key=meta.name):
        ports = _ports_of(each)
        if meta.is_terminating(each):
            continue
        if ports in wanted and each.addressType == "IPv4":
            by_ports.setdefault(ports, []).append(each)
        else:
            result.delete.append(each)
    for ports, endpoints in wanted.items():
        _pack(service, ports, endpoints, by_ports.get(ports, []), result)
    return result


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


def _ports_of(present: EndpointSlice) -> Ports:
    return tuple((each.name or "", each.port, each.protocol or "TCP", each.appProtocol) for each in present.ports or ())


def _pack(
    service: Service, ports: Ports, endpoints: dict[str, Endpoint], present: list[EndpointSlice], result: Plan
) -> None:
    """Keep endpoints where they are, fill free places with the new ones, add slices, drop empty ones."""
    left = dict(endpoints)
    contents: list[list[Endpoint]] = []
    for each in present:
        staying = [left.pop(uid) for uid in _uids(each) if uid in left]
        contents.append(staying[:MAX_ENDPOINTS])
    for content in contents:
        while left and len(content) < MAX_ENDPOINTS:
            content.append(left.pop(next(iter(left))))
    kept = 0
    for each, content in zip(present, contents, strict=True):
        if not content and (endpoints or kept):
            result.delete.append(each)
            continue
        kept += 1
        changed = _updated(service, each, content)
        if changed is not None:
            result.update.append(changed)
    taken = {meta.name(each) for each in present}
    rest = list(left.values())
    while rest or not kept:
        name = _free_name(service, ports, taken)
        result.create.append(_new_slice(service, name, ports, rest[:MAX_ENDPOINTS]))
        rest = rest[MAX_ENDPOINTS:]
        kept += 1


def _uids(present: EndpointSlice) -> list[str]:
    return [each.targetRef.uid or "" for each in present.endpoints or () if each.targetRef is not None]


def _updated(service: Service, present: EndpointSlice, content: list[Endpoint]) -> EndpointSlice | None:
    """The slice with other content or labels, or None when it is right."""
    if (present.endpoints or []) == content and meta.labels(present) == labels(service):
        return None
    changed = meta.clone(present)
    changed.endpoints = content
    meta.metadata(changed).labels = labels(service)
    return changed


def labels(service: Service) -> dict[str, str]:
    """The Service's labels, and those by which its slices are found."""
    headless = {HEADLESS: ""} if service.spec and service.spec.clusterIP == "None" else {}
    own = {key: value for key, value in meta.labels(service).items() if key != HEADLESS}
    return {**own, **headless, SERVICE_NAME: meta.name(service), MANAGED_BY: MANAGER}


def _free_name(service: Service, ports: Ports, taken: set[str]) -> str:
    number = 0
    while True:
        seed = f"{meta.uid(service)}/{ports}/{number}".encode()
        name = f"{meta.name(service)}-{hashlib.sha256(seed).hexdigest()[:8]}"
        if name not in taken:
            taken.add(name)
            return name
        number += 1


def _new_slice(service: Service, name: str, ports: Ports, content: list[Endpoint]) -> EndpointSlice:
    return EndpointSlice(
        metadata=ObjectMeta(
            name=name,
            namespace=meta.namespace(service),
            labels=labels(service),
            ownerReferences=[meta.owner_reference(service)],
        ),
        addressType="IPv4",
        endpoints=content,
        ports=[
            EndpointPort(name=port_name, port=number, protocol=protocol, appProtocol=app)
            for port_name, number, protocol, app in ports
        ],
    )
