"""What of a pod matters to placing it. Pure.

Pods with equal facts form a class: they are filtered and scored once, together. `class_key` is the cheap test for
it (bytes of everything that may matter), `facts_of` the reading of it, done once per class.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

import msgspec
from lightkube.models.core_v1 import Container, PodSpec, Toleration
from lightkube.resources.core_v1 import Pod

from api import meta, node_affinity, pods, quantity
from api.node_affinity import NodeTerm
from api.selectors import Requirement, from_map

REMEMBERED_CLASSES = 1024

DEFAULT_CPU_MILLI = 100
DEFAULT_MEMORY_BYTES = 200 * 1024 * 1024
"""What a pod without requests is taken to use when nodes are compared (not when they are filled), as in Kubernetes."""

Port = tuple[str, int, str]
"""Protocol, host port, host address ("0.0.0.0" for all)."""


@dataclass(frozen=True, slots=True, eq=False)
class PodFacts:
    """A class of pods. Compared by identity: `facts_of` hands out one object per class."""

    namespace: str = ""
    group: str = ""
    """The pods this one should be spread among: those of its controller, or with its labels."""
    node_name: str = ""
    cpu_milli: int = 0
    memory_bytes: int = 0
    scored_cpu_milli: int = DEFAULT_CPU_MILLI
    scored_memory_bytes: int = DEFAULT_MEMORY_BYTES
    extended: dict[str, int] = field(default_factory=dict)
    """Requests for anything but cpu and memory."""
    ports: tuple[Port, ...] = ()
    selector: tuple[Requirement, ...] = ()
    required_terms: tuple[NodeTerm, ...] | None = None
    preferred_terms: tuple[tuple[int, NodeTerm], ...] = ()
    tolerations: tuple[Toleration, ...] = ()


_encode = msgspec.json.Encoder(order="deterministic").encode


def class_key(pod: Pod) -> bytes:
    """Equal for pods that are placed alike."""
    spec = pod.spec
    if spec is None:
        return b""
    affinity = spec.affinity.nodeAffinity if spec.affinity else None
    containers = [(each.resources, each.ports) for each in spec.containers]
    inits = [(each.resources, each.restartPolicy) for each in spec.initContainers or ()]
    return _encode(
        (
            meta.namespace(pod),
            group_of(pod),
            spec.nodeSelector,
            affinity,
            spec.tolerations,
            containers,
            inits,
            spec.overhead,
            spec.hostNetwork,
        )
    )


def group_of(pod: Pod) -> str:
    """Pods of one controller belong together, and so do bare pods with equal labels."""
    owner = meta.controller_of(pod)
    if owner is not None:
        return owner.uid
    labels = ",".join(f"{key}={value}" for key, value in sorted(meta.labels(pod).items()))
    return f"{meta.namespace(pod)}/{labels}"


class ClassBook:
    """The classes met lately, so that equal pods share one PodFacts."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, PodFacts] = OrderedDict()

    def facts_of(self, pod: Pod) -> PodFacts:
        key = class_key(pod)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = read(pod)
            if len(self._known) > REMEMBERED_CLASSES:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(key)
        return known


def read(pod: Pod) -> PodFacts:
    """The facts of a pod."""
    spec = pod.spec or PodSpec(containers=[])
    requests = pods.pod_requests(pod)
    return PodFacts(
        namespace=meta.namespace(pod),
        group=group_of(pod),
        cpu_milli=requests.cpu_milli,
        memory_bytes=requests.memory_bytes,
        scored_cpu_milli=requests.cpu_milli or DEFAULT_CPU_MILLI,
        scored_memory_bytes=requests.memory_bytes or DEFAULT_MEMORY_BYTES,
        extended=_extended(spec),
        ports=tuple(_ports(spec)),
        selector=from_map(spec.nodeSelector).requirements,
        required_terms=node_affinity.required_terms(spec),
        preferred_terms=node_affinity.preferred_terms(spec),
        tolerations=tuple(spec.tolerations or ()),
    )


def _extended(spec: PodSpec) -> dict[str, int]:
    """The sum of the containers or the largest init container, for every resource beside cpu and memory."""
    total: dict[str, int] = {}
    for container in spec.containers:
        for name, amount in _requests(container).items():
            total[name] = total.get(name, 0) + amount
    for container in spec.initContainers or ():
        for name, amount in _requests(container).items():
            total[name] = max(total.get(name, 0), amount)
    return {name: amount for name, amount in total.items() if amount}


def _requests(container: Container) -> dict[str, int]:
    resources = container.resources
    if resources is None:
        return {}
    wanted = {**(resources.limits or {}), **(resources.requests or {})}
    return {name: quantity.bytes_(str(text)) for name, text in wanted.items() if name not in ("cpu", "memory")}


def _ports(spec: PodSpec) -> list[Port]:
    found = []
    for container in spec.containers:
        for port in container.ports or ():
            number = port.hostPort or (port.containerPort if spec.hostNetwork else None)
            if number:
                found.append((port.protocol or "TCP", number, port.hostIP or "0.0.0.0"))
    return found
