"""`minikctl timeline` on a real lab: the story of a Deployment, with its writers, as the recorder saw it."""

from __future__ import annotations

import json
import time

from lightkube.resources.core_v1 import Pod

TOLD_SECONDS = 60.0


def test_the_timeline_tells_who_did_what(world, namespace: str) -> None:
    world.deploy(namespace, replicas=1, node_port=30094)
    world.wait_ready(namespace, 1, deadline=60)
    world.minikctl("-n", namespace, "scale", "web", "--replicas", "2")
    world.wait_ready(namespace, 2, deadline=60)
    world.client.delete(Pod, world.pods(namespace)[0].metadata.name, namespace=namespace)
    world.wait_ready(namespace, 2, deadline=60)

    wanted = [
        ("deployment/web", "", "created: wants 1 of minik/web:1"),
        ("replicaset/web-", "controllers/deployment", "created: wants 1 of minik/web:1"),
        ("pod/web-", "controllers/replicaset", "wanted 1, saw 0"),
        ("pod/web-", "scheduler", "bound to node-"),
        ("pod/web-", "kubelet", "container web started"),
        ("pod/web-", "kubelet", "Ready"),
        ("service/web", "controllers/endpointslice", "requests go to web-"),
        ("deployment/web", "minikctl", "wanted: 1 -> 2"),
        ("pod/web-", "controllers/replicaset", "saw 1"),
        ("pod/web-", "", "asked to end, within 5 s"),
        ("pod/web-", "", "gone"),
    ]
    ends = time.monotonic() + TOLD_SECONDS
    while missing := not_told_in_order(world, namespace, wanted):
        assert time.monotonic() < ends, f"{missing} in {timeline(world, namespace)}"
        time.sleep(0.2)  # the recorder is some tenths of a second behind


def timeline(world, namespace: str) -> list[dict[str, str]]:
    shown = world.minikctl("-n", namespace, "timeline", "deploy/web", "-o", "json").stdout
    return [json.loads(line) for line in shown.splitlines()]


def not_told_in_order(world, namespace: str, wanted: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """What of `wanted` is missing, from the first on that does not come after the one before."""
    left = list(wanted)
    for line in timeline(world, namespace):
        about, writer, text = left[0]
        if line["about"].startswith(about) and writer in line["writer"] and text in line["text"]:
            left.pop(0)
        if not left:
            break
    return left
