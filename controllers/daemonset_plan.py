"""Which nodes a DaemonSet wants a pod on, and which pods it replaces next. Pure, up to the clock.

Kubernetes: pkg/controller/daemon (daemon_controller.go, update.go);
https://kubernetes.io/docs/concepts/workloads/controllers/daemonset/

A pod is pinned to its node by node affinity and bound by the scheduler, so that what the scheduler knows (ports,
resources, preemption) holds for it, too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from lightkube.models.apps_v1 import DaemonSetSpec, DaemonSetStatus
from lightkube.models.core_v1 import (
    Affinity,
    NodeAffinity,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    PodSpec,
    Taint,
    Toleration,
)
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import DaemonSet
from lightkube.resources.core_v1 import Node, Pod

from api import meta, node_affinity, pods
from api.taints import tolerated
from controllers.availability import seconds_until_available
from controllers.history import REVISION_LABEL
from controllers.rollout import resolve

TOLERATED = (
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
)
"""What a daemon's pod endures whatever its template says."""

NETWORK_UNAVAILABLE = ("node.kubernetes.io/network-unavailable", "NoSchedule")


@dataclass(slots=True)
class Actions:
    """Nodes to create a pod for, and pods to delete."""

    create: list[str] = field(default_factory=list)
    delete: list[Pod] = field(default_factory=list)
    failed: list[Pod] = field(default_factory=list)
    """Of the deleted ones, those that had failed: another is started later, not at once."""


def tolerations(spec: PodSpec) -> list[Toleration]:
    added = [*TOLERATED, *([NETWORK_UNAVAILABLE] if spec.hostNetwork else [])]
    present = {(each.key, each.operator, each.effect) for each in spec.tolerations or []}
    return [
        *(spec.tolerations or []),
        *(
            Toleration(key=key, operator="Exists", effect=effect)
            for key, effect in added
            if (key, "Exists", effect) not in present
        ),
    ]


def wants(daemon_set: DaemonSet, node: Node) -> tuple[bool, bool]:
    """Whether a pod should start on the node, and whether one that is there may stay."""
    spec = (daemon_set.spec and daemon_set.spec.template.spec) or PodSpec(containers=[])
    if spec.nodeName and spec.nodeName != meta.name(node):
        return False, False
    if not node_affinity.admits(spec, meta.name(node), meta.labels(node)):
        return False, False
    endured = tolerations(spec)
    hard = [taint for taint in _taints(node) if taint.effect in ("NoSchedule", "NoExecute")]
    starts = all(tolerated(taint, endured) for taint in hard)
    return starts, all(tolerated(taint, endured) for taint in hard if taint.effect == "NoExecute")


def _taints(node: Node) -> list[Taint]:
    return (node.spec and node.spec.taints) or []


def node_of(pod: Pod) -> str:
    """The node a pod is on, or is pinned to while it waits for the scheduler."""
    if pods.node_name(pod):
        return pods.node_name(pod)
    terms = node_affinity.required_terms(pod.spec) if pod.spec else None
    for term in terms or ():
        for requirement in term.fields:
            if requirement.key == "metadata.name" and requirement.operator == "In" and len(requirement.values) == 1:
                return requirement.values[0]
    return ""


def by_node(owned: list[Pod]) -> dict[str, list[Pod]]:
    found: dict[str, list[Pod]] = {}
    for pod in owned:
        found.setdefault(node_of(pod), []).append(pod)
    return found


def place(daemon_set: DaemonSet, nodes: list[Node], owned: list[Pod], revision: str, now: datetime) -> Actions:
    """One pod for each node that wants one, none anywhere else; a surging node may have an old and a new one."""
    actions, placed = Actions(), by_node(owned)
    spec = daemon_set.spec
    assert spec is not None
    surges = limits(spec, len(nodes))[1] > 0
    for node in nodes:
        here = placed.pop(meta.name(node), [])
        starts, stays = wants(daemon_set, node)
        if starts and not here:
            actions.create.append(meta.name(node))
        elif not stays:
            actions.delete += [pod for pod in here if not meta.is_terminating(pod)]
        elif here:
            _sort_out(spec, here, actions, revision=revision, surges=surges, now=now)
    # Pods of nodes that are no more; the ones bound there go with the node (the pod collector's work), the others here.
    actions.delete += [
        pod for rest in placed.values() for pod in rest if not pods.node_name(pod) and not meta.is_terminating(pod)
    ]
    return actions


def _sort_out(
    spec: DaemonSetSpec, here: list[Pod], actions: Actions, *, revision: str, surges: bool, now: datetime
) -> None:
    """Failed pods go; of several that run the oldest stays, or with a surge the oldest of each revision."""
    running = []
    for pod in here:
        if meta.is_terminating(pod):
            continue
        if pods.is_terminal(pod):
            actions.delete.append(pod)
            if pods.phase(pod) == "Failed":
                actions.failed.append(pod)
        else:
            running.append(pod)
    running.sort(key=lambda pod: (not pods.node_name(pod), _created(pod), meta.name(pod)))
    new = [pod for pod in running if meta.labels(pod).get(REVISION_LABEL) == revision]
    old = [pod for pod in running if pod not in new]
    if not surges or not (new and old):
        actions.delete += running[1:]
    elif seconds_until_available(new[0], spec.minReadySeconds or 0, now) == 0:
        actions.delete += [*old, *new[1:]]
    else:
        actions.delete += [*old[1:], *new[1:]]


