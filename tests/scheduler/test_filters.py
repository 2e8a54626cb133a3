from __future__ import annotations

from dataclasses import replace

import pytest
from lightkube.models.core_v1 import (
    Affinity,
    Container,
    ContainerPort,
    NodeAffinity,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    NodeSpec,
    NodeStatus,
    PodSpec,
    ResourceRequirements,
    Taint,
    Toleration,
)
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Node, Pod

from api.node_affinity import NodeTerm
from scheduler import filters, profile
from scheduler.facts import PodFacts, VolumeNeeds, read
from scheduler.snapshot import Snapshot


def node(*, cpu: str = "2", memory: str = "4Gi", limit: str = "10", labels=None, taints=None, **spec) -> Snapshot:
    extra = spec.pop("extra", {})
    room = {"cpu": cpu, "memory": memory, "pods": limit, **extra}
    nodes = Snapshot()
    nodes.put_node(
        Node(
            metadata=ObjectMeta(name="n", labels=labels),
            spec=NodeSpec(taints=taints, **spec),
            status=NodeStatus(allocatable=room),
        )
    )
    return nodes


def verdict(facts: PodFacts, nodes: Snapshot) -> list[str]:
    """Of the one node; the look at all nodes and that at one must agree."""
    reasons = [each for _, found in profile.DEFAULT.verdicts(facts, nodes) for each in found]
    assert profile.DEFAULT.may_fit(facts, nodes, nodes.nodes["n"]) == (not reasons)
    assert profile.DEFAULT.best(facts, nodes) == (None if reasons else "n")
    return reasons


def pod(requests: dict[str, str] | None = None, *, ports: list[ContainerPort] | None = None, **spec) -> PodFacts:
    container = Container(name="c", resources=ResourceRequirements(requests=requests), ports=ports)
    return read(Pod(metadata=ObjectMeta(name="p", namespace="ns"), spec=PodSpec(containers=[container], **spec)))


def required(*terms: NodeSelectorTerm) -> Affinity:
    selector = NodeSelector(nodeSelectorTerms=list(terms))
    return Affinity(nodeAffinity=NodeAffinity(requiredDuringSchedulingIgnoredDuringExecution=selector))


def expression(key: str, operator: str, *values: str) -> NodeSelectorRequirement:
    return NodeSelectorRequirement(key=key, operator=operator, values=list(values) or None)


def with_pods(nodes: Snapshot, *facts: PodFacts) -> Snapshot:
    for number, each in enumerate(facts):
        nodes.put_pod(str(number), "n", each)
    return nodes


AFFINITY = "node(s) didn't match Pod's node affinity/selector"
PORTS = "node(s) didn't have free ports for the requested pod ports"
GPU = "example.com/gpu"
NO_SCHEDULE = Taint(key="k", value="v", effect="NoSchedule")


@pytest.mark.parametrize(
    ("facts", "info", "reasons"),
    [
        (pod(), node(), []),
        (pod({"cpu": "2", "memory": "4Gi"}), node(), []),
        (pod({"cpu": "2001m"}), node(), ["Insufficient cpu"]),
        (pod({"memory": "5Gi"}), node(), ["Insufficient memory"]),
        (pod({"cpu": "3", "memory": "5Gi"}), node(), ["Insufficient cpu", "Insufficient memory"]),
        (pod({"cpu": "1"}), with_pods(node(), pod({"cpu": "1500m"})), ["Insufficient cpu"]),
        (pod({"cpu": "500m"}), with_pods(node(), pod({"cpu": "1500m"})), []),
        (pod(), with_pods(node(limit="1"), pod()), ["Too many pods"]),
        (pod(), with_pods(node(), pod({"cpu": "3"})), []),
        (pod({GPU: "1"}), node(), [f"Insufficient {GPU}"]),
        (pod({GPU: "1"}), node(extra={GPU: "1"}), []),
        (pod({GPU: "1"}), with_pods(node(extra={GPU: "1"}), pod({GPU: "1"})), [f"Insufficient {GPU}"]),
        (pod({"ephemeral-storage": "1Gi"}), node(), []),
        (pod({"ephemeral-storage": "1Gi"}), node(extra={"ephemeral-storage": "2Gi"}), []),
        (
            pod({"ephemeral-storage": "3Gi"}),
            node(extra={"ephemeral-storage": "2Gi"}),
            ["Insufficient ephemeral-storage"],
        ),
        (pod(), node(unschedulable=True), ["node(s) were unschedulable"]),
        (pod(tolerations=[Toleration(operator="Exists")]), node(unschedulable=True), []),
        (pod(), node(taints=[NO_SCHEDULE]), ["node(s) had untolerated taint {k: v}"]),
        (pod(), node(taints=[Taint(key="k", effect="NoExecute")]), ["node(s) had untolerated taint {k: }"]),
        (pod(), node(taints=[Taint(key="k", effect="PreferNoSchedule")]), []),
        (pod(tolerations=[Toleration(key="k", value="v")]), node(taints=[NO_SCHEDULE]), []),
        (pod(nodeSelector={"a": "b"}), node(labels={"a": "b"}), []),
        (pod(nodeSelector={"a": "b"}), node(labels={"a": "c"}), [AFFINITY]),
        (pod(affinity=required()), node(), [AFFINITY]),
        (pod(affinity=required(NodeSelectorTerm())), node(), [AFFINITY]),
        (pod(affinity=required(NodeSelectorTerm(matchExpressions=[expression("a", "DoesNotExist")]))), node(), []),
        (
            pod(affinity=required(NodeSelectorTerm(matchFields=[expression("metadata.name", "In", "other")]))),
            node(),
            [AFFINITY],
        ),
        (
            pod(
                affinity=required(
                    NodeSelectorTerm(matchExpressions=[expression("a", "In", "x")]),
                    NodeSelectorTerm(matchFields=[expression("metadata.name", "In", "n")]),
                )
            ),
            node(),
            [],
        ),
        (
            pod(affinity=required(NodeSelectorTerm(matchExpressions=[expression("size", "Gt", "3")]))),
            node(labels={"size": "4"}),
            [],
        ),
        # The first filter that says no speaks for the node.
        (pod({"cpu": "9"}), node(unschedulable=True, taints=[NO_SCHEDULE]), ["node(s) were unschedulable"]),
    ],
)
def test_verdict(facts: PodFacts, info: Snapshot, reasons: list[str]) -> None:
    assert verdict(facts, info) == reasons


