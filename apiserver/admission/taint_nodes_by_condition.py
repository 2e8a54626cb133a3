"""TaintNodesByCondition: a new node takes no pods until the node lifecycle controller has seen it Ready."""

from __future__ import annotations

from lightkube.models.core_v1 import NodeSpec, Taint

from apiserver.registry.plugin import Plugin
from apiserver.registry.write import Write

NOT_READY = "node.kubernetes.io/not-ready"


class TaintNodesByCondition(Plugin):
    """Taints a node that is being created."""

    async def admit(self, write: Write) -> None:
        if write.old is not None:
            return
        node = write.new
        node.spec = node.spec or NodeSpec()
        taints = node.spec.taints or []
        if not any((each.key, each.effect) == (NOT_READY, "NoSchedule") for each in taints):
            node.spec.taints = [*taints, Taint(key=NOT_READY, effect="NoSchedule")]
