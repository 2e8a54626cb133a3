"""env: the environment and command line of a container."""

import base64

import msgspec
import pytest
from lightkube.models.core_v1 import Container
from lightkube.resources.core_v1 import ConfigMap, Secret

from kubelet.pods.env import ConfigError, Reference, Surroundings, environment, expand, references

SETTINGS = msgspec.convert({"data": {"a": "1", "b": "2"}}, ConfigMap)
HIDDEN = msgspec.convert({"data": {"key": base64.b64encode(b"shh").decode()}}, Secret)
AROUND = Surroundings(
    objects={Reference("ConfigMap", "settings"): SETTINGS, Reference("Secret", "hidden"): HIDDEN},
    pod_ip="10.244.1.7",
    host_ip="10.0.0.1",
    allocatable={"cpu": "4", "memory": "8Gi"},
    services={"KUBERNETES_SERVICE_HOST": "10.96.0.1"},
)


def container(**fields):
    return msgspec.convert({"name": "app", "image": "x", **fields}, Container)


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("plain", "plain"),
        ("$(A)", "1"),
        ("x$(A)y$(B)z", "x1y2z"),
        ("$(MISSING)", "$(MISSING)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$$$$(A)", "$$(A)"),
        ("$A $ $(", "$A $ $("),
        ("$(A", "$(A"),
    ],
)
def test_expansion(text, result):
    assert expand(text, {"A": "1", "B": "2"}) == result


def test_later_variables_see_and_override_earlier_ones(make):
    env = [
        {"name": "a", "value": "own"},
        {"name": "SUM", "value": "$(a)+$(b)+$(LATER)"},
        {"name": "LATER", "value": "x"},
        {"name": "KUBERNETES_SERVICE_HOST", "value": "mine"},
    ]
    result = environment(make.pod(), container(env=env, envFrom=[{"configMapRef": {"name": "settings"}}]), AROUND)
    assert result == {"KUBERNETES_SERVICE_HOST": "mine", "a": "own", "b": "2", "SUM": "own+2+$(LATER)", "LATER": "x"}


def test_prefixes(make):
    source = [{"prefix": "S_", "secretRef": {"name": "hidden"}}]
    assert environment(make.pod(), container(envFrom=source), AROUND)["S_key"] == "shh"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "web"),
        ("metadata.namespace", "default"),
        ("metadata.labels['tier']", "front"),
        ("metadata.labels", 'app="web"\ntier="front"'),
        ("metadata.annotations['none']", ""),
        ("spec.nodeName", "node-1"),
        ("spec.serviceAccountName", "default"),
        ("status.podIP", "10.244.1.7"),
        ("status.hostIP", "10.0.0.1"),
    ],
)
def test_field_references(make, path, value):
    pod = make.pod({"nodeName": "node-1"}, metadata={"labels": {"tier": "front", "app": "web"}})
    env = [{"name": "X", "valueFrom": {"fieldRef": {"fieldPath": path}}}]
    assert environment(pod, container(env=env), AROUND)["X"] == value


@pytest.mark.parametrize(
    ("resource", "divisor", "value"),
    [
        ("limits.cpu", None, "1"),
        ("limits.cpu", "1m", "500"),
        ("requests.cpu", "1m", "250"),
        ("limits.memory", "1Mi", "8192"),
        ("requests.memory", "1Mi", "0"),
    ],
)
def test_resource_references(make, resource, divisor, value):
    resources = {"limits": {"cpu": "500m"}, "requests": {"cpu": "250m"}}
    pod = make.pod({"containers": [{"name": "app", "image": "x", "resources": resources}]})
    source = {"resource": resource} | ({"divisor": divisor} if divisor else {})
    env = [{"name": "X", "valueFrom": {"resourceFieldRef": source}}]
    assert environment(pod, container(env=env), AROUND)["X"] == value


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"configMapKeyRef": {"name": "no", "key": "a"}}, 'configmap "no" not found'),
        ({"secretKeyRef": {"name": "no", "key": "a"}}, 'secret "no" not found'),
        ({"configMapKeyRef": {"name": "settings", "key": "z"}}, "couldn't find key z in ConfigMap default/settings"),
        ({"fieldRef": {"fieldPath": "spec.nope"}}, "unsupported fieldPath: spec.nope"),
    ],
)
def test_what_is_missing_is_named(make, source, message):
    with pytest.raises(ConfigError) as caught:
        environment(make.pod(), container(env=[{"name": "X", "valueFrom": source}]), AROUND)
    assert str(caught.value) == message


def test_what_is_optional_may_be_missing(make):
    env = [
        {"name": "X", "valueFrom": {"configMapKeyRef": {"name": "no", "key": "a", "optional": True}}},
        {"name": "Y", "valueFrom": {"secretKeyRef": {"name": "hidden", "key": "z", "optional": True}}},
    ]
    source = [{"configMapRef": {"name": "no", "optional": True}}]
    result = environment(make.pod(), container(env=env, envFrom=source), AROUND)
    assert result == dict(AROUND.services)


def test_references():
    env = [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]
    found = references(container(env=env, envFrom=[{"configMapRef": {"name": "c"}}]))
    assert found == {Reference("Secret", "s"), Reference("ConfigMap", "c")}
