"""Defaults as shapes."""

from __future__ import annotations

from typing import Any

from lightkube.models.apps_v1 import DeploymentSpec, DeploymentStrategy
from lightkube.models.core_v1 import Container, ContainerPort, PodTemplateSpec, Probe
from lightkube.models.meta_v1 import LabelSelector

from apiserver.registry.defaults import filled, made, nonzero

UPDATE = made({"maxSurge": "25%"}, when=("type", "RollingUpdate"))
DEFAULTS = filled({"replicas": 1, "strategy": made({"type": "RollingUpdate", "rollingUpdate": UPDATE})})


def deployment(**fields: Any) -> DeploymentSpec:
    spec = DeploymentSpec(LabelSelector(), PodTemplateSpec(), **fields)
    DEFAULTS(spec)
    return spec


def test_absent_and_empty_are_filled_in_and_zero_is_a_value() -> None:
    assert [deployment(replicas=each).replicas for each in (None, 0, 3)] == [1, 0, 3]
    probe = Probe(timeoutSeconds=0, periodSeconds=5)
    filled({"timeoutSeconds": nonzero(1), "periodSeconds": nonzero(10)})(probe)
    assert (probe.timeoutSeconds, probe.periodSeconds) == (1, 5)


def test_objects_come_into_being_where_another_member_wants_them() -> None:
    strategy = deployment().strategy
    assert strategy is not None and strategy.type == "RollingUpdate"
    assert strategy.rollingUpdate is not None and strategy.rollingUpdate.maxSurge == "25%"
    assert deployment(strategy=DeploymentStrategy(type="Recreate")).strategy == DeploymentStrategy(type="Recreate")


def test_every_item_of_a_list_and_then_what_no_shape_says() -> None:
    container = Container("web", ports=[ContainerPort(80), ContainerPort(53, protocol="UDP")])
    filled(
        {"ports": [{"protocol": "TCP"}], "livenessProbe": {"periodSeconds": 10}}, lambda obj: setattr(obj, "tty", True)
    )(container)
    assert [each.protocol for each in container.ports or ()] == ["TCP", "UDP"]
    assert container.livenessProbe is None and container.tty
