"""DefaultTolerationSeconds: how long a pod stays bound to a node that is not ready or cannot be reached."""

from __future__ import annotations

from typing import Any

from lightkube.models.core_v1 import Toleration

from apiserver.backend import Config

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"


def admit(pod: Any, config: Config) -> None:
    """Add the two tolerations a pod does not have yet."""
    if pod.spec is None:
        return
    wanted = {NOT_READY: config.not_ready_toleration_seconds, UNREACHABLE: config.unreachable_toleration_seconds}
    present = pod.spec.tolerations or []
    added = [
        Toleration(key=key, operator="Exists", effect="NoExecute", tolerationSeconds=seconds)
        for key, seconds in wanted.items()
        if not any(_covers(each, key) for each in present)
    ]
    if added:
        pod.spec.tolerations = [*present, *added]


def _covers(toleration: Toleration, key: str) -> bool:
    return toleration.key in (key, None, "") and toleration.effect in ("NoExecute", None, "")
