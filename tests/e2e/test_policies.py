"""A default-deny policy with one allowed client, between nodes and namespaces, and how soon it holds."""

from __future__ import annotations

import time

import pytest
from lightkube.models.meta_v1 import LabelSelector, ObjectMeta
from lightkube.models.networking_v1 import (
    NetworkPolicyIngressRule,
    NetworkPolicyPeer,
    NetworkPolicyPort,
    NetworkPolicySpec,
)
from lightkube.resources.core_v1 import Namespace
from lightkube.resources.networking_v1 import NetworkPolicy

from api import pods

HOLDS_SECONDS = 10.0
"""How long rules may take to come into force on every node."""


@pytest.fixture
def outside(world, namespace):
    """Another namespace, whose pods a policy may name."""
    name = f"{namespace}-friends"
    yield name
    world.delete_namespace(name)


def reaches(world, client, server) -> bool:
    url = f"http://{server.status.podIP}:8080/"
    try:
        return bool(world.exec_in(client, "timeout", "1", "wget", "-q", "-O-", url).strip())
    except AssertionError:
        return False


def until(world, client, server, *, reached: bool) -> float:
    started = time.monotonic()
    while reaches(world, client, server) is not reached:
        assert time.monotonic() - started < HOLDS_SECONDS, f"still {'shut' if reached else 'open'}"
    return time.monotonic() - started


def test_default_deny_with_one_allowed_client(world, namespace, outside, took):
    world.deploy(namespace, replicas=3, node_port=31095, name="web")
    world.deploy(outside, replicas=3, node_port=31096, name="friend")
    world.client.patch(Namespace, outside, {"metadata": {"labels": {"team": "friends"}}})
    world.wait_ready(namespace, 3)
    world.wait_ready(outside, 3)
    servers, friends = world.pods(namespace), world.pods(outside)
    assert {pods.node_name(pod) for pod in servers} == set(world.node_addresses)
    assert all(reaches(world, client, server) for client in (servers[0], friends[0]) for server in servers[1:])

    deny = NetworkPolicySpec(podSelector=LabelSelector(), policyTypes=["Ingress"])
    world.client.create(NetworkPolicy(metadata=ObjectMeta(name="deny", namespace=namespace), spec=deny))
    took("policy: default deny in force", max(until(world, friends[0], each, reached=False) for each in servers))
    assert not any(reaches(world, servers[0], server) for server in servers[1:])

    allow = NetworkPolicySpec(
        podSelector=LabelSelector(matchLabels={"app": "web"}),
        ingress=[
            NetworkPolicyIngressRule(
                from_=[NetworkPolicyPeer(namespaceSelector=LabelSelector(matchLabels={"team": "friends"}))],
                ports=[NetworkPolicyPort(port=8080)],
            )
        ],
    )
    world.client.create(NetworkPolicy(metadata=ObjectMeta(name="friends", namespace=namespace), spec=allow))
    took("policy: one allowed client reaches all", max(until(world, friends[0], s, reached=True) for s in servers))
    for client in friends:
        assert all(reaches(world, client, server) for server in servers)
    assert not reaches(world, servers[0], servers[1])
    # Replies of the shut-off pods' own connections come back: policies judge who begins.
    assert reaches(world, servers[0], friends[1])
