"""PodDisruptionBudget -> its status: how many pods may be evicted now. The eviction subresource spends what it says.

Kubernetes: pkg/controller/disruption.

Invariants
- A pod that was evicted and is still there counts as unhealthy, until it goes or two minutes have passed without it
  going: then whoever wanted it evicted has failed.
- On any doubt (a controller without a known number of replicas) nothing is allowed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

from lightkube.models.meta_v1 import Condition
from lightkube.models.policy_v1 import PodDisruptionBudgetStatus
from lightkube.resources.apps_v1 import Deployment, ReplicaSet, StatefulSet
from lightkube.resources.core_v1 import Pod, ReplicationController
from lightkube.resources.policy_v1 import PodDisruptionBudget

from api import meta, pods, selectors
from controllers import writes
from controllers.manager import Manager
from controllers.rollout import resolve

DELETION_TIMEOUT = timedelta(minutes=2)
"""How long an evicted pod may take to begin its end."""
SCALED = (Deployment, ReplicaSet, ReplicationController, StatefulSet)

Scale = Callable[[Pod], tuple[str, int] | None]
"""The uid of what controls a pod, and how many pods it wants; None for a pod on its own. Raises Unknown."""


class Unknown(Exception):
    """Nobody can say how many pods there should be."""


class DisruptionController:
    """Keeps the status of every budget."""

    def __init__(self, manager: Manager, *, workers: int = 4) -> None:
        self._client = manager.client
        self._events = manager.recorder("controllermanager")
        self._budgets = manager.informer(PodDisruptionBudget)
        self._pods = manager.informer(Pod)
        self._scaled = {kind.__name__: manager.informer(kind) for kind in SCALED}
        self._loop = manager.controller("disruption", self.reconcile, workers=workers)
        self._budgets.on_change(lambda old, new: self._loop.enqueue(meta.key(new or old)) if new else None)
        self._pods.on_change(self._pod_changed)
        for informer in self._scaled.values():
            informer.on_change(self._scale_changed)

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        changed = [pod for pod in (old, new) if pod is not None]
        for budget in self._budgets.list(namespace=meta.namespace(changed[0])):
            if any(covers(budget, pod) for pod in changed):
                self._loop.enqueue(meta.key(budget))

    def _scale_changed(self, old: Any, new: Any) -> None:
        if old is None or new is None or old.spec.replicas != new.spec.replicas:
            for budget in self._budgets.list(namespace=meta.namespace(new or old)):
                self._loop.enqueue(meta.key(budget))

    async def reconcile(self, key: str) -> None:
        budget = self._budgets.get(key)
        if budget is None or budget.spec is None:
            return
        covered = [pod for pod in self._pods.list(namespace=meta.namespace(budget)) if covers(budget, pod)]
        if not covered:
            self._events.event(budget, "Normal", "NoPods", "No matching pods found")
        now = meta.now()
        try:
            wanted, again = status_of(budget, covered, self._scale, now)
        except Unknown as unknown:
            self._events.event(budget, "Warning", "CalculateExpectedPodCountFailed", str(unknown))
            wanted, again = failed(budget, str(unknown)), None
        if again is not None:
            self._loop.enqueue_after(key, max(again, 0.1))
        if wanted != budget.status:
            changed = meta.clone(budget)
            changed.status = wanted
            await writes.put_status(self._client, changed)

    def _scale(self, pod: Pod) -> tuple[str, int] | None:
        reference = meta.controller_of(pod)
        if reference is None:
            return None
        found = self._owner(reference, meta.namespace(pod))
        above = meta.controller_of(found) if isinstance(found, ReplicaSet) else None
        if above is not None:
            found = self._owner(above, meta.namespace(pod)) or found
        if found is None:
            raise Unknown(f'found no controllers for pod "{meta.name(pod)}"')
        return meta.uid(found), 1 if found.spec.replicas is None else found.spec.replicas

    def _owner(self, reference: Any, namespace: str) -> Any:
        informer = self._scaled.get(reference.kind)
        found = informer.get(f"{namespace}/{reference.name}") if informer is not None else None
        return found if found is not None and meta.uid(found) == reference.uid else None


def covers(budget: PodDisruptionBudget, pod: Pod) -> bool:
    return selectors.selects(budget.spec.selector if budget.spec else None, meta.labels(pod))


def status_of(
    budget: PodDisruptionBudget, covered: list[Pod], scale: Scale, now: datetime
) -> tuple[PodDisruptionBudgetStatus, float | None]:
    """The status as it should be, and after how many seconds it must be looked at again."""
    expected, desired = _numbers(budget, covered, scale)
    disrupted, again = _still_going(budget, covered, now)
    healthy = sum(1 for pod in covered if pods.is_ready(pod) and not _is_going(pod, disrupted))
    allowed = max(healthy - desired, 0) if expected > 0 else 0
    status = PodDisruptionBudgetStatus(
        currentHealthy=healthy,
        desiredHealthy=desired,
        disruptionsAllowed=allowed,
        expectedPods=expected,
        disruptedPods=disrupted or None,
        observedGeneration=meta.metadata(budget).generation,
        conditions=_conditions(budget),
    )
    reason = "SufficientPods" if allowed > 0 else "InsufficientPods"
    _set_allowed(status, budget, is_allowed=allowed > 0, reason=reason, message="")
    return status, again


def failed(budget: PodDisruptionBudget, why: str) -> PodDisruptionBudgetStatus:
    """The present status, with nothing allowed any more (Kubernetes fails safe here)."""
    status = (
        meta.clone(budget.status)
        if budget.status
        else PodDisruptionBudgetStatus(currentHealthy=0, desiredHealthy=0, disruptionsAllowed=0, expectedPods=0)
    )
    status.disruptionsAllowed = 0
    status.observedGeneration = meta.metadata(budget).generation
    status.conditions = _conditions(budget)
    _set_allowed(status, budget, is_allowed=False, reason="SyncFailed", message=why)
    return status


def _numbers(budget: PodDisruptionBudget, covered: list[Pod], scale: Scale) -> tuple[int, int]:
    """How many pods there should be, and how many of them healthy."""
    spec = budget.spec
    assert spec is not None
    if spec.maxUnavailable is not None:
        expected = _expected(covered, scale)
        return expected, max(expected - resolve(spec.maxUnavailable, expected, default=0, up=True), 0)
    if isinstance(spec.minAvailable, str):
        expected = _expected(covered, scale)
        return expected, resolve(spec.minAvailable, expected, default=0, up=True)
    return len(covered), spec.minAvailable or 0


def _expected(covered: Iterable[Pod], scale: Scale) -> int:
    return sum(dict(found for pod in covered if (found := scale(pod)) is not None).values())


def _still_going(
    budget: PodDisruptionBudget, covered: list[Pod], now: datetime
) -> tuple[dict[str, datetime], float | None]:
    """Evicted pods whose end has not begun, and the seconds until the first of them is given up."""
    noted = (budget.status and budget.status.disruptedPods) or {}
    waiting = {meta.name(pod) for pod in covered if not meta.is_terminating(pod)}
    left = {name: at for name, at in noted.items() if name in waiting and at + DELETION_TIMEOUT > now}
    waits = [(at + DELETION_TIMEOUT - now).total_seconds() for at in left.values()]
    return left, min(waits, default=None)


def _is_going(pod: Pod, disrupted: dict[str, datetime]) -> bool:
    return meta.is_terminating(pod) or meta.name(pod) in disrupted


def _conditions(budget: PodDisruptionBudget) -> list[Condition]:
    return [meta.clone(each) for each in (budget.status and budget.status.conditions) or []]


def _set_allowed(
    status: PodDisruptionBudgetStatus, budget: PodDisruptionBudget, *, is_allowed: bool, reason: str, message: str
) -> None:
    condition = Condition(
        type="DisruptionAllowed",
        status="True" if is_allowed else "False",
        reason=reason,
        message=message,
        lastTransitionTime=meta.now(),
        observedGeneration=meta.metadata(budget).generation,
    )
    assert status.conditions is not None
    meta.set_condition(status.conditions, condition)
