"""When there is no room: which pods of lower priority must go, and where, so that a pod of higher priority can run.

Kubernetes: pkg/scheduler/framework/preemption and the DefaultPreemption plugin. Pure.

On each node that could take the pod without its less important ones, all of those are thought away, and then as many
as there is room for are let back in: first those whose budget their loss would break, then the more important ones.
Among the nodes the one with the least harm is chosen.

Invariant: the snapshot is left as it was found.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from lightkube.resources.core_v1 import Pod
from lightkube.resources.policy_v1 import PodDisruptionBudget

from api import meta, pods, selectors
from scheduler.facts import PodFacts
from scheduler.profile import Profile
from scheduler.snapshot import Snapshot

ENOUGH_CANDIDATES = 100
"""After so many nodes that would do, no more are looked at (kube-scheduler's minCandidateNodesAbsolute)."""
_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Candidate:
    """A node, and the pods that must leave it; `broken` of them cost their budget more than it allows."""

    node: str
    victims: tuple[Pod, ...]
    broken: int

    def harm(self) -> tuple[float, ...]:
        """Less is better: broken budgets, the most important victim, all of them, how many, how long they ran."""
        numbers = [priority(pod) for pod in self.victims]
        highest = max(numbers)
        since = min(_started(pod) for pod in self.victims if priority(pod) == highest)
        return (self.broken, highest, sum(number + 2**31 for number in numbers), len(numbers), -since.timestamp())


@dataclass
class Residents:
    """The pods on each node, and how many there are of each priority."""

    on_node: dict[str, dict[str, Pod]] = field(default_factory=dict)
    _numbers: dict[int, int] = field(default_factory=dict)

    def changed(self, old: Pod | None, new: Pod | None) -> None:
        for pod, sign in ((old, -1), (new, 1)):
            if pod is None or not pods.node_name(pod) or pods.is_terminal(pod):
                continue
            there = self.on_node.setdefault(pods.node_name(pod), {})
            if sign > 0:
                there[meta.uid(pod)] = pod
            else:
                there.pop(meta.uid(pod), None)
                if not there:
                    del self.on_node[pods.node_name(pod)]
            count = self._numbers[priority(pod)] = self._numbers.get(priority(pod), 0) + sign
            if not count:
                del self._numbers[priority(pod)]

    def any_below(self, number: int) -> bool:
        return any(each < number for each in self._numbers)

    def below(self, node: str, number: int) -> list[Pod]:
        """Pods on the node of less than that priority."""
        return [pod for pod in self.on_node.get(node, {}).values() if priority(pod) < number]


def priority(pod: Pod) -> int:
    return (pod.spec and pod.spec.priority) or 0


def may_preempt(pod: Pod) -> bool:
    return pod.spec is not None and pod.spec.preemptionPolicy != "Never"


def choose(
    pod: Pod,
    facts: PodFacts,
    nodes: Snapshot,
    residents: Residents,
    *,
    profile: Profile,
    budgets: Sequence[PodDisruptionBudget],
) -> Candidate | None:
    """The node where room is made with the least harm; None when no pod's leaving helps."""
    if facts.refused or not residents.any_below(priority(pod)):
        return None
    found: list[Candidate] = []
    for name in profile.may_be_emptied(facts, nodes):
        lower = residents.below(name, priority(pod))
        candidate = _on(name, lower, facts, nodes, profile, budgets) if lower else None
        if candidate is not None:
            found.append(candidate)
        if len(found) == ENOUGH_CANDIDATES:
            break
    return min(found, key=Candidate.harm, default=None)


def _on(
    node: str,
    lower: list[Pod],
    facts: PodFacts,
    nodes: Snapshot,
    profile: Profile,
    budgets: Sequence[PodDisruptionBudget],
) -> Candidate | None:
    gone = {meta.uid(pod) for pod in lower}
    if not _fits_without(gone, node, facts, nodes, profile):
        return None
    breaking = set(_breaking(sorted(lower, key=_importance), budgets))
    for pod in sorted(lower, key=lambda pod: (meta.uid(pod) not in breaking, *_importance(pod))):
        if _fits_without(gone - {meta.uid(pod)}, node, facts, nodes, profile):
            gone.discard(meta.uid(pod))
    victims = tuple(pod for pod in lower if meta.uid(pod) in gone)
    return Candidate(node, victims, broken=len(breaking & gone)) if victims else None


def _fits_without(gone: set[str], node: str, facts: PodFacts, nodes: Snapshot, profile: Profile) -> bool:
    with nodes.without(gone):
        return profile.fits(facts, nodes, nodes.nodes[node])


def _breaking(lower: Iterable[Pod], budgets: Sequence[PodDisruptionBudget]) -> Iterator[str]:
    """Those whose loss their budgets do not allow, if all went in this order."""
    left = {meta.key(each): (each.status.disruptionsAllowed if each.status else 0) or 0 for each in budgets}
    for pod in lower:
        for budget in budgets:
            if _covers(budget, pod):
                left[meta.key(budget)] -= 1
                if left[meta.key(budget)] < 0:
                    yield meta.uid(pod)


def _covers(budget: PodDisruptionBudget, pod: Pod) -> bool:
    if meta.namespace(budget) != meta.namespace(pod) or budget.spec is None:
        return False
    evicted = (budget.status and budget.status.disruptedPods) or {}
    return meta.name(pod) not in evicted and selectors.selects(budget.spec.selector, meta.labels(pod))


def _importance(pod: Pod) -> tuple[float, float]:
    """The more important first: by priority, then by how long it has run."""
    return -priority(pod), _started(pod).timestamp()


def _started(pod: Pod) -> datetime:
    return (pod.status and pod.status.startTime) or _NEVER
