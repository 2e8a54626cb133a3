"""How many replicas a HorizontalPodAutoscaler wants, from what pods use and ask for. Pure, up to the clock.

Kubernetes: replica_calculator.go and the behavior code of horizontal.go (pkg/controller/podautoscaler);
https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#algorithm-details

Pods that say nothing yet are counted so that they can only dampen a change: as idle when it goes up, as fully used
when it goes down.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from lightkube.models.autoscaling_v2 import HPAScalingPolicy, HPAScalingRules, MetricTarget
from lightkube.resources.core_v1 import Pod

from api import meta, pods, quantity

CPU_INITIALIZATION = timedelta(seconds=300)
"""How long after its start a pod's CPU counts only while it is Ready."""
INITIAL_READINESS = timedelta(seconds=30)
"""How long after its start a pod may become unready and still be starting."""
TOLERANCE = 0.1
DOWNSCALE_STABILIZATION_SECONDS = 300

UP = HPAScalingRules(
    stabilizationWindowSeconds=0,
    selectPolicy="Max",
    policies=[HPAScalingPolicy(15, "Pods", 4), HPAScalingPolicy(15, "Percent", 100)],
)
DOWN = HPAScalingRules(
    stabilizationWindowSeconds=DOWNSCALE_STABILIZATION_SECONDS,
    selectPolicy="Max",
    policies=[HPAScalingPolicy(15, "Percent", 100)],
)


class MetricError(Exception):
    """A metric that cannot be had; the text is for the ScalingActive condition."""


@dataclass(frozen=True, slots=True)
class PodUsage:
    """What one pod used: per container, thousandths of a core or bytes; measured over `window` until `at`."""

    containers: Mapping[str, int]
    at: datetime
    window: timedelta

    def of(self, container: str | None) -> int | None:
        return sum(self.containers.values()) if container is None else self.containers.get(container)


@dataclass(slots=True)
class Proposal:
    """Replicas by one metric, and the metric's present value as the status shows it."""

    replicas: int
    average: int
    utilization: int | None = None


@dataclass(slots=True)
class Groups:
    """Pods by what can be said of them. Deleted and failed ones are in none."""

    ready: list[Pod] = field(default_factory=list)
    unready: list[Pod] = field(default_factory=list)
    missing: list[Pod] = field(default_factory=list)


def group(owned: Iterable[Pod], usage: Mapping[str, PodUsage], resource: str, now: datetime) -> Groups:
    """`usage` is by pod name."""
    found = Groups()
    for pod in owned:
        if meta.is_terminating(pod) or pods.phase(pod) == "Failed":
            continue
        measured = usage.get(meta.name(pod))
        if pods.phase(pod) == "Pending":
            found.unready.append(pod)
        elif measured is None:
            found.missing.append(pod)
        elif resource == "cpu" and _is_starting(pod, measured, now):
            found.unready.append(pod)
        else:
            found.ready.append(pod)
    return found


def _is_starting(pod: Pod, measured: PodUsage, now: datetime) -> bool:
    """Whether the CPU used says more of the start than of the load."""
    condition = meta.get_condition(pod.status.conditions if pod.status else None, "Ready")
    started = pod.status.startTime if pod.status else None
    if condition is None or started is None or condition.lastTransitionTime is None:
        return True
    since = condition.lastTransitionTime
    if started + CPU_INITIALIZATION > now:
        return condition.status == "False" or measured.at < since + measured.window
    return condition.status == "False" and started + INITIAL_READINESS > since


def by_resource(
    current: int,
    target: MetricTarget,
    resource: str,
    owned: Sequence[Pod],
    usage: Mapping[str, PodUsage],
    *,
    now: datetime,
    container: str | None = None,
    tolerance: tuple[float, float] = (TOLERANCE, TOLERANCE),
) -> Proposal:
    """Replicas that bring the average of a resource to its target. `tolerance` is for going down and up.

    Raises MetricError where nothing was measured, or a pod asks for nothing that a utilisation could be a part of.
    """
    groups = group(owned, usage, resource, now)
    used = {meta.name(pod): usage[meta.name(pod)].of(container) for pod in groups.ready}
    measured = {name: value for name, value in used.items() if value is not None}
    if not measured:
        raise MetricError(
            f"failed to get {resource} utilization: did not receive metrics for targeted pods (pods might be unready)"
        )
    if target.type == "Utilization":
        wanted = target.averageUtilization or 0
        requests = {meta.name(pod): request(pod, resource, container) for pod in owned}
        asked = sum(requests[name] for name in measured)
        utilization: int | None = sum(measured.values()) * 100 // asked
        goals = {name: amount * wanted / 100 for name, amount in requests.items()}
        # A pod that does not answer is taken to be as busy as it asked to be, at the least.
        full = {name: amount * max(100, wanted) / 100 for name, amount in requests.items()}
    else:
        goal = amount_of(str(target.averageValue or "0"), resource)
        utilization, goals = None, {meta.name(pod): float(goal) for pod in owned}
        full = goals
    average = sum(measured.values()) // len(measured)
    values: dict[str, float] = dict(measured)
    ratio = _ratio(values, goals)
    raise_with_unready = bool(groups.unready) and ratio > 1
    if not raise_with_unready and not groups.missing:
        if _within(ratio, tolerance):
            return Proposal(current, average, utilization)
        return Proposal(_ceil(ratio * len(values)), average, utilization)
    if ratio < 1:
        values |= {meta.name(pod): full[meta.name(pod)] for pod in groups.missing}
    elif ratio > 1:
        values |= {meta.name(pod): 0.0 for pod in groups.missing}
    if raise_with_unready:
        values |= {meta.name(pod): 0.0 for pod in groups.unready}
    careful = _ratio(values, goals)
    replicas = _ceil(careful * len(values))
    turned = (ratio < 1 < careful) or (careful < 1 < ratio)
    overshot = (careful < 1 and replicas > current) or (careful > 1 and replicas < current)
    if _within(careful, tolerance) or turned or overshot:
        return Proposal(current, average, utilization)
    return Proposal(replicas, average, utilization)


