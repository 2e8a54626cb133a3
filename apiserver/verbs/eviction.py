"""`pods/eviction`: a deletion that a PodDisruptionBudget may refuse.

https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/

Invariant: what a budget allows is taken from it, compare-and-swap, before the pod is deleted: evictions that race for
the last place do not both get it. The disruption controller counts anew afterwards.
"""

from __future__ import annotations

from typing import Any

from lightkube.models.meta_v1 import DeleteOptions, Preconditions, StatusCause, StatusDetails
from lightkube.models.policy_v1 import Eviction
from lightkube.resources.core_v1 import Pod
from lightkube.resources.policy_v1 import PodDisruptionBudget

from api import meta, pods, selectors
from api.errors import BadRequest, Forbidden, InternalError, TooManyRequests
from apiserver.http.responses import Response, success
from apiserver.registry.kind import Kind, Subresource
from apiserver.registry.store import ObjectStore, Stored
from apiserver.registry.write import Part, Write
from apiserver.verbs.call import Call
from apiserver.verbs.delete import with_options

MAX_DISRUPTED_PODS = 2000
"""So many evicted pods may be waiting to go before a budget gives no more places."""
MORE_THAN_ONE = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
SOON = 10
"""Seconds after which to try again where it is only the count that is not ready yet."""
ALWAYS_ALLOW = "AlwaysAllow"


async def create(call: Call) -> Response:
    decoded = call.read_as(Eviction)
    eviction: Eviction = decoded.obj
    given = eviction.metadata and eviction.metadata.name
    if given and given != call.name:
        raise BadRequest("name in URL does not match name in Eviction object")
    options = eviction.deleteOptions or DeleteOptions()
    write = with_options(call.write(), options)
    pod: Pod = call.kind.stored.model.decode(await call.stored())
    if not _needs_no_budget(pod):
        await _take_from_budget(call, pod, dry_run=write.dry_run)
        options.preconditions = options.preconditions or Preconditions(uid=meta.uid(pod))
    await call.store.delete(write, options)
    return success(201).warn(decoded.warnings)


def _needs_no_budget(pod: Pod) -> bool:
    """Pods that have ended, are going or never began serve nobody."""
    return pods.is_terminal(pod) or meta.is_terminating(pod) or pods.phase(pod) == "Pending"


async def _take_from_budget(call: Call, pod: Pod, *, dry_run: bool) -> None:
    """Take one place from the pod's budget, if it has one. Raises TooManyRequests when there is none left."""
    kind = call.backend.registry.find("policy", "v1", "poddisruptionbudgets")
    found = _budgets(call, pod, kind) if kind is not None else []
    if len(found) > 1:
        raise InternalError(MORE_THAN_ONE)
    if kind is None or not found or _is_worthless(pod, found[0]):
        return
    write = Write(
        call.backend, kind, call.namespace, meta.name(found[0]), subresource="status", part=Part.STATUS, dry_run=dry_run
    )
    await ObjectStore(kind, call.backend).update(write, lambda budget, current: spend(budget, current, meta.name(pod)))


def _budgets(call: Call, pod: Pod, kind: Kind) -> list[PodDisruptionBudget]:
    entries = call.backend.cache.list(kind.qualified, call.namespace)
    budgets = [kind.model.decode(entry.value) for entry in entries]
    labels = meta.labels(pod)
    return [each for each in budgets if each.spec and selectors.selects(each.spec.selector, labels)]


def _is_worthless(pod: Pod, budget: PodDisruptionBudget) -> bool:
    """Whether losing the pod costs the application nothing: it is not ready, and enough others are."""
    if pods.is_ready(pod):
        return False
    if budget.spec and budget.spec.unhealthyPodEvictionPolicy == ALWAYS_ALLOW:
        return True
    healthy, wanted = (budget.status.currentHealthy, budget.status.desiredHealthy) if budget.status else (0, 0)
    return 0 < (wanted or 0) <= (healthy or 0)


def spend(budget: Any, current: Stored, pod: str) -> Any:
    """The budget with one place less and the pod noted as about to go. Raises TooManyRequests and Forbidden."""
    status, name = budget.status, meta.name(budget)
    if status is None or (status.observedGeneration or 0) < (budget.metadata.generation or 0):
        raise _later(f"The disruption budget {name} is still being processed by the server.", seconds=SOON)
    if len(status.disruptedPods or {}) > MAX_DISRUPTED_PODS:
        why = "DisruptedPods map too big - too many evictions not confirmed by PDB controller"
        raise Forbidden.of(qualified="poddisruptionbudgets.policy", name=name, why=why)
    if status.disruptionsAllowed <= 0:
        raise _later(
            f"The disruption budget {name} needs {status.desiredHealthy} healthy pods and has "
            f"{status.currentHealthy} currently"
        )
    status.disruptionsAllowed -= 1
    status.disruptedPods = {**(status.disruptedPods or {}), pod: meta.now()}
    return budget


def _later(why: str, *, seconds: int | None = None) -> TooManyRequests:
    """Without seconds the client is not told to try again by itself, so that a person sees the reason."""
    cause = StatusCause(reason="DisruptionBudget", message=why)
    details = StatusDetails(causes=[cause], retryAfterSeconds=seconds)
    return TooManyRequests("Cannot evict pod as it would violate the pod's disruption budget.", details=details)


EVICTION = Subresource("eviction", {"create": create}, takes=Eviction)
