"""How many replicas each ReplicaSet of a Deployment should have next. Pure.

Kubernetes: pkg/controller/deployment/rolling.go and sync.go. Each function looks at the world as it is and gives the
next step; none remembers anything, so a rollout goes on wherever it was interrupted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lightkube.resources.apps_v1 import Deployment, ReplicaSet

from api import meta
from controllers.templates import MAX_REPLICAS, age, revision

DEFAULT_PERCENT = "25%"
Scales = dict[str, int]
"""ReplicaSet name -> wanted spec.replicas, only for those that should change."""


@dataclass(frozen=True)
class Limits:
    """How far a rollout may go beyond, and fall short of, the wanted number."""

    wanted: int
    surge: int
    unavailable: int

    @property
    def most(self) -> int:
        return self.wanted + self.surge

    @property
    def least_available(self) -> int:
        return self.wanted - self.unavailable


def is_recreate(deployment: Deployment) -> bool:
    strategy = deployment.spec.strategy if deployment.spec else None
    return strategy is not None and strategy.type == "Recreate"


def wanted_replicas(deployment: Deployment) -> int:
    replicas = deployment.spec.replicas if deployment.spec else None
    return 1 if replicas is None else replicas


def limits(deployment: Deployment) -> Limits:
    """maxSurge rounds up, maxUnavailable down; if both come to 0 one pod may be missing, or nothing would move."""
    wanted = wanted_replicas(deployment)
    if is_recreate(deployment):
        return Limits(wanted, 0, wanted)
    strategy = deployment.spec.strategy if deployment.spec else None
    rolling = strategy.rollingUpdate if strategy else None
    surge = resolve(rolling.maxSurge if rolling else None, wanted, default=DEFAULT_PERCENT, up=True)
    unavailable = resolve(rolling.maxUnavailable if rolling else None, wanted, default=DEFAULT_PERCENT, up=False)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return Limits(wanted, surge, min(unavailable, wanted))


def resolve(value: int | str | None, total: int, *, default: int | str, up: bool) -> int:
    """An absolute number, or a percentage of the total."""
    text = str(default if value is None else value)
    if not text.endswith("%"):
        return int(text)
    hundredths = int(text[:-1]) * total
    return -(-hundredths // 100) if up else hundredths // 100


def replicas_of(replica_set: ReplicaSet) -> int:
    replicas = replica_set.spec.replicas if replica_set.spec else None
    return 1 if replicas is None else replicas


def available_of(replica_set: ReplicaSet) -> int:
    """Never more than what is wanted now: a status may lag behind a scale-down."""
    available = (replica_set.status and replica_set.status.availableReplicas) or 0
    return min(available, replicas_of(replica_set))


def total_replicas(sets: Sequence[ReplicaSet]) -> int:
    return sum(replicas_of(each) for each in sets)


def active(sets: Sequence[ReplicaSet]) -> list[ReplicaSet]:
    return [each for each in sets if replicas_of(each) > 0]


def scale_new(limit: Limits, new: ReplicaSet, others: Sequence[ReplicaSet], *, recreate: bool = False) -> int:
    """The replicas the current ReplicaSet may have now."""
    present = replicas_of(new)
    if recreate or present >= limit.wanted:
        return limit.wanted
    room = limit.most - present - total_replicas(others)
    return present + max(0, min(room, limit.wanted - present))


def scale_old(limit: Limits, new: ReplicaSet | None, old: Sequence[ReplicaSet]) -> Scales:
    """What may be taken from the old ReplicaSets without falling short: first what is not available anyway."""
    present = replicas_of(new) if new is not None else 0
    not_yet = present - (available_of(new) if new is not None else 0)
    spare = present + total_replicas(old) - limit.least_available - not_yet
    if spare <= 0:
        return {}
    sizes = {meta.name(each): replicas_of(each) for each in old}
    healthy = {meta.name(each): available_of(each) for each in old}
    oldest_first = [meta.name(each) for each in sorted(old, key=age)]
    for name in oldest_first:  # pods that serve nobody go first
        less = min(spare, sizes[name] - healthy[name])
        sizes[name] -= less
        spare -= less
    available = sum(healthy.values()) + (available_of(new) if new is not None else 0)
    spare = min(spare, available - limit.least_available)
    for name in oldest_first:
        less = max(0, min(spare, sizes[name]))
        sizes[name] -= less
        spare -= less
    return {meta.name(each): sizes[meta.name(each)] for each in old if sizes[meta.name(each)] != replicas_of(each)}


def scale_proportionally(limit: Limits, sets: Sequence[ReplicaSet]) -> Scales:
    """A Deployment scaled in the middle of a rollout: every active ReplicaSet gets its share of the difference.

    Shares follow from each one's size against the size the Deployment had then (its max-replicas annotation);
    what rounding leaves over goes to the largest.
    """
    running = active(sets)
    allowed = limit.most if limit.wanted > 0 else 0
    to_add = allowed - total_replicas(running)
    largest_first = sorted(running, key=lambda each: (-replicas_of(each), _tie(each, growing=to_add > 0)))
    sizes: Scales = {}
    added = 0
    for each in largest_first:
        share = _share(each, limit, to_add - added) if to_add else 0
        sizes[meta.name(each)] = replicas_of(each) + share
        added += share
    if largest_first:
        first = meta.name(largest_first[0])
        sizes[first] = max(0, sizes[first] + to_add - added)
    return {meta.name(each): sizes[meta.name(each)] for each in running if sizes[meta.name(each)] != replicas_of(each)}


def _tie(replica_set: ReplicaSet, *, growing: bool) -> tuple[float, str]:
    """Among equals the newest grows first and the oldest shrinks first."""
    created, name = age(replica_set)
    return (-created if growing else created, name)


def _share(replica_set: ReplicaSet, limit: Limits, remaining: int) -> int:
    """The part of the difference for one ReplicaSet, never beyond what remains to be given or taken."""
    present = replicas_of(replica_set)
    if limit.wanted == 0:
        return -present
    try:
        former = int(meta.annotations(replica_set)[MAX_REPLICAS])
    except (KeyError, ValueError):
        former = 0
    # Without the annotation the status is the best guess at the size the Deployment had.
    former = former or limit.most
    fraction = math.floor(present * limit.most / former + 0.5) - present
    return min(fraction, remaining) if remaining > 0 else max(fraction, remaining)


def to_clean_up(sets: Sequence[ReplicaSet], history: int) -> list[ReplicaSet]:
    """Old, empty ReplicaSets beyond revisionHistoryLimit; the earliest revisions go first."""
    surplus = len(sets) - history
    if surplus <= 0:
        return []
    earliest_first = sorted(sets, key=lambda each: (revision(each), age(each)))
    return [each for each in earliest_first[:surplus] if _is_empty(each)]


def _is_empty(replica_set: ReplicaSet) -> bool:
    status = replica_set.status
    generation = meta.metadata(replica_set).generation or 0
    observed = (status and status.observedGeneration) or 0
    idle = replicas_of(replica_set) == 0 and not (status and status.replicas)
    return idle and observed >= generation and not meta.is_terminating(replica_set)
