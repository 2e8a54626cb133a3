from __future__ import annotations

from typing import Any

from cli.drain import choose


def pod(
    name: str, *, owner: str = "", phase: str = "Running", volume: str = "", mirror: bool = False
) -> dict[str, Any]:
    meta: dict[str, Any] = {"name": name, "namespace": "default"}
    if owner:
        meta["ownerReferences"] = [{"kind": owner, "name": "o", "controller": True}]
    if mirror:
        meta["annotations"] = {"kubernetes.io/config.mirror": "x"}
    return {"metadata": meta, "spec": {"volumes": [{volume: {}}] if volume else []}, "status": {"phase": phase}}


PODS = [
    pod("web", owner="ReplicaSet"),
    pod("daemon", owner="DaemonSet"),
    pod("alone"),
    pod("ended", phase="Succeeded"),
    pod("data", owner="ReplicaSet", volume="emptyDir"),
    pod("static", mirror=True),
]


def test_everything_is_allowed() -> None:
    leaving, notes, problems = choose(PODS, force=True, ignore_daemonsets=True, delete_emptydir_data=True)
    assert [each["metadata"]["name"] for each in leaving] == ["web", "alone", "ended", "data"]
    assert problems == []
    assert notes == [
        "ignoring DaemonSet-managed Pods: default/daemon",
        "deleting Pods that declare no controller: default/alone",
    ]


def test_nothing_is_allowed() -> None:
    _, _, problems = choose(PODS, force=False, ignore_daemonsets=False, delete_emptydir_data=False)
    assert problems == [
        "cannot delete DaemonSet-managed Pods (use --ignore-daemonsets to ignore): default/daemon",
        "cannot delete Pods with local storage (use --delete-emptydir-data to override): default/data",
        "cannot delete Pods that declare no controller (use --force to override): default/alone",
    ]
