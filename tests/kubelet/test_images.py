"""Pull secrets: which key fits which image."""

import base64
import json

import msgspec
import pytest
from lightkube.resources.core_v1 import Secret

from kubelet.images import credentials
from kubelet.runtime.base import Credentials


def config(auths):
    text = base64.b64encode(json.dumps({"auths": auths}).encode()).decode()
    document = {"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": text}}
    return msgspec.convert(document, Secret)


def encoded(text):
    return {"auth": base64.b64encode(text.encode()).decode()}


@pytest.mark.parametrize(
    ("image", "keys"),
    [
        ("registry.test:5000/shop/web:1", ["team", "anna"]),
        ("registry.test:5000/other", ["anna"]),
        ("registry.test/shop/web", []),
        ("busybox", ["hub"]),
        ("library/busybox:1", ["hub"]),
        ("docker.io.evil.test/x", []),
    ],
)
def test_the_longest_match_comes_first(image, keys):
    secrets = [
        config({"https://registry.test:5000": encoded("anna:geheim"), "https://index.docker.io/v1/": encoded("hub:x")}),
        config({"registry.test:5000/shop": {"username": "team", "password": "geheim:2"}}),
    ]
    found = credentials(image, secrets)
    assert [each.username for each in found] == keys
    if "team" in keys:
        assert found[0] == Credentials("team", "geheim:2")


def test_what_is_no_pull_secret_is_passed_over():
    broken = msgspec.convert({"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": "e30"}}, Secret)
    assert credentials("busybox", [broken, Secret(type="Opaque", data={".dockerconfigjson": "x"})]) == []
