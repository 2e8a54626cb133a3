"""What a workshop does to the cluster, and what must come of it: containers, pods, rollouts."""

from __future__ import annotations

import os
import signal
import time

from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import Pod

from api import meta, pods


def test_a_killed_container_is_restarted_and_the_service_never_answers_with_an_error(world, namespace, took):
    world.deploy(namespace, replicas=3, node_port=31001)
    took("3 pods from nothing to Ready", world.wait_ready(namespace, 3))
    url = world.url(31001)
    victim = world.pods(namespace)[0]
    container = world.container_of(victim)
    with world.constant_requests(url) as answers:
        world.until_answered_by_all(answers, namespace)
        os.kill(container["pid"], signal.SIGKILL)
        out = world.wait(
            Pod,
            lambda found: any(meta.name(p) == meta.name(victim) and not pods.is_ready(p) for p in found),
            what="the killed pod leaves the rotation",
            deadline=10,
            namespace=namespace,
        )
        left = time.monotonic()
        back = world.wait_ready(namespace, 3)
        world.until_answered_by_all(answers, namespace, since=time.monotonic())
    took("killed container: not Ready after", out)
    took("killed container: Ready again after", out + back)
    restarted = world.client.get(Pod, meta.name(victim), namespace=namespace)
    status = restarted.status.containerStatuses[0]
    assert status.restartCount == 1
    assert status.lastState.terminated.exitCode == 137
    assert meta.uid(restarted) == meta.uid(victim)
    # The rules follow the API by some milliseconds; from then on nobody may be sent to the dead container.
    assert answers.failed_since(left + 0.5) == []


def test_a_deleted_pod_is_replaced(world, namespace, took):
    world.deploy(namespace, replicas=3, node_port=31002)
    world.wait_ready(namespace, 3)
    victim = meta.name(world.pods(namespace)[0])
    start = time.monotonic()
    world.minikctl("delete", "pod", victim, "-n", namespace, "--wait=false")
    world.wait_ready(namespace, 3)
    took("deleted pod: gone and replaced by a Ready one after", time.monotonic() - start)
    assert victim not in {meta.name(pod) for pod in world.pods(namespace)}


def test_a_deployment_is_scaled_up_down_to_nothing_and_back(world, namespace, took):
    world.deploy(namespace, replicas=3, node_port=31003)
    world.wait_ready(namespace, 3)
    for replicas in (5, 0, 3):
        start = time.monotonic()
        world.minikctl("scale", "web", "--replicas", str(replicas), "-n", namespace)
        world.wait_ready(namespace, replicas)
        took(f"scaled to {replicas}", time.monotonic() - start)
    deployed = world.client.get(Deployment, "web", namespace=namespace)
    assert deployed.spec.replicas == 3


def test_a_rolling_update_under_constant_requests_fails_none(world, namespace, took):
    world.deploy(namespace, replicas=3, node_port=31004)
    world.wait_ready(namespace, 3)
    before = {meta.name(pod) for pod in world.pods(namespace)}
    with world.constant_requests(world.url(31004)) as answers:
        world.until_answered_by_all(answers, namespace)
        start = time.monotonic()
        world.minikctl("rollout", "restart", "deployment/web", "-n", namespace)
        world.minikctl("rollout", "status", "deployment/web", "-n", namespace)
        took("rolling update of 3 pods", time.monotonic() - start)
        world.wait_ready(namespace, 3)
        world.until_answered_by_all(answers, namespace, since=time.monotonic())
    after = {meta.name(pod) for pod in world.pods(namespace)}
    assert not before & after
    assert answers.failed == []
    assert set(answers.by_pod()) == before | after
    took("requests answered during the update", len(answers.answered), unit="")


def test_undo_brings_the_old_template_back(world, namespace):
    world.deploy(namespace, replicas=2, node_port=31005)
    world.wait_ready(namespace, 2)
    world.minikctl("set", "image", "deployment/web", "web=minik/busybox:1", "-n", namespace)
    world.wait(
        Deployment,
        lambda found: any(d.status and (d.status.observedGeneration or 0) >= 2 for d in found),
        what="the update is seen",
        deadline=10,
        namespace=namespace,
    )
    assert "2" in world.minikctl("rollout", "history", "deployment/web", "-n", namespace).stdout
    world.minikctl("rollout", "undo", "deployment/web", "-n", namespace)
    world.minikctl("rollout", "status", "deployment/web", "-n", namespace)
    world.wait_ready(namespace, 2)
    images = {pod.spec.containers[0].image for pod in world.pods(namespace)}
    assert images == {"minik/web:1"}


def test_requests_go_round_robin_exactly(world, namespace):
    world.deploy(namespace, replicas=6, node_port=31006)
    world.wait_ready(namespace, 6)
    world.until_rules_hold(namespace, world.url(31006), 6)
    counts = world.count_answers(world.url(31006), 600)
    assert set(counts) == {meta.name(pod) for pod in world.pods(namespace)}
    assert set(counts.values()) == {100}
