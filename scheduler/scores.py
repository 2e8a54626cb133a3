"""How well a pod would be placed on a node: higher is better. Pure.

The plugins and weights of kube-scheduler, but each score (0 to 100) depends on its node alone: Kubernetes divides
by the highest of all nodes, which would make a change on one node change the scores of all.
"""

from __future__ import annotations

from collections.abc import Callable

from api.taints import tolerated
from scheduler.facts import PodFacts
from scheduler.snapshot import NodeInfo

Score = Callable[[PodFacts, NodeInfo], float]

BEST = 100.0


def taint_toleration(pod: PodFacts, node: NodeInfo) -> float:
    """Nodes whose PreferNoSchedule taints the pod does not tolerate come last."""
    disliked = sum(not tolerated(taint, pod.tolerations) for taint in node.soft_taints)
    return BEST / (1 + disliked)


def node_affinity(pod: PodFacts, node: NodeInfo) -> float:
    """The share of the preferred terms, by weight, that the node matches."""
    total = sum(weight for weight, _ in pod.preferred_terms)
    if not total:
        return 0.0
    return BEST * sum(weight for weight, term in pod.preferred_terms if term.matches(node.name, node.labels)) / total


def spreading(pod: PodFacts, node: NodeInfo) -> float:
    """Pods of one controller (or with equal labels) go to different nodes first."""
    return BEST / (1 + node.groups.get(pod.group, 0))


def least_allocated(pod: PodFacts, node: NodeInfo) -> float:
    """The share that would stay free, of cpu and memory on average."""
    cpu, memory = _fractions(pod, node)
    return BEST * (1 - (cpu + memory) / 2)


def balanced_allocation(pod: PodFacts, node: NodeInfo) -> float:
    """Cpu and memory should fill up together."""
    cpu, memory = _fractions(pod, node)
    return BEST * (1 - abs(cpu - memory) / 2)


def _fractions(pod: PodFacts, node: NodeInfo) -> tuple[float, float]:
    cpu = (node.scored_cpu_milli + pod.scored_cpu_milli) / node.cpu_milli if node.cpu_milli else 1.0
    memory = (node.scored_memory_bytes + pod.scored_memory_bytes) / node.memory_bytes if node.memory_bytes else 1.0
    return min(cpu, 1.0), min(memory, 1.0)


WEIGHTS: tuple[tuple[float, Score], ...] = (
    (3, taint_toleration),
    (2, node_affinity),
    (2, spreading),
    (1, least_allocated),
    (1, balanced_allocation),
)


def score(pod: PodFacts, node: NodeInfo) -> float:
    """The weighted sum."""
    return sum(weight * each(pod, node) for weight, each in WEIGHTS)
