"""One flat network: every pod reaches every pod by its own address, and services by address and by name."""

from __future__ import annotations

import itertools

from lightkube.resources.core_v1 import Service

from api import meta, pods


def test_every_pod_reaches_every_pod_by_its_own_address_without_nat(world, namespace):
    world.deploy(namespace, replicas=6, node_port=31030)
    world.wait_ready(namespace, 6)
    everyone = world.pods(namespace)
    assert {pods.node_name(pod) for pod in everyone} == set(world.node_addresses)
    addresses = {meta.name(pod): pod.status.podIP for pod in everyone}
    assert len(set(addresses.values())) == 6
    for client, server in itertools.product(everyone, everyone):
        answer = world.exec_in(client, "wget", "-q", "-O-", f"http://{server.status.podIP}:8080/")
        assert answer.strip() == meta.name(server)
    for server in everyone:
        log = world.minikctl("logs", meta.name(server), "-n", namespace).stdout
        # The server logs who asked: the very addresses of the pods, on whatever node they are.
        assert all(f"{address}]" in log for name, address in addresses.items() if name != meta.name(server))


def test_services_are_reached_from_pods_and_nodes_by_address_and_name(world, namespace):
    world.deploy(namespace, replicas=3, node_port=31031)
    world.wait_ready(namespace, 3)
    expected = {meta.name(pod) for pod in world.pods(namespace)}
    cluster_ip = world.client.get(Service, "web", namespace=namespace).spec.clusterIP
    world.until_rules_hold(namespace, world.url(31031), 3)
    client = world.pods(namespace)[0]
    for host in (cluster_ip, "web", f"web.{namespace}", f"web.{namespace}.svc.cluster.local"):
        answers = {world.exec_in(client, "wget", "-q", "-O-", f"http://{host}/").strip() for _ in range(3)}
        assert answers == expected
    for node in world.node_addresses:
        asked = [world.lab.exec(node, ["busybox", "wget", "-q", "-O-", f"http://{cluster_ip}/"]) for _ in range(3)]
        assert {each.stdout.strip() for each in asked} == expected


def test_a_service_without_ready_pods_refuses_at_once(world, namespace):
    world.deploy(namespace, replicas=1, node_port=31032)
    world.wait_ready(namespace, 1)
    world.until_rules_hold(namespace, world.url(31032), 1)
    world.minikctl("scale", "web", "--replicas", "0", "-n", namespace)
    world.wait_ready(namespace, 0)
    world.until_refused(world.url(31032))