def port(number: int, *, protocol: str | None = None, ip: str | None = None) -> list[ContainerPort]:
    return [ContainerPort(containerPort=number, hostPort=number, protocol=protocol, hostIP=ip)]


@pytest.mark.parametrize(
    ("wanted", "used", "free"),
    [
        (port(80), port(81), True),
        (port(80), port(80), False),
        (port(80), port(80, protocol="UDP"), True),
        (port(80, ip="10.0.0.1"), port(80, ip="10.0.0.2"), True),
        (port(80, ip="10.0.0.1"), port(80, ip="10.0.0.1"), False),
        (port(80, ip="10.0.0.1"), port(80), False),
        (port(80), port(80, ip="10.0.0.1"), False),
        ([ContainerPort(containerPort=80)], port(80), True),
    ],
)
def test_host_ports(wanted: list[ContainerPort], used: list[ContainerPort], free: bool) -> None:
    info = with_pods(node(), pod(ports=used))
    assert verdict(pod(ports=wanted), info) == ([] if free else [PORTS])


def test_a_pod_on_the_hosts_network_takes_its_container_ports() -> None:
    facts = pod(ports=[ContainerPort(containerPort=80)], hostNetwork=True)
    assert verdict(facts, with_pods(node(), facts)) == [PORTS]


@pytest.mark.parametrize(
    ("verdicts", "total", "message"),
    [
        ([], 0, "no nodes available to schedule pods"),
        (
            [("Insufficient cpu",), ("node(s) were unschedulable",), ("node(s) were unschedulable",)],
            3,
            "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable.",
        ),
        (
            [("Insufficient cpu", "Insufficient memory"), ("Insufficient cpu",)],
            2,
            "0/2 nodes are available: 1 Insufficient memory, 2 Insufficient cpu.",
        ),
    ],
)
def test_explain(verdicts: list[tuple[str, ...]], total: int, message: str) -> None:
    assert filters.explain(verdicts, total) == message


def test_volumes_of_other_nodes_keep_a_pod_away_and_say_so() -> None:
    here = NodeTerm.of(NodeSelectorTerm(matchExpressions=[NodeSelectorRequirement("zone", "In", ["a"])]))
    nodes = node(labels={"zone": "a"})
    other = node(labels={"zone": "b"})
    needs = VolumeNeeds(terms=((here,),))
    assert verdict(replace(pod(), volumes=needs), nodes) == []
    assert verdict(replace(pod(), volumes=needs), other) == ["node(s) had volume node affinity conflict"]
    free = VolumeNeeds(terms=((),), unbound=("ns/claim",))
    assert verdict(replace(pod(), volumes=free), nodes) == ["node(s) didn't find available persistent volumes to bind"]


def test_a_pod_without_its_claims_runs_nowhere_and_says_why() -> None:
    facts = replace(pod(), volumes=VolumeNeeds(refused="pod has unbound immediate PersistentVolumeClaims"))
    assert profile.DEFAULT.best(facts, node()) is None
    why = "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."
    assert profile.DEFAULT.explain(facts, node()) == why
