"""What of a pod matters to placing it. Pure.

Pods with equal facts form a class: they are filtered and scored once, together. `class_key` is the cheap test for
it (bytes of everything that may matter), `facts_of` the reading of it, done once per class.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from weakref import WeakValueDictionary

import msgspec
from lightkube.models import meta_v1
from lightkube.models.core_v1 import (
    Container,
    PodAffinity,
    PodAffinityTerm,
    PodAntiAffinity,
    PodSpec,
    Toleration,
    TopologySpreadConstraint,
)
from lightkube.resources.core_v1 import Pod

from api import meta, node_affinity, pods, quantity
from api.node_affinity import NodeTerm
from api.selectors import LabelSelector, Requirement, from_label_selector, from_map

REMEMBERED_CLASSES = 1024

DEFAULT_CPU_MILLI = 100
DEFAULT_MEMORY_BYTES = 200 * 1024 * 1024
"""What a pod without requests is taken to use when nodes are compared (not when they are filled), as in Kubernetes."""

Anchor = tuple[str, str] | None

Port = tuple[str, int, str]
"""Protocol, host port, host address ("0.0.0.0" for all)."""


@dataclass(frozen=True, eq=False)
class Term:
    """A podAffinityTerm: pods of these namespaces (None: of all) that the selector selects, in one domain.

    Compared by identity: `term_of` hands out one object for equal ones.
    """

    topology_key: str
    namespaces: frozenset[str] | None
    selector: LabelSelector

    @cached_property
    def anchor(self) -> Anchor:
        """A label that every pod it selects has, by which it is found; None when there is no such label."""
        exact = (each for each in self.selector.requirements if each.operator == "In" and len(each.values) == 1)
        return next(((each.key, each.values[0]) for each in exact), None)


_terms_in_use: WeakValueDictionary[tuple[object, ...], Term] = WeakValueDictionary()


def term_of(topology_key: str, namespaces: frozenset[str] | None, selector: LabelSelector) -> Term:
    key = (topology_key, namespaces, selector)
    term = _terms_in_use.get(key)
    if term is None:
        term = _terms_in_use[key] = Term(*key)
    return term


@dataclass(frozen=True)
class Spread:
    """A topologySpreadConstraint."""

    term: Term
    max_skew: int
    min_domains: int
    honor_affinity: bool
    honor_taints: bool


@dataclass(frozen=True)
class VolumeNeeds:
    """What a pod's claims ask of its node (volumes.py)."""

    refused: str = ""
    """Why it can run nowhere as things are."""
    terms: tuple[tuple[NodeTerm, ...], ...] = ()
    """Of each volume that is not everywhere: a node must match one term."""
    unbound: tuple[str, ...] = ()
    """Claims that get a volume when the node is known."""


NO_NEEDS = VolumeNeeds()


@dataclass(frozen=True, eq=False)
class PodFacts:
    """A class of pods. Compared by identity: `facts_of` hands out one object per class."""

    namespace: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    group: str = ""
    """The pods this one should be spread among: those of its controller, or with its labels."""
    requests: Mapping[str, int] = field(default_factory=dict)
    """Of every resource, none of them 0; cpu in thousandths of a core."""
    scored_cpu_milli: int = DEFAULT_CPU_MILLI
    scored_memory_bytes: int = DEFAULT_MEMORY_BYTES
    ports: tuple[Port, ...] = ()
    selector: tuple[Requirement, ...] = ()
    required_terms: tuple[NodeTerm, ...] | None = None
    preferred_terms: tuple[tuple[int, NodeTerm], ...] = ()
    tolerations: tuple[Toleration, ...] = ()
    tolerations_key: bytes = b""
    affinity: tuple[Term, ...] = ()
    anti_affinity: tuple[Term, ...] = ()
    preferences: tuple[tuple[int, Term], ...] = ()
    """Of pods to be near to; a negative weight is of pods to be far from."""
    spread: tuple[Spread, ...] = ()
    soft_spread: tuple[Spread, ...] = ()
    refused: str = ""
    """What it asks for that this scheduler cannot do."""
    volumes: VolumeNeeds = NO_NEEDS

    def matches(self, term: Term) -> bool:
        """Whether the term means pods of this class."""
        return (term.namespaces is None or self.namespace in term.namespaces) and term.selector.matches(self.labels)

    def matches_all(self, terms: tuple[Term, ...]) -> bool:
        return all(map(self.matches, terms))

    @property
    def anchors(self) -> Iterator[Anchor]:
        """Those of all terms that can mean pods of this class."""
        yield None
        yield from self.labels.items()

    @property
    def looks_around(self) -> bool:
        """Whether pods that come, on any node, can let it run."""
        return bool(self.affinity or self.anti_affinity or self.spread)


_encode = msgspec.json.Encoder(order="deterministic").encode


