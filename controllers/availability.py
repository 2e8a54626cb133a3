"""When a pod counts as available: ready, and for minReadySeconds on end. Pure."""

from __future__ import annotations

from datetime import datetime

from lightkube.resources.core_v1 import Pod

from api import meta, pods


def seconds_until_available(pod: Pod, min_ready_seconds: int, now: datetime) -> float | None:
    """0 when the pod is available, None when it is not even ready."""
    if not pods.is_ready(pod):
        return None
    if min_ready_seconds <= 0:
        return 0.0
    condition = meta.get_condition(pod.status.conditions if pod.status else None, "Ready")
    since = condition.lastTransitionTime if condition else None
    if since is None:
        return float(min_ready_seconds)
    return max(0.0, min_ready_seconds - (now - since).total_seconds())
