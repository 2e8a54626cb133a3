"""Nodes that die, are cut off, freeze, come and go."""

from __future__ import annotations

import time

import pytest
from lightkube.resources.core_v1 import Node, Pod
from world import node_is

from api import meta, pods

READY_ELSEWHERE_WITHIN_SECONDS = 15


@pytest.mark.parametrize(("plug_out", "plug_in"), [("stop", "start"), ("cut", "heal"), ("pause", "resume")])
def test_pods_of_a_lost_node_are_ready_elsewhere_in_time(world, namespace, took, plug_out, plug_in):
    world.deploy(namespace, replicas=4, node_port=31010)
    world.wait_ready(namespace, 4)
    node = pods.node_name(world.pods(namespace)[0])
    doomed = {meta.uid(pod) for pod in world.pods(namespace) if pods.node_name(pod) == node}
    world.minikctl("node", plug_out, node)
    elsewhere = world.wait(
        Pod,
        lambda found: sum(pods.is_ready(p) and pods.is_active(p) and pods.node_name(p) != node for p in found) == 4,
        what=f"4 pods Ready on nodes other than {node}",
        deadline=READY_ELSEWHERE_WITHIN_SECONDS,
        namespace=namespace,
    )
    took(f"node {plug_out}: its pods Ready elsewhere after", elsewhere)
    survivors = [name for name in world.node_addresses if name != node]
    counts = world.count_answers(world.url(31010, node=survivors[0]), 40)
    assert sum(counts.values()) == 40

    start = time.monotonic()
    world.minikctl("node", plug_in, node)
    world.wait(Node, node_is(node, "Ready"), what=f"{node} Ready again", deadline=30)
    took(f"node {plug_in}: Ready again after", time.monotonic() - start)
    world.wait_ready(namespace, 4)
    world.until_nothing_runs(node, doomed, deadline=20)
    world.assert_no_pod_runs_twice(namespace)


def test_a_node_is_added_and_removed_while_pods_are_placed(world, namespace, took):
    world.deploy(namespace, replicas=2, node_port=31011)
    world.wait_ready(namespace, 2)
    world.minikctl("scale", "web", "--replicas", "12", "-n", namespace)
    start = time.monotonic()
    world.minikctl("node", "add")
    added = (set(world.lab_nodes()) - set(world.node_addresses)).pop()
    world.wait(Node, node_is(added, "Ready"), what=f"{added} Ready", deadline=30)
    took("node added: Ready after", time.monotonic() - start)
    world.wait_ready(namespace, 12)
    world.minikctl("scale", "web", "--replicas", "16", "-n", namespace)
    world.wait(
        Pod,
        lambda found: any(pods.node_name(pod) == added and pods.is_ready(pod) for pod in found),
        what=f"a pod Ready on {added}",
        deadline=30,
        namespace=namespace,
    )
    world.minikctl("scale", "web", "--replicas", "20", "-n", namespace)
    start = time.monotonic()
    world.minikctl("node", "remove", added)
    world.wait(Node, lambda nodes: added not in {meta.name(n) for n in nodes}, what=f"{added} is gone", deadline=30)
    world.wait_ready(namespace, 20, deadline=60)
    took("node removed: all 20 pods Ready elsewhere after", time.monotonic() - start)
    assert added not in {pods.node_name(pod) for pod in world.pods(namespace)}


def test_cordon_drain_uncordon(world, namespace, took):
    world.deploy(namespace, replicas=4, node_port=31012)
    world.wait_ready(namespace, 4)
    node = pods.node_name(world.pods(namespace)[0])
    try:
        start = time.monotonic()
        world.minikctl("drain", node, "--ignore-daemonsets", "--force")
        assert node not in {pods.node_name(pod) for pod in world.pods(namespace)}
        world.wait_ready(namespace, 4)
        took("drained, and all Ready elsewhere after", time.monotonic() - start)
        assert "SchedulingDisabled" in world.minikctl("get", "nodes").stdout
    finally:
        world.minikctl("uncordon", node)
    assert "SchedulingDisabled" not in world.minikctl("get", "nodes").stdout
