"""The story told from revisions: what changed, who did it, in order."""

from __future__ import annotations

from typing import Any

import pytest

from workshop.history.recorder import revision
from workshop.history.related import related
from workshop.history.store import History, Revision, Store
from workshop.history.story import tell


def at(second: float, verb: str, kind: str, name: str, *, writer: str = "", owner: str = "", **more: Any) -> Revision:
    owners = [{"kind": "ReplicaSet", "name": owner, "uid": owner, "controller": True}] if owner else []
    extra = more.pop("meta", {})
    meta = {"name": name, "namespace": "ns", "uid": name, "resourceVersion": f"{second}", "ownerReferences": owners}
    made = revision(verb, kind, {"metadata": {**meta, **extra}, **more}, writer)
    return Revision(**{**vars(made), "at": second})


def replicas(number: int) -> dict[str, Any]:
    return {"replicas": number, "template": {"spec": {"containers": [{"image": "web:1"}]}}}


def container(**state: Any) -> list[dict[str, Any]]:
    return [{"name": "c", "restartCount": state.pop("restarts", 0), "state": state, **state.pop("last", {})}]


CONTROLLERS, KUBELET = "kube-controller-manager", "kubelet"
READY, UNREADY = [{"type": "Ready", "status": "True"}], [{"type": "Ready", "status": "False", "reason": "Because"}]
SET = at(0, "LISTED", "ReplicaSet", "rs", spec=replicas(2))
POD = at(1, "ADDED", "Pod", "p", owner="rs", spec={}, writer=CONTROLLERS)
ENDED = {"terminated": {"exitCode": 3, "reason": "Error"}}


@pytest.mark.parametrize(
    ("revisions", "told"),
    [
        ([SET, POD], [("pod/p", "controllers/replicaset", "created: rs wanted 2, saw 0")]),
        (
            [POD, at(2, "MODIFIED", "Pod", "p", owner="rs", spec={"nodeName": "n"}, writer="kube-scheduler")],
            [("pod/p", "controllers/replicaset", "created"), ("pod/p", "scheduler", "bound to n")],
        ),
        (
            [
                at(1, "LISTED", "Pod", "p", status={"conditions": READY}),
                at(2, "MODIFIED", "Pod", "p", status={"conditions": UNREADY}, writer=KUBELET),
            ],
            [("pod/p", "kubelet", "not Ready any more (Because)")],
        ),
        (
            [
                at(1, "LISTED", "Pod", "p", status={"containerStatuses": container(running={"startedAt": "1"})}),
                at(2, "MODIFIED", "Pod", "p", status={"containerStatuses": container(**ENDED)}, writer=KUBELET),
                at(3, "DELETED", "Pod", "p"),
            ],
            [("pod/p", "kubelet", "container c ended with exit code 3 (Error)"), ("pod/p", "", "gone")],
        ),
        (
            [POD, at(2, "MODIFIED", "Pod", "p", spec={}, meta={"labels": {"app": "x"}}, writer="kubectl")],
            [
                ("pod/p", "controllers/replicaset", "created"),
                ("pod/p", "kubectl", "label app: (none) -> x"),
                ("pod/p", "kubectl", "let go by ReplicaSet/rs"),
            ],
        ),
        (
            [SET, at(2, "MODIFIED", "ReplicaSet", "rs", spec=replicas(5), writer=CONTROLLERS)],
            [("replicaset/rs", "controllers/deployment", "wanted: 2 -> 5")],
        ),
        (
            [
                at(1, "LISTED", "Node", "n", status={"conditions": READY}),
                at(2, "MODIFIED", "Node", "n", status={"conditions": UNREADY}, writer=CONTROLLERS),
            ],
            [("node/n", "you", "minikctl node cut"), ("node/n", "controllers/nodelifecycle", "NotReady (Because)")],
        ),
        ([at(1, "LISTED", "Pod", "p")], []),
    ],
)
def test_the_story(revisions: list[Revision], told: list[tuple[str, str, str]]) -> None:
    faults = [{"at": 1.5, "host": "n", "what": "cut"}] if revisions[0].kind == "Node" else []
    assert [(each.about, each.writer, each.text) for each in tell(revisions, faults)] == told


def test_the_story_of_a_replica_set_has_its_pods_their_events_and_nodes_and_nothing_else(tmp_path: Any) -> None:
    event = {"involvedObject": {"kind": "Pod", "name": "p", "uid": "p"}, "type": "Warning", "reason": "Bad"}
    store = Store(tmp_path / "h")
    store.add(
        [
            SET,
            at(1, "ADDED", "Pod", "p", owner="rs", spec={"nodeName": "n"}),
            at(1, "ADDED", "Pod", "other", spec={"nodeName": "m"}),
            at(2, "ADDED", "Event", "e", **event),
            at(3, "ADDED", "EndpointSlice", "s", endpoints=[{"targetRef": {"uid": "p"}}]),
            at(3, "ADDED", "EndpointSlice", "t", endpoints=[{"targetRef": {"uid": "other"}}]),
            at(4, "ADDED", "Node", "n", meta={"namespace": ""}),
            at(4, "ADDED", "Node", "m", meta={"namespace": ""}),
            at(5, "MODIFIED", "Pod", "p", spec={"nodeName": "n"}),
        ]
    )
    found = related(History(tmp_path / "h"), "ReplicaSet", "ns", "rs")
    assert [(each.kind, each.name) for each in found] == [
        ("ReplicaSet", "rs"),
        ("Pod", "p"),
        ("Event", "e"),
        ("EndpointSlice", "s"),
        ("Node", "n"),
        ("Pod", "p"),
    ]
