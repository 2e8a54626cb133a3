from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cli import discovery
from cli.discovery import Kinds, from_resource_list

CORE = {
    "resources": [
        {
            "name": "pods",
            "singularName": "pod",
            "kind": "Pod",
            "namespaced": True,
            "shortNames": ["po"],
            "categories": ["all"],
        },
        {"name": "pods/log", "kind": "Pod", "namespaced": True},
        {"name": "events", "singularName": "event", "kind": "Event", "namespaced": True, "shortNames": ["ev"]},
        {"name": "nodes", "singularName": "", "kind": "Node", "namespaced": False},
    ]
}
APPS = {"resources": [{"name": "deployments", "singularName": "deployment", "kind": "Deployment", "namespaced": True}]}
EVENTS = {"resources": [{"name": "events", "singularName": "event", "kind": "Event", "namespaced": True}]}

KINDS = Kinds(
    [
        *from_resource_list("", "v1", CORE),
        *from_resource_list("apps", "v1", APPS),
        *from_resource_list("events.k8s.io", "v1", EVENTS),
    ]
)


@pytest.mark.parametrize(
    ("name", "qualified"),
    [
        ("pods", "pods"),
        ("Pod", "pods"),
        ("po", "pods"),
        ("node", "nodes"),
        ("deployments.apps", "deployments.apps"),
        ("deployments.v1.apps", "deployments.apps"),
        ("Deployment", "deployments.apps"),
        ("ev", "events"),
        ("events.events.k8s.io", "events.events.k8s.io"),
    ],
)
def test_names_people_use(name: str, qualified: str) -> None:
    found = KINDS.by_name(name)
    assert found is not None
    assert found.qualified == qualified


@pytest.mark.parametrize("name", ["foo", "pods.apps", "deployments.v2.apps", "pods/log"])
def test_names_nobody_has(name: str) -> None:
    assert KINDS.by_name(name) is None


def test_paths() -> None:
    pods, deployments = KINDS.by_name("pods"), KINDS.by_name("deployments")
    nodes = KINDS.by_name("nodes")
    assert pods and deployments and nodes
    assert pods.path("shop", "a") == "/api/v1/namespaces/shop/pods/a"
    assert deployments.path() == "/apis/apps/v1/deployments"
    assert nodes.path("shop", "n") == "/api/v1/nodes/n"
    assert pods.subresources == ("log",)


def test_the_cache_is_read_until_somebody_wants_it_fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    asked: list[str] = []
    answers: dict[str, Any] = {"/api": {"versions": ["v1"]}, "/api/v1": CORE, "/apis": {"groups": []}}

    def fetch(path: str) -> Any:
        asked.append(path)
        return answers[path]

    first = discovery.load("host:1", fetch)
    assert asked == ["/api", "/api/v1", "/apis"]
    assert discovery.load("host:1", fetch).rows == first.rows
    assert len(asked) == 3
    answers["/api/v1"] = {"resources": []}
    assert discovery.load("host:1", fetch, fresh=True).rows == []


def test_a_damaged_cache_is_no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    file = tmp_path / "minik/discovery/host_1.json"
    file.parent.mkdir(parents=True)
    file.write_text('[{"group":')
    answers: dict[str, Any] = {"/api": {"versions": []}, "/apis": {"groups": []}}
    assert discovery.load("host:1", answers.__getitem__).rows == []
