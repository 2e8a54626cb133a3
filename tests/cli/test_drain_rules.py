from __future__ import annotations

from typing import Any

import pytest

from cli.drain import choose, parse_taints, tainted
from cli.errors import CliError


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


def test_taints_are_read() -> None:
    assert parse_taints(["a=b:NoSchedule", "c:NoExecute", "d-", "e:NoSchedule-", "f=g:NoExecute-"]) == (
        [{"key": "a", "value": "b", "effect": "NoSchedule"}, {"key": "c", "effect": "NoExecute"}],
        [("d", ""), ("e", "NoSchedule"), ("f", "NoExecute")],
    )


@pytest.mark.parametrize("text", ["a=b", "a", "a:Sometimes", ":NoSchedule", "a:Sometimes-"])
def test_a_taint_that_makes_no_sense(text: str) -> None:
    with pytest.raises(CliError):
        parse_taints([text])


A = {"key": "a", "value": "1", "effect": "NoSchedule"}
B = {"key": "a", "effect": "NoExecute"}


@pytest.mark.parametrize(
    ("added", "removed", "overwrite", "expected"),
    [
        ([], [("a", "")], False, []),
        ([], [("a", "NoExecute")], False, [A]),
        ([{**A, "value": "2"}], [], True, [B, {**A, "value": "2"}]),
        ([{**A, "key": "c"}], [], False, [A, B, {**A, "key": "c"}]),
        ([{**A, "value": "2"}], [], False, "already has a taint"),
        ([], [("z", "")], False, 'taint "z" not found'),
    ],
)
def test_taints_of_a_node(added: Any, removed: Any, overwrite: bool, expected: Any) -> None:
    if isinstance(expected, str):
        with pytest.raises(CliError, match=expected):
            tainted([A, B], added, removed, overwrite=overwrite, node="n")
    else:
        assert tainted([A, B], added, removed, overwrite=overwrite, node="n") == expected
