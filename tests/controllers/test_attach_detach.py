"""When a volume has to stay at a node."""

from __future__ import annotations

import pytest
from lightkube.models.core_v1 import NodeCondition, NodeSpec, NodeStatus, PodSpec, PodStatus, Taint
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Node, Pod

from api import meta
from controllers.attach_detach import is_lost, is_needed


def node(ready: str = "True", *, taint: str = "", uses: bool = False) -> Node:
    taints = [Taint("NoExecute", f"node.kubernetes.io/{taint}")] if taint else None
    status = NodeStatus(conditions=[NodeCondition(ready, "Ready")], volumesInUse=["disk"] if uses else None)
    return Node(metadata=ObjectMeta(name="n"), spec=NodeSpec(taints=taints), status=status)


def pod(phase: str = "Running", *, leaving: bool = False, on: str = "n") -> Pod:
    metadata = ObjectMeta(name="p", deletionTimestamp=meta.now() if leaving else None)
    return Pod(metadata=metadata, spec=PodSpec([], nodeName=on), status=PodStatus(phase=phase))


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


LOST = node("Unknown", taint="unreachable", uses=True)


@pytest.mark.parametrize(
    ("users", "at", "needed"),
    [
        ([pod()], node(), True),
        ([pod()], LOST, True),  # not given up: it may tolerate that for ever
        ([pod(on="m")], node(), False),
        ([pod(leaving=True)], node(uses=True), True),  # until the kubelet has unmounted it
        ([pod(leaving=True)], node(), False),
        ([pod(leaving=True)], LOST, False),
        ([pod("Succeeded")], node(uses=True), True),
        ([pod("Succeeded")], node(), False),
        ([], node(uses=True), True),  # deleted without a grace period
        ([], node(), False),
        ([], LOST, False),
        ([], None, False),
    ],
)
def test_what_keeps_a_volume(users: list[Pod], at: Node | None, needed: bool) -> None:
    assert is_needed("disk", at, users) is needed