def _created(pod: Pod) -> float:
    created = meta.metadata(pod).creationTimestamp
    return created.timestamp() if created else 0.0


def limits(spec: DaemonSetSpec, wanted: int) -> tuple[int, int]:
    """How many nodes may be without a working pod, and how many may have one too many, during an update."""
    rolling = spec.updateStrategy.rollingUpdate if spec.updateStrategy else None
    unavailable = resolve(rolling.maxUnavailable if rolling else None, wanted, default=1, up=True)
    surge = resolve(rolling.maxSurge if rolling else None, wanted, default=0, up=True)
    return (unavailable, surge) if unavailable or surge else (1, 0)


def update(daemon_set: DaemonSet, nodes: list[Node], owned: list[Pod], revision: str, now: datetime) -> Actions:
    """RollingUpdate: replace pods of old revisions, as many at once as the limits allow."""
    spec, actions = daemon_set.spec, Actions()
    assert spec is not None
    wanted = [node for node in nodes if wants(daemon_set, node)[0]]
    unavailable, surge = limits(spec, len(wanted))
    placed, candidates = by_node(owned), []
    for node in wanted:
        here = [pod for pod in placed.get(meta.name(node), []) if not pods.is_terminal(pod)]
        old = [pod for pod in here if meta.labels(pod).get(REVISION_LABEL) != revision]
        works = any(_available(spec, pod, now) for pod in here)
        if surge:
            surge -= len(here) > 1
            if len(here) == len(old) == 1 and not meta.is_terminating(old[0]):
                candidates.append((works, meta.name(node), old[0]))
            continue
        if not works:
            # What does not work anyway is replaced without waiting.
            actions.delete += [pod for pod in old if not meta.is_terminating(pod)]
            unavailable -= 1
        elif old:
            candidates.append((works, meta.name(node), old[0]))
    if limits(spec, len(wanted))[1]:
        actions.create += [name for _, name, _ in candidates[: max(0, surge)]]
    else:
        actions.delete += [pod for _, _, pod in candidates[: max(0, unavailable)]]
    return actions


def _available(spec: DaemonSetSpec, pod: Pod, now: datetime) -> bool:
    return not meta.is_terminating(pod) and seconds_until_available(pod, spec.minReadySeconds or 0, now) == 0


def status_of(
    daemon_set: DaemonSet, nodes: list[Node], owned: list[Pod], revision: str, now: datetime
) -> DaemonSetStatus:
    spec, placed = daemon_set.spec, by_node(owned)
    assert spec is not None
    status = DaemonSetStatus(0, 0, 0, 0)
    ready = available = updated = 0
    for node in nodes:
        here = [pod for pod in placed.get(meta.name(node), []) if not pods.is_terminal(pod)]
        if not wants(daemon_set, node)[0]:
            status.numberMisscheduled += bool(here)
            continue
        status.desiredNumberScheduled += 1
        if not here:
            continue
        status.currentNumberScheduled += 1
        ready += any(pods.is_ready(pod) for pod in here)
        available += any(_available(spec, pod, now) for pod in here)
        updated += any(meta.labels(pod).get(REVISION_LABEL) == revision for pod in here)
    status.numberReady, status.numberAvailable = ready, available or None
    status.numberUnavailable = status.desiredNumberScheduled - available or None
    status.updatedNumberScheduled = updated or None
    status.observedGeneration = meta.metadata(daemon_set).generation
    status.collisionCount = daemon_set.status.collisionCount if daemon_set.status else None
    return status


def pod_from(daemon_set: DaemonSet, node: str, revision: str) -> Pod:
    """The pod of one node. Node affinity of the template gives way to the pin: it was judged when the node was."""
    assert daemon_set.spec is not None
    template = meta.clone(daemon_set.spec.template)
    given, spec = template.metadata or ObjectMeta(), template.spec or PodSpec(containers=[])
    pin = NodeSelectorTerm(matchFields=[NodeSelectorRequirement("metadata.name", "In", [node])])
    spec.affinity = spec.affinity or Affinity()
    preferred = spec.affinity.nodeAffinity
    spec.affinity.nodeAffinity = NodeAffinity(
        preferredDuringSchedulingIgnoredDuringExecution=(
            preferred.preferredDuringSchedulingIgnoredDuringExecution if preferred else None
        ),
        requiredDuringSchedulingIgnoredDuringExecution=NodeSelector(nodeSelectorTerms=[pin]),
    )
    spec.tolerations = tolerations(spec)
    return Pod(
        metadata=ObjectMeta(
            generateName=f"{meta.name(daemon_set)}-",
            namespace=meta.namespace(daemon_set),
            labels={**(given.labels or {}), REVISION_LABEL: revision},
            annotations=given.annotations,
            finalizers=given.finalizers,
            ownerReferences=[meta.owner_reference(daemon_set)],
        ),
        spec=spec,
    )
