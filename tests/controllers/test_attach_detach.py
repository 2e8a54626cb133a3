"""When a volume has to stay at a node."""

from __future__ import annotations

import pytest
from lightkube.models.core_v1 import NodeCondition, NodeSpec, NodeStatus, PodCondition, PodSpec, PodStatus, Taint
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Node, Pod

from api import meta
from controllers.attach_detach import is_lost, is_needed


def node(ready: str = "True", *, taint: str = "") -> Node:
    taints = [Taint("NoExecute", f"node.kubernetes.io/{taint}")] if taint else None
    status = NodeStatus(conditions=[NodeCondition(ready, "Ready")])
    return Node(metadata=ObjectMeta(name="n"), spec=NodeSpec(taints=taints), status=status)


def pod(phase: str = "Running", *, leaving: bool = False, sandbox: bool = True) -> Pod:
    metadata = ObjectMeta(name="p", deletionTimestamp=meta.now() if leaving else None)
    conditions = [PodCondition(str(sandbox), "PodReadyToStartContainers")]
    return Pod(metadata=metadata, spec=PodSpec([], nodeName="n"), status=PodStatus(phase=phase, conditions=conditions))


@pytest.mark.parametrize(
    ("found", "lost"),
    [
        (node(), False),
        (node("Unknown"), False),  # its pods are not given up yet
        (node("Unknown", taint="unreachable"), True),
        (node("False", taint="not-ready"), True),
        (node("Unknown", taint="out-of-service"), True),
        (node(taint="unreachable"), False),  # it is back
        (node(taint="of-a-user"), False),
        (None, True),
    ],
)
def test_which_nodes_are_lost(found: Node | None, lost: bool) -> None:
    assert is_lost(found) is lost


GONE = node("Unknown", taint="unreachable")


@pytest.mark.parametrize(
    ("users", "at", "needed"),
    [
        ([pod()], node(), True),
        ([pod()], GONE, True),  # not given up: it may tolerate that for ever
        ([pod(leaving=True)], node(), True),  # until the kubelet has unmounted it
        ([pod(leaving=True)], GONE, False),
        ([pod("Succeeded")], node(), True),
        ([pod("Succeeded", sandbox=False)], node(), False),
        ([pod("Failed", sandbox=False), pod()], node(), True),
        ([], node(), False),
    ],
)
def test_what_keeps_a_volume(users: list[Pod], at: Node, needed: bool) -> None:
    assert is_needed("n", users, {"n": at}) is needed
    assert not is_needed("m", users, {"n": at})
