"""Taints and tolerations (https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/). Pure."""

from __future__ import annotations

from collections.abc import Iterable

from lightkube.models.core_v1 import Taint, Toleration


def tolerates(toleration: Toleration, taint: Taint) -> bool:
    """An empty key with Exists tolerates everything; an empty effect matches all effects."""
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    if toleration.operator == "Exists":
        return True
    return bool(toleration.key) and (toleration.value or "") == (taint.value or "")


def tolerated(taint: Taint, tolerations: Iterable[Toleration] | None) -> bool:
    """Whether any of the tolerations covers the taint."""
    return any(tolerates(each, taint) for each in tolerations or ())


def seconds_tolerated(taints: Iterable[Taint], tolerations: Iterable[Toleration] | None) -> float | None:
    """How long a pod may stay under NoExecute taints: 0 is not at all, None is for good.

    Of several tolerations for one taint the first counts, of several taints the one tolerated shortest.
    """
    shortest: float | None = None
    for taint in taints:
        match = next((each for each in tolerations or () if tolerates(each, taint)), None)
        if match is None:
            return 0.0
        if match.tolerationSeconds is not None:
            seconds = max(0.0, float(match.tolerationSeconds))
            shortest = seconds if shortest is None else min(shortest, seconds)
    return shortest
