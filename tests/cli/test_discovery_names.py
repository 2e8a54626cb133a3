from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cli import discovery
from cli.discovery import Kinds, read


def resource(plural: str, kind: str, *short: str, scope: str = "Namespaced", **more: Any) -> dict[str, Any]:
    names = {"resource": plural, "singularResource": kind.lower(), "shortNames": list(short)}
    return {**names, "responseKind": {"kind": kind}, "scope": scope, **more}


def group(name: str, *resources: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": name}, "versions": [{"version": "v1", "resources": list(resources)}]}


PODS = resource("pods", "Pod", "po", categories=["all"], subresources=[{"subresource": "log"}])
CORE = {"items": [group("", PODS, resource("events", "Event", "ev"), resource("nodes", "Node", scope="Cluster"))]}
OTHERS = {
    "items": [
        group("apps", resource("deployments", "Deployment")),
        group("events.k8s.io", resource("events", "Event")),
    ]
}
KINDS = Kinds([*read(CORE), *read(OTHERS)])


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
    answers: dict[str, Any] = {"/api": CORE, "/apis": OTHERS}

    def fetch(path: str) -> Any:
        asked.append(path)
        return answers[path]

    first = discovery.load("host:1", fetch)
    assert asked == ["/api", "/apis"]
    assert discovery.load("host:1", fetch).rows == first.rows
    assert len(asked) == 2
    answers["/api"] = answers["/apis"] = {}
    assert discovery.load("host:1", fetch, fresh=True).rows == []


def test_a_damaged_cache_is_no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    file = tmp_path / "minik/discovery/host_1.json"
    file.parent.mkdir(parents=True)
    file.write_text('[{"group":')
    answers: dict[str, Any] = {"/api": {}, "/apis": {}}
    assert discovery.load("host:1", answers.__getitem__).rows == []
