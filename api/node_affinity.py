"""Which nodes a pod asks for: nodeSelector and node affinity. Pure.

Kubernetes: https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#node-affinity. The scheduler
filters by it, and a DaemonSet asks it which nodes want a pod.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lightkube.models.core_v1 import NodeSelectorTerm, PodSpec

from api.selectors import Requirement, from_map


@dataclass(frozen=True, slots=True)
class NodeTerm:
    """One nodeSelectorTerm: all of its requirements must hold; an empty one matches nothing, as in Kubernetes."""

    labels: tuple[Requirement, ...] = ()
    fields: tuple[Requirement, ...] = ()

    @classmethod
    def of(cls, term: NodeSelectorTerm) -> NodeTerm:
        return cls(
            labels=tuple(Requirement(e.key, e.operator, tuple(e.values or ())) for e in term.matchExpressions or ()),
            fields=tuple(Requirement(e.key, e.operator, tuple(e.values or ())) for e in term.matchFields or ()),
        )

    def matches(self, name: str, labels: Mapping[str, str]) -> bool:
        """Whether the node called `name` with these labels is meant; the only field is metadata.name."""
        if not self.labels and not self.fields:
            return False
        fields = {"metadata.name": name}
        return all(each.matches(labels) for each in self.labels) and all(each.matches(fields) for each in self.fields)


def required_terms(spec: PodSpec) -> tuple[NodeTerm, ...] | None:
    """The terms of which one must match; None when the pod requires nothing."""
    affinity = spec.affinity.nodeAffinity if spec.affinity else None
    required = affinity.requiredDuringSchedulingIgnoredDuringExecution if affinity else None
    return None if required is None else tuple(NodeTerm.of(each) for each in required.nodeSelectorTerms)


def preferred_terms(spec: PodSpec) -> tuple[tuple[int, NodeTerm], ...]:
    """The terms that a node is liked for, each with its weight."""
    affinity = spec.affinity.nodeAffinity if spec.affinity else None
    preferred = (affinity.preferredDuringSchedulingIgnoredDuringExecution if affinity else None) or ()
    return tuple((each.weight, NodeTerm.of(each.preference)) for each in preferred)


def admits(spec: PodSpec, name: str, labels: Mapping[str, str]) -> bool:
    """Whether the pod may run on that node, as far as the node's name and labels go."""
    terms = required_terms(spec)
    return from_map(spec.nodeSelector).matches(labels) and (
        terms is None or any(term.matches(name, labels) for term in terms)
    )
