"""TaintNodesByCondition: a new node takes no pods until the node lifecycle controller has seen it Ready."""

from __future__ import annotations

from lightkube.models.core_v1 import NodeSpec, Taint
from lightkube.resources.core_v1 import Node

NOT_READY = "node.kubernetes.io/not-ready"


def admit(node: Node) -> None:
    """Taint a node that is being created."""
    node.spec = node.spec or NodeSpec()
    taints = node.spec.taints or []
    if not any((each.key, each.effect) == (NOT_READY, "NoSchedule") for each in taints):
        node.spec.taints = [*taints, Taint(key=NOT_READY, effect="NoSchedule")]
