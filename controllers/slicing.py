"""How endpoints are packed into EndpointSlices. Pure.

Kubernetes: staging/src/k8s.io/endpointslice. Endpoints keep the slice they are in, so that a change of one rewrites
one slice; a slice's name follows from its owner, its ports and a number, so that whoever writes it twice writes the
same one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lightkube.models.discovery_v1 import Endpoint, EndpointPort
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.discovery_v1 import EndpointSlice

from api import meta

SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
HEADLESS = "service.kubernetes.io/headless"
MAX_ENDPOINTS = 100

Ports = tuple[tuple[str, int | None, str, str | None], ...]
"""(name, number, protocol, appProtocol) of every port; None is a port the pod does not have."""
Shape = tuple[str, Ports]
"""What all endpoints of a slice share: the address type, and the ports."""
Wanted = Mapping[Shape, Sequence[Endpoint]]


@dataclass(frozen=True)
class Owner:
    """Who the slices are of, and what they carry for it."""

    obj: Any
    labels: dict[str, str]
    annotations: dict[str, str] | None = None
    """None leaves those that are there alone."""


@dataclass
class Plan:
    """The writes that make the slices right."""

    create: list[EndpointSlice] = field(default_factory=list)
    update: list[EndpointSlice] = field(default_factory=list)
    delete: list[EndpointSlice] = field(default_factory=list)


def plan(owner: Owner, wanted: Wanted, present: Sequence[EndpointSlice]) -> Plan:
    """What to write so that the owner's slices show what is wanted."""
    result = Plan()
    by_shape: dict[Shape, list[EndpointSlice]] = {}
    for each in sorted(present, key=meta.name):
        if meta.is_terminating(each):
            continue
        shape = (each.addressType, ports_of(each.ports))
        if shape in wanted:
            by_shape.setdefault(shape, []).append(each)
        else:
            result.delete.append(each)
    for shape, endpoints in wanted.items():
        _pack(owner, shape, {_key(each): each for each in endpoints}, by_shape.get(shape, []), result)
    return result


def service_key(present: EndpointSlice, manager: str) -> list[str]:
    """Index: the Service of a slice that this manager looks after."""
    labels = meta.labels(present)
    if labels.get(MANAGED_BY) != manager or SERVICE_NAME not in labels:
        return []
    return [f"{meta.namespace(present)}/{labels[SERVICE_NAME]}"]


def ports_of(ports: Sequence[Any] | None) -> Ports:
    """The ports of a slice, or of a subset of Endpoints."""
    return tuple((each.name or "", each.port, each.protocol or "TCP", each.appProtocol) for each in ports or ())


def _key(endpoint: Endpoint) -> tuple[str, str]:
    """By which an endpoint is known again."""
    return (endpoint.targetRef and endpoint.targetRef.uid) or "", endpoint.addresses[0]


def _pack(
    owner: Owner,
    shape: Shape,
    endpoints: dict[tuple[str, str], Endpoint],
    present: list[EndpointSlice],
    result: Plan,
) -> None:
    """Keep endpoints where they are, fill free places with the new ones, add slices, drop empty ones."""
    left = dict(endpoints)
    contents: list[list[Endpoint]] = []
    for each in present:
        staying = [left.pop(key) for key in map(_key, each.endpoints or ()) if key in left]
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
        changed = _updated(owner, each, content)
        if changed is not None:
            result.update.append(changed)
    taken = {meta.name(each) for each in present}
    rest = list(left.values())
    while rest or not kept:
        result.create.append(_new_slice(owner, _free_name(owner, shape, taken), shape, rest[:MAX_ENDPOINTS]))
        rest = rest[MAX_ENDPOINTS:]
        kept += 1


def _updated(owner: Owner, present: EndpointSlice, content: list[Endpoint]) -> EndpointSlice | None:
    """The slice with other content or labels, or None when it is right."""
    annotations = meta.annotations(present) if owner.annotations is None else owner.annotations
    wanted = (content, owner.labels, annotations)
    if (present.endpoints or [], meta.labels(present), meta.annotations(present)) == wanted:
        return None
    changed = meta.clone(present)
    changed.endpoints = content
    meta.metadata(changed).labels = owner.labels
    meta.metadata(changed).annotations = annotations or None
    return changed


def _free_name(owner: Owner, shape: Shape, taken: set[str]) -> str:
    number = 0
    while True:
        seed = f"{meta.uid(owner.obj)}/{shape}/{number}".encode()
        name = f"{meta.name(owner.obj)}-{hashlib.sha256(seed).hexdigest()[:8]}"
        if name not in taken:
            taken.add(name)
            return name
        number += 1


def _new_slice(owner: Owner, name: str, shape: Shape, content: list[Endpoint]) -> EndpointSlice:
    return EndpointSlice(
        metadata=ObjectMeta(
            name=name,
            namespace=meta.namespace(owner.obj),
            labels=owner.labels,
            annotations=owner.annotations or None,
            ownerReferences=[meta.owner_reference(owner.obj)],
        ),
        addressType=shape[0],
        endpoints=content,
        ports=[
            EndpointPort(name=port_name, port=number, protocol=protocol, appProtocol=app)
            for port_name, number, protocol, app in shape[1]
        ],
    )