def _ratio(values: Mapping[str, float], goals: Mapping[str, float]) -> float:
    together = sum(goals[name] for name in values)
    return sum(values.values()) / together if together else 0.0


def _within(ratio: float, tolerance: tuple[float, float]) -> bool:
    return 1 - tolerance[0] <= ratio <= 1 + tolerance[1]


def _ceil(value: float) -> int:
    """Rounded up, but not by the last bits of a float: 3.0000000000000004 pods are 3."""
    return math.ceil(round(value, 9))


def request(pod: Pod, resource: str, container: str | None) -> int:
    """What the pod (or one container of it) asks for. Raises MetricError where it asks for nothing."""
    total = 0
    for each in pod.spec.containers if pod.spec else []:
        if container is not None and each.name != container:
            continue
        text = ((each.resources and each.resources.requests) or {}).get(resource)
        if text is None:
            raise MetricError(f"missing request for {resource} in container {each.name} of Pod {meta.name(pod)}")
        total += amount_of(str(text), resource)
    return total


def amount_of(text: str, resource: str) -> int:
    """Thousandths of a core, or bytes."""
    return quantity.milli_cpu(text) if resource == "cpu" else quantity.bytes_(text)


# --- behavior: how fast, and how steady -------------------------------------------------------------------------


@dataclass(slots=True)
class Memory:
    """What one autoscaler said and did: (when, how many) recommended, and (when, by how many) scaled."""

    recommended: list[tuple[datetime, int]] = field(default_factory=list)
    raised: list[tuple[datetime, int]] = field(default_factory=list)
    lowered: list[tuple[datetime, int]] = field(default_factory=list)

    def forget(self, now: datetime, longest: timedelta) -> None:
        for each in (self.recommended, self.raised, self.lowered):
            each[:] = [entry for entry in each if now - entry[0] <= longest]


def rules(given: HPAScalingRules | None, default: HPAScalingRules) -> HPAScalingRules:
    if given is None:
        return default
    window = given.stabilizationWindowSeconds
    return HPAScalingRules(
        stabilizationWindowSeconds=default.stabilizationWindowSeconds if window is None else window,
        selectPolicy=given.selectPolicy or "Max",
        policies=given.policies or default.policies,
        tolerance=given.tolerance,
    )


def stabilized(
    wanted: int, current: int, memory: Memory, up: HPAScalingRules, down: HPAScalingRules, now: datetime
) -> int:
    """No more than the least, and no less than the most, that was recommended within the windows."""

    def within(seconds: int | None) -> list[int]:
        return [count for at, count in memory.recommended if (now - at).total_seconds() <= (seconds or 0)]

    ceiling = min([wanted, *within(up.stabilizationWindowSeconds)])
    floor = max([wanted, *within(down.stabilizationWindowSeconds)])
    memory.recommended.append((now, wanted))
    if ceiling > current:
        return ceiling
    return min(current, floor)


def paced(wanted: int, current: int, memory: Memory, up: HPAScalingRules, down: HPAScalingRules, now: datetime) -> int:
    """As far towards `wanted` as the policies allow within their periods."""
    if wanted > current:
        ceilings = [_ceiling(each, current, memory, now) for each in up.policies or []]
        if up.selectPolicy == "Disabled":
            return current
        best = min(ceilings) if up.selectPolicy == "Min" else max(ceilings)
        return min(wanted, max(best, current))
    if wanted < current:
        floors = [_floor(each, current, memory, now) for each in down.policies or []]
        if down.selectPolicy == "Disabled":
            return current
        best = max(floors) if down.selectPolicy == "Min" else min(floors)
        return max(wanted, min(best, current))
    return current


def _ceiling(policy: HPAScalingPolicy, current: int, memory: Memory, now: datetime) -> int:
    start = current - _changed(memory.raised, policy, now) + _changed(memory.lowered, policy, now)
    return start + policy.value if policy.type == "Pods" else _ceil(start * (1 + policy.value / 100))


def _floor(policy: HPAScalingPolicy, current: int, memory: Memory, now: datetime) -> int:
    start = current + _changed(memory.lowered, policy, now) - _changed(memory.raised, policy, now)
    return start - policy.value if policy.type == "Pods" else int(start * (1 - policy.value / 100))


def _changed(events: list[tuple[datetime, int]], policy: HPAScalingPolicy, now: datetime) -> int:
    return sum(count for at, count in events if (now - at).total_seconds() <= policy.periodSeconds)
