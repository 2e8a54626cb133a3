"""The real Helm: a chart as most are, with autoscaling, an Ingress, a service account and a test, through its life."""

from __future__ import annotations

import json
import shutil
import time
import urllib.error
from pathlib import Path

import pytest
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.autoscaling_v2 import HorizontalPodAutoscaler
from lightkube.resources.core_v1 import Namespace, Service, ServiceAccount
from lightkube.resources.networking_v1 import Ingress
from world import ask

from api import meta

pytestmark = pytest.mark.skipif(shutil.which("helm") is None, reason="helm is not installed")

CHART = str(Path(__file__).parents[1] / "clients" / "starter")
KINDS = (Deployment, HorizontalPodAutoscaler, Service, ServiceAccount, Ingress)
HOST = "chart.example"
DEADLINE_SECONDS = 30.0


def until_answered(world, ending: str) -> None:
    """Until a pod of that version answers for the chart's host."""
    end = time.monotonic() + DEADLINE_SECONDS
    url, last = f"http://{next(iter(world.node_addresses.values()))}/", ""
    while not (last.startswith("shop-") and last.endswith(ending)):
        assert time.monotonic() < end, last
        try:
            last = ask(url, HOST)
        except (urllib.error.URLError, OSError) as error:
            last = repr(error)
            time.sleep(0.05)


def test_a_chart_through_its_life(world, namespace):
    world.client.create(Namespace(metadata=ObjectMeta(name=namespace)))
    wait = ("--wait", "--timeout", "90s")
    assert "shop answers on chart.example" in world.helm(namespace, "install", "shop", CHART, *wait)
    for kind in KINDS:
        assert "shop" in [meta.name(each) for each in world.client.list(kind, namespace=namespace)]
    assert [meta.name(each) for each in world.client.list(Ingress, namespace=namespace)] == ["shop"]
    world.wait(
        Deployment,
        lambda found: found[0].spec.replicas == 2,
        what="the autoscaler's minimum",
        deadline=60,
        namespace=namespace,
    )
    until_answered(world, "")
    assert "Succeeded" in world.helm(namespace, "test", "shop")

    world.helm(namespace, "upgrade", "shop", CHART, "--set", "image.tag=2", *wait)
    until_answered(world, " v2")
    world.helm(namespace, "rollback", "shop", "1", *wait)
    (now,) = world.client.list(Deployment, namespace=namespace)
    assert now.spec.template.spec.containers[0].image == "minik/web:1"
    history = json.loads(world.helm(namespace, "history", "shop", "-o", "json"))
    assert [each["status"] for each in history] == ["superseded", "superseded", "deployed"]

    world.helm(namespace, "uninstall", "shop", "--wait")
    for kind in KINDS:
        assert "shop" not in [meta.name(each) for each in world.client.list(kind, namespace=namespace)]
