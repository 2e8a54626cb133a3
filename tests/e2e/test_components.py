"""kill -9 of every component, one after the other, while objects are being created and requests served."""

from __future__ import annotations

import threading
import time

import httpx2
from lightkube import ApiError
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import ConfigMap

OBJECTS = 100


def create_all(client, namespace: str, acknowledged: list[str], stop: threading.Event) -> None:
    """Create a hundred objects, each until it is acknowledged (or found there after an unknown outcome)."""
    for number in range(OBJECTS):
        name = f"object-{number:03}"
        while not stop.is_set():
            try:
                client.create(ConfigMap(metadata=ObjectMeta(name=name, namespace=namespace), data={"n": str(number)}))
                break
            except ApiError as error:
                if error.status.code == 409:
                    break
                time.sleep(0.05)
            except (httpx2.HTTPError, OSError):
                time.sleep(0.05)
        acknowledged.append(name)
        time.sleep(0.05)  # spreads the objects over the failures; not a condition


def test_everything_comes_back_and_nothing_acknowledged_is_lost(world, namespace, took):
    world.deploy(namespace, replicas=3, node_port=31020)
    world.wait_ready(namespace, 3)
    running = {node: world.uids_running(node, namespace) for node in world.node_addresses}
    started = {c["id"]: c["started"] for node in world.node_addresses for c in world.containers(node)}
    node = next(iter(world.node_addresses))
    acknowledged: list[str] = []
    stop = threading.Event()
    writer = threading.Thread(target=create_all, args=(world.client, namespace, acknowledged, stop))
    victims = [("control", name) for name in ("etcd", "apiserver", "scheduler", "controllers", "storage")]
    victims += [(node, name) for name in ("kubelet", "proxy", "ingress")]
    with world.constant_requests(world.url(31020)) as answers:
        world.until_answered_by_all(answers, namespace)
        writer.start()
        try:
            for host, component in victims:
                took(f"kill -9 {component}: running again after", world.kill_and_wait_for_restart(host, component))
            writer.join(60)
            assert not writer.is_alive()
        finally:
            stop.set()
            writer.join()
        world.until_answered_by_all(answers, namespace, since=time.monotonic())
    assert answers.failed == [], "serving does not depend on the control plane"
    stored = {config.metadata.name for config in world.client.list(ConfigMap, namespace=namespace)}
    assert set(acknowledged) <= stored
    assert len(acknowledged) == OBJECTS
    # The same containers as before: nothing was restarted.
    assert {node: world.uids_running(node, namespace) for node in world.node_addresses} == running
    still = {c["id"]: c["started"] for node in world.node_addresses for c in world.containers(node)}
    assert still == started
    # And it all works: a change goes through every component.
    start = time.monotonic()
    world.minikctl("scale", "web", "--replicas", "5", "-n", namespace)
    world.wait_ready(namespace, 5)
    took("scale 3 -> 5 after all that", time.monotonic() - start)
    world.wait(
        Deployment,
        lambda found: any(d.status.readyReplicas == 5 for d in found if d.status),
        what="the Deployment knows it",
        deadline=10,
        namespace=namespace,
    )
