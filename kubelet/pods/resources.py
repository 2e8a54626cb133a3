"""A container's resource requests and limits as kernel settings. Pure.

Kubernetes: requests become shares of the cpu, limits its quota and the memory limit; the quality of service decides
whom the kernel kills first (https://kubernetes.io/docs/tasks/configure-pod-container/quality-service-pod/).
"""

from __future__ import annotations

from lightkube.models.core_v1 import Container
from lightkube.resources.core_v1 import Pod

from api import quantity
from kubelet.runtime.base import Resources

MIN_CPU_SHARES = 2
SHARES_PER_CPU = 1024
CPU_PERIOD_MICROSECONDS = 100_000
MIN_CPU_QUOTA_MICROSECONDS = 1000

GUARANTEED_OOM_SCORE = -997
BEST_EFFORT_OOM_SCORE = 1000


def container_resources(pod: Pod, container: Container, *, node_memory_bytes: int) -> Resources:
    cpu_limit = _amount(container, "limits", "cpu")
    cpu_request = _amount(container, "requests", "cpu")
    shares = cpu_request if cpu_request is not None else cpu_limit
    return Resources(
        cpu_shares=max(MIN_CPU_SHARES, (shares or 0) * SHARES_PER_CPU // 1000),
        cpu_quota=max(MIN_CPU_QUOTA_MICROSECONDS, cpu_limit * CPU_PERIOD_MICROSECONDS // 1000) if cpu_limit else 0,
        memory_bytes=_amount(container, "limits", "memory") or 0,
        oom_score_adj=oom_score(pod, container, node_memory_bytes=node_memory_bytes),
    )


def qos_class(pod: Pod) -> str:
    """Guaranteed, Burstable or BestEffort."""
    assert pod.spec is not None
    containers = [*(pod.spec.initContainers or []), *pod.spec.containers]
    amounts = [
        (_amount(each, "requests", kind), _amount(each, "limits", kind)) for each in containers for kind in _KINDS
    ]
    if all(not request and not limit for request, limit in amounts):
        return "BestEffort"
    if all(limit and (request is None or request == limit) for request, limit in amounts):
        return "Guaranteed"
    return "Burstable"


def oom_score(pod: Pod, container: Container, *, node_memory_bytes: int) -> int:
    """From -997 (kept to the last) to 1000 (the first to go); more memory requested means safer."""
    quality = qos_class(pod)
    if quality == "Guaranteed":
        return GUARANTEED_OOM_SCORE
    if quality == "BestEffort":
        return BEST_EFFORT_OOM_SCORE
    request = _amount(container, "requests", "memory") or 0
    score = 1000 - 1000 * request // max(node_memory_bytes, 1)
    return min(max(score, 3), BEST_EFFORT_OOM_SCORE - 1)


_KINDS = ("cpu", "memory")


def _amount(container: Container, which: str, resource: str) -> int | None:
    """Thousandths of a core or bytes; None when not given."""
    values = getattr(container.resources, which) if container.resources else None
    text = (values or {}).get(resource)
    if text is None:
        return None
    return quantity.milli_cpu(str(text)) if resource == "cpu" else quantity.bytes_(str(text))