def class_key(pod: Pod) -> bytes:
    """Equal for pods that are placed alike."""
    spec = pod.spec
    if spec is None:
        return b""
    containers = [(each.resources, each.ports) for each in spec.containers]
    inits = [(each.resources, each.restartPolicy) for each in spec.initContainers or ()]
    placing = (spec.nodeSelector, spec.affinity, spec.tolerations, spec.topologySpreadConstraints, spec.hostNetwork)
    return _encode((meta.namespace(pod), meta.labels(pod), group_of(pod), placing, containers, inits, spec.overhead))


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
        self._known: OrderedDict[tuple[bytes, VolumeNeeds], PodFacts] = OrderedDict()

    def facts_of(self, pod: Pod, volumes: VolumeNeeds = NO_NEEDS) -> PodFacts:
        key = (class_key(pod), volumes)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = replace(read(pod), volumes=volumes)
            if len(self._known) > REMEMBERED_CLASSES:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(key)
        return known


def read(pod: Pod) -> PodFacts:
    """The facts of a pod."""
    spec = pod.spec or PodSpec(containers=[])
    requests, own = pods.pod_requests(pod), meta.namespace(pod)
    known = {"cpu": requests.cpu_milli, "memory": requests.memory_bytes, **_extended(spec)}
    near = (spec.affinity.podAffinity if spec.affinity else None) or PodAffinity()
    apart = (spec.affinity.podAntiAffinity if spec.affinity else None) or PodAntiAffinity()
    spreads = [(each.whenUnsatisfiable, _spread(each, pod)) for each in spec.topologySpreadConstraints or ()]
    return PodFacts(
        namespace=own,
        labels=meta.labels(pod),
        group=group_of(pod),
        requests={name: amount for name, amount in known.items() if amount},
        scored_cpu_milli=requests.cpu_milli or DEFAULT_CPU_MILLI,
        scored_memory_bytes=requests.memory_bytes or DEFAULT_MEMORY_BYTES,
        ports=tuple(_ports(spec)),
        selector=from_map(spec.nodeSelector).requirements,
        required_terms=node_affinity.required_terms(spec),
        preferred_terms=node_affinity.preferred_terms(spec),
        tolerations=tuple(spec.tolerations or ()),
        tolerations_key=_encode(spec.tolerations or ()),
        affinity=tuple(_term(each, pod) for each in near.requiredDuringSchedulingIgnoredDuringExecution or ()),
        anti_affinity=tuple(_term(each, pod) for each in apart.requiredDuringSchedulingIgnoredDuringExecution or ()),
        preferences=(*_preferences(near, pod, +1), *_preferences(apart, pod, -1)),
        spread=tuple(each for what, each in spreads if what == "DoNotSchedule"),
        soft_spread=tuple(each for what, each in spreads if what != "DoNotSchedule"),
        refused=_refused(near, apart),
    )


def _preferences(of: PodAffinity | PodAntiAffinity, pod: Pod, sign: int) -> Iterator[tuple[int, Term]]:
    for each in of.preferredDuringSchedulingIgnoredDuringExecution or ():
        yield sign * each.weight, _term(each.podAffinityTerm, pod)


def _all_terms(of: PodAffinity | PodAntiAffinity) -> Iterator[PodAffinityTerm]:
    yield from of.requiredDuringSchedulingIgnoredDuringExecution or ()
    yield from (each.podAffinityTerm for each in of.preferredDuringSchedulingIgnoredDuringExecution or ())


def _refused(*of: PodAffinity | PodAntiAffinity) -> str:
    selectors = (each.namespaceSelector for kind in of for each in _all_terms(kind))
    if any(each is not None and (each.matchLabels or each.matchExpressions) for each in selectors):
        return "a namespaceSelector of a pod affinity term must be empty: this scheduler does not select namespaces"
    return ""


def _term(term: PodAffinityTerm, pod: Pod) -> Term:
    """Without namespaces and namespaceSelector the pod's own namespace is meant; an empty namespaceSelector is all."""
    named = frozenset(term.namespaces or ()) or frozenset({meta.namespace(pod)})
    selector = _selector(term.labelSelector, pod, term.matchLabelKeys, term.mismatchLabelKeys)
    return term_of(term.topologyKey, named if term.namespaceSelector is None else None, selector)


def _spread(constraint: TopologySpreadConstraint, pod: Pod) -> Spread:
    selector = _selector(constraint.labelSelector, pod, constraint.matchLabelKeys, None)
    return Spread(
        term=term_of(constraint.topologyKey, frozenset({meta.namespace(pod)}), selector),
        max_skew=constraint.maxSkew,
        min_domains=constraint.minDomains or 1,
        honor_affinity=(constraint.nodeAffinityPolicy or "Honor") == "Honor",
        honor_taints=(constraint.nodeTaintsPolicy or "Ignore") == "Honor",
    )


def _selector(
    selector: meta_v1.LabelSelector | None, pod: Pod, same: Sequence[str] | None, other: Sequence[str] | None
) -> LabelSelector:
    """With the pod's own values of some keys added; without a selector none is selected."""
    if selector is None:
        return LabelSelector((Requirement("", "In", ()),))
    labels = meta.labels(pod)
    own = (Requirement(key, "In", (labels[key],)) for key in same or () if key in labels)
    others = (Requirement(key, "NotIn", (labels[key],)) for key in other or () if key in labels)
    return LabelSelector((*from_label_selector(selector).requirements, *own, *others))


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
