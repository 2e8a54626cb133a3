"""DefaultTolerationSeconds: how long a pod stays bound to a node that is not ready or cannot be reached."""

from __future__ import annotations

from lightkube.models.core_v1 import Toleration

from apiserver.registry.plugin import Plugin
from apiserver.registry.write import Part, Write

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"


class DefaultTolerationSeconds(Plugin):
    """Adds the two tolerations a pod does not have yet."""

    async def admit(self, write: Write) -> None:
        spec, config = write.new.spec, write.backend.config
        if spec is None or write.part is not Part.OBJECT:
            return
        wanted = {NOT_READY: config.not_ready_toleration_seconds, UNREACHABLE: config.unreachable_toleration_seconds}
        present = spec.tolerations or []
        added = [
            Toleration(key=key, operator="Exists", effect="NoExecute", tolerationSeconds=seconds)
            for key, seconds in wanted.items()
            if not any(_covers(each, key) for each in present)
        ]
        if added:
            spec.tolerations = [*present, *added]


def _covers(toleration: Toleration, key: str) -> bool:
    return toleration.key in (key, None, "") and toleration.effect in ("NoExecute", None, "")
