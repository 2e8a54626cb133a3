"""What `get` prints: the state of pods above all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from apiserver.kinds import builtin
from apiserver.kinds.node import node_roles, node_status
from apiserver.kinds.pod_status import pod_ready, pod_restarts, pod_status
from apiserver.kinds.service import SERVICE


def pod(phase: str = "Running", *, deleted: bool = False, reason: str = "", **statuses: Any) -> dict[str, Any]:
    containers = statuses.pop("containers", [])
    init = statuses.pop("init", [])
    metadata: dict[str, Any] = {"name": "p"}
    if deleted:
        metadata["deletionTimestamp"] = "2020-01-01T00:00:00Z"
    status = {"phase": phase, "containerStatuses": containers, "initContainerStatuses": init, **statuses}
    if reason:
        status["reason"] = reason
    spec = {
        "containers": [{"name": each["name"]} for each in containers] or [{"name": "web"}],
        "initContainers": [{"name": each["name"]} for each in init],
    }
    return {"metadata": metadata, "spec": spec, "status": status}


def container(
    name: str = "web", *, ready: bool = False, restarts: int = 0, last: str = "", **state: Any
) -> dict[str, Any]:
    result: dict[str, Any] = {"name": name, "ready": ready, "restartCount": restarts, "state": state}
    if last:
        result["lastState"] = {"terminated": {"finishedAt": last}}
    return result


DONE = container("a", terminated={"reason": "Completed"})
SIDE = container("b", ready=True, running={})
RUNNING = container(ready=True, running={})
READY = [{"type": "Ready", "status": "True"}]


@pytest.mark.parametrize(
    ("obj", "status", "ready"),
    [
        (pod("Pending"), "Pending", "0/1"),
        (pod(containers=[RUNNING]), "Running", "1/1"),
        (pod(containers=[RUNNING, container("b", running={})]), "Running", "1/2"),
        (pod(containers=[container(waiting={"reason": "CrashLoopBackOff"})]), "CrashLoopBackOff", "0/1"),
        (pod("Pending", containers=[container(waiting={"reason": "ErrImagePull"})]), "ErrImagePull", "0/1"),
        (pod("Succeeded", containers=[container(terminated={"reason": "Completed"})]), "Completed", "0/1"),
        (pod("Failed", containers=[container(terminated={"exitCode": 3})]), "ExitCode:3", "0/1"),
        (pod("Failed", containers=[container(terminated={"exitCode": 137, "signal": 9})]), "Signal:9", "0/1"),
        (pod("Failed", reason="Evicted"), "Evicted", "0/1"),
        (pod(containers=[RUNNING], deleted=True), "Terminating", "1/1"),
        (
            pod("Succeeded", deleted=True, containers=[container(terminated={"reason": "Completed"})]),
            "Completed",
            "0/1",
        ),
        (pod(containers=[RUNNING], deleted=True, reason="NodeLost"), "Unknown", "1/1"),
        (
            pod(
                containers=[container("a", terminated={"reason": "Completed"}), container("b", ready=True, running={})]
            ),
            "NotReady",
            "1/2",
        ),
        (
            pod(
                containers=[DONE, SIDE],
                conditions=READY,
            ),
            "Running",
            "1/2",
        ),
        (pod("Pending", init=[container("i", running={})]), "Init:0/1", "0/1"),
        (pod("Pending", init=[container("i", waiting={"reason": "PodInitializing"})]), "Init:0/1", "0/1"),
        (pod("Pending", init=[container("i", waiting={"reason": "ErrImagePull"})]), "Init:ErrImagePull", "0/1"),
        (pod("Pending", init=[container("i", terminated={"exitCode": 1})]), "Init:ExitCode:1", "0/1"),
        (
            pod("Pending", conditions=[{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]),
            "SchedulingGated",
            "0/1",
        ),
    ],
)
def test_pods(obj, status, ready):
    assert (pod_status(obj), pod_ready(obj)) == (status, ready)


def test_restarts_say_when():
    moment = (datetime.now(UTC) - timedelta(seconds=90)).isoformat().replace("+00:00", "Z")
    text = pod_restarts(pod(containers=[container(restarts=3, last=moment, running={})]))
    assert text in ("3 (90s ago)", "3 (91s ago)")
    assert pod_restarts(pod(containers=[RUNNING])) == "0"


def test_nodes():
    node = {
        "metadata": {"name": "n", "labels": {"node-role.kubernetes.io/control-plane": ""}},
        "spec": {"unschedulable": True},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }
    assert (node_status(node), node_roles(node)) == ("Ready,SchedulingDisabled", "control-plane")
    node["status"]["conditions"][0]["status"] = "Unknown"
    assert node_status(node) == "NotReady,SchedulingDisabled"


@pytest.mark.parametrize("kind", builtin(), ids=lambda kind: kind.plural)
def test_every_column_of_every_kind_bears_an_empty_object(kind):
    empty = {"metadata": {"name": "x"}}
    assert all(column.cell(empty) is not None for column in kind.columns)


def test_services():
    obj = {
        "metadata": {"name": "web", "creationTimestamp": "2020-01-01T00:00:00Z"},
        "spec": {
            "type": "NodePort",
            "clusterIP": "10.96.0.7",
            "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}],
        },
    }
    cells = [column.cell(obj) for column in SERVICE.columns]
    assert cells[:5] == ["web", "NodePort", "10.96.0.7", "<none>", "80:30080/TCP,53/UDP"]
