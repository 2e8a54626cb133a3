"""What `minikctl why` says of objects in trouble."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from workshop.why import deployment, finding, node, placement, pod, service

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
ROOT = Path(__file__).parents[2]


def a_pod(name: str = "web-1", *, spec: Any = None, meta: Any = None, **status: Any) -> dict[str, Any]:
    containers = [{"name": "web", "image": "minik/web:1", "ports": [{"name": "http", "containerPort": 8080}]}]
    return {
        "metadata": {"name": name, "namespace": "default", "uid": name, "labels": {"app": "web"}, **(meta or {})},
        "spec": {"nodeName": "node-1", "containers": containers, **(spec or {})},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}], **status},
    }


def unready(state: dict[str, Any], *, phase: str = "Running", spec: Any = None, **more: Any) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": "False", "reason": "ContainersNotReady"}]
    containers = [{"name": "web", "image": "minik/web:1", "ready": False, "restartCount": 0, "state": state, **more}]
    return a_pod(phase=phase, conditions=conditions, containerStatuses=containers, spec=spec)


def a_node(ready: str = "True", reason: str = "KubeletReady", *, spec: Any = None, **status: Any) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": ready, "reason": reason, "message": reason}]
    return {"metadata": {"name": "node-1"}, "spec": spec or {}, "status": {"conditions": conditions, **status}}


def an_event(reason: str, message: str, at: str = "2026-01-01T11:59:00Z") -> dict[str, Any]:
    return {"reason": reason, "message": message, "lastTimestamp": at}


def a_policy(**rule: Any) -> dict[str, Any]:
    spec = {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [rule] if rule else []}
    return {"metadata": {"name": "p"}, "spec": spec}


PENDING = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes are available."}
WAITING_FOR_ROOM = a_pod(spec={"nodeName": None}, phase="Pending", conditions=[PENDING])
ENDED = {"exitCode": 3, "reason": "Error", "finishedAt": "2026-01-01T11:59:00Z"}
PROBE = {"containers": [{"name": "web", "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}}}]}
ENDING = {"deletionTimestamp": "2026-01-01T11:59:00Z", "deletionGracePeriodSeconds": 30}


@pytest.mark.parametrize(
    ("obj", "events", "the_node", "file", "texts"),
    [
        (WAITING_FOR_ROOM, [], None, "scheduler/filters.py", ["No node can take it", "PodScheduled", "node-1 full"]),
        (
            a_pod(spec={"nodeName": None, "schedulerName": "mine"}, phase="Pending", conditions=[]),
            [],
            None,
            "",
            ["a scheduler called mine", "spec.schedulerName = mine"],
        ),
        (
            a_pod(spec={"nodeName": None}, phase="Pending", conditions=[]),
            [],
            None,
            "scheduler/scheduler.py",
            ["No scheduler has looked at it yet"],
        ),
        (
            a_pod(spec={"nodeName": None, "schedulingGates": [{"name": "wait"}]}, phase="Pending", conditions=[]),
            [],
            None,
            "scheduler/scheduler.py",
            ["spec.schedulingGates = wait"],
        ),
        (
            unready(
                {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 20s"}},
                restartCount=4,
                lastState={"terminated": ENDED},
            ),
            [],
            a_node(),
            "kubelet/pods/plan.py",
            ["4 restarts", "exit code 3 (Error)", "--previous", "back-off 20s"],
        ),
        (
            unready({"waiting": {"reason": "CrashLoopBackOff"}}, restartCount=2, lastState={"terminated": ENDED}),
            [an_event("Unhealthy", "Liveness probe failed: 404")],
            a_node(),
            "kubelet/pods/plan.py",
            ["Liveness probe failed: 404"],
        ),
        (
            unready({"waiting": {"reason": "ImagePullBackOff", "message": "Back-off"}}, phase="Pending"),
            [an_event("Failed", 'Failed to pull image "minik/web:9": no such image')],
            a_node(),
            "kubelet/pods/steps.py",
            ["no image to start from", "minik/web:9", "ImagePullBackOff"],
        ),
        (
            unready({"waiting": {"reason": "CreateContainerConfigError", "message": 'configmap "c" not found'}}),
            [],
            a_node(),
            "kubelet/pods/steps.py",
            ["refers to something that is not there", 'configmap "c" not found'],
        ),
        (
            unready({"running": {}}, spec=PROBE),
            [an_event("Unhealthy", "Readiness probe failed: HTTP 404")],
            a_node(),
            "kubelet/pods/probes.py",
            ["readiness probe does not pass", "GET /ready on port http", "HTTP 404"],
        ),
        (
            unready({"waiting": {"reason": "ContainerCreating"}}, phase="Pending"),
            [an_event("FailedMount", 'configmap "c" not found')],
            a_node(),
            "kubelet/pods/mounting.py",
            ["A volume cannot be mounted", 'configmap "c" not found'],
        ),
        (
            unready({"running": {}}),
            [],
            a_node("Unknown", "NodeStatusUnknown"),
            "controllers/node_lifecycle.py",
            ["Its node is not Ready", "why node/node-1"],
        ),
        (
            a_pod(phase="Failed", reason="Evicted", message="The node was low on resource: memory"),
            [],
            a_node(),
            "kubelet/pods/state.py",
            ["status.reason = Evicted", "low on resource"],
        ),
        (
            a_pod(meta=ENDING),
            [],
            a_node("Unknown", "NodeStatusUnknown"),
            "kubelet/pods/killing.py",
            ["Terminating, for 90s", "nobody is there to end the containers"],
        ),
        (
            a_pod(meta={**ENDING, "finalizers": ["example.com/hold"]}),
            [],
            a_node(),
            "apiserver/registry/store.py",
            ["metadata.finalizers = example.com/hold"],
        ),
        (
            a_pod(meta={**ENDING, "deletionTimestamp": "2026-01-01T12:00:10Z"}),
            [],
            a_node(),
            "kubelet/pods/killing.py",
            ["for 20s; it was given 30 s", "SIGTERM"],
        ),
    ],
)
def test_of_a_pod(obj: Any, events: Any, the_node: Any, file: str, texts: list[str]) -> None:
    answer = pod.explain(obj, events=events, node=the_node, verdicts=[("node-1", "full")], now=NOW)
    shown = "\n".join(answer.lines()).replace("\t", " ")
    assert [text for text in texts if text not in shown] == [], shown
    assert file in {each.part.file for each in answer.findings}


def test_a_pod_that_is_well_has_nothing_to_explain() -> None:
    answer = pod.explain(a_pod(), events=[], node=a_node(), now=NOW)
    assert answer.lines() == ["pod/web-1 is Running and Ready"]


def test_the_scheduler_says_of_each_node_why_not() -> None:
    nodes = [
        {"metadata": {"name": "big"}, "status": {"allocatable": {"cpu": "2", "memory": "4Gi", "pods": "10"}}},
        {
            "metadata": {"name": "kept"},
            "spec": {"unschedulable": True, "taints": [{"key": "only", "effect": "NoSchedule"}]},
            "status": {"allocatable": {"cpu": "8", "memory": "4Gi", "pods": "10"}},
        },
    ]
    asks = {"resources": {"requests": {"cpu": "1500m"}}}
    wanted = a_pod(spec={"nodeName": None, "containers": [{"name": "web", "image": "i", **asks}]})
    other = a_pod("other", spec={"nodeName": "big", "containers": [{"name": "web", "image": "i", **asks}]})
    assert placement.verdicts(wanted, nodes, [wanted, other]) == [
        ("big", "Insufficient cpu: asks for 1.5, 0.5 of 2 is free"),
        ("kept", "were unschedulable"),
    ]


def a_service(**spec: Any) -> dict[str, Any]:
    ports = [{"name": "http", "port": 80, "targetPort": "http"}]
    return {"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": ports, **spec}}


def a_slice(ready: bool = True) -> dict[str, Any]:
    endpoint = {"addresses": ["10.244.1.3"], "conditions": {"ready": ready}}
    return {"metadata": {"name": "web-x"}, "endpoints": [endpoint], "ports": [{"port": 8080}]}


OTHER_PORT = [{"port": 80, "targetPort": "admin"}]
WRONG_NUMBER = [{"port": 80, "targetPort": 9090}]


@pytest.mark.parametrize(
    ("svc", "pods", "slices", "policies", "texts"),
    [
        (a_service(), [a_pod()], [a_slice()], [], ["has 1 ready endpoints: 10.244.1.3:8080"]),
        (
            a_service(selector={"app": "wep"}),
            [a_pod()],
            [],
            [],
            ["no endpoints", "matches no pod", "app=wep", "pod web-1 has app=web"],
        ),
        (
            a_service(),
            [unready({"running": {}})],
            [a_slice(False)],
            [],
            ["1 of the 1 selected pods are not Ready", "why pod/web-1"],
        ),
        (a_service(ports=OTHER_PORT), [a_pod()], [], [], ["no port called admin".replace("no ", ""), "http = 8080"]),
        (a_service(ports=WRONG_NUMBER), [a_pod()], [a_slice()], [], ["port 9090 of the pods", "8080"]),
        (a_service(), [a_pod()], [], [], ["the EndpointSlices do not show them"]),
        (a_service(), [a_pod()], [a_slice()], [a_policy()], ["lets nobody reach port http", "networkpolicy/p"]),
        (
            a_service(),
            [a_pod()],
            [a_slice()],
            [a_policy(**{"from": [{"podSelector": {"matchLabels": {"role": "client"}}}]})],
            ["lets only these reach", "pods role=client of this namespace"],
        ),
        (a_service(), [a_pod()], [a_slice()], [a_policy(ports=[{"port": 9090}])], ["lets nobody reach"]),
        (a_service(selector=None), [], [], [], ["selects no pods"]),
        (a_service(type="ExternalName", externalName="db.example"), [], [], [], ["another name for db.example"]),
    ],
)
def test_of_a_service(svc: Any, pods: Any, slices: Any, policies: Any, texts: list[str]) -> None:
    shown = "\n".join(service.explain(svc, pods=pods, slices=slices, policies=policies).lines()).replace("\t", " ")
    assert [text for text in texts if text not in shown] == [], shown


@pytest.mark.parametrize("rule", [{"ports": [{"port": 8080}]}, {"ports": [{"port": 8000, "endPort": 9000}]}])
def test_a_policy_that_lets_everybody_in_is_not_mentioned(rule: Any) -> None:
    answer = service.explain(a_service(), pods=[a_pod()], slices=[a_slice()], policies=[a_policy(**rule)])
    assert answer.findings == []


@pytest.mark.parametrize(
    ("obj", "texts"),
    [
        (a_node(), ["node/node-1 is Ready and takes pods"]),
        (a_node("Unknown", "NodeStatusUnknown"), ["silent", "renewed 42s ago", "controllers/node_lifecycle.py"]),
        (a_node("False", "KubeletNotReady"), ["says itself", "kubelet/node.py"]),
        (a_node(spec={"unschedulable": True}), ["cordoned", "minikctl uncordon node-1"]),
        (a_node(spec={"taints": [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]}), ["gpu=yes:NoSchedule"]),
    ],
)
def test_of_a_node(obj: Any, texts: list[str]) -> None:
    lease = {"spec": {"renewTime": "2026-01-01T11:59:18.000000Z"}}
    shown = "\n".join(node.explain(obj, lease=lease, now=NOW).lines())
    assert [text for text in texts if text not in shown] == [], shown


def test_of_a_deployment() -> None:
    owner = {"uid": "d", "controller": True}
    refused = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota: q"}
    late = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "timed out"}

    def shown(spec: Any, conditions: Any, set_conditions: Any) -> str:
        obj = {
            "metadata": {"name": "web", "uid": "d", "generation": 2},
            "spec": {"replicas": 3, **spec},
            "status": {"observedGeneration": 2, "replicas": 1, "conditions": conditions},
        }
        new = {
            "metadata": {"name": "web-new", "uid": "r", "ownerReferences": [owner]},
            "status": {"conditions": set_conditions},
        }
        stuck = unready({"waiting": {"reason": "CrashLoopBackOff"}})
        stuck["metadata"]["ownerReferences"] = [{"uid": "r", "controller": True}]
        answer = deployment.explain(
            obj, sets=[new], pods=[stuck], of_pod=lambda each: pod.explain(each, events=[], node=a_node(), now=NOW)
        )
        return "\n".join(answer.lines())

    assert "wants 3 pods, has 1" in shown({}, [], [])
    assert "1 of 1 pods of web-new are not Ready" in shown({}, [], [])
    assert "CrashLoopBackOff" in shown({}, [], [])
    assert "exceeded quota: q" in shown({}, [], [refused])
    assert "ProgressDeadlineExceeded" in shown({}, [late], [])
    assert "rollout resume deploy/web" in shown({"paused": True}, [], [])


def test_every_part_names_a_file_that_is_there() -> None:
    parts = [each for each in vars(finding).values() if isinstance(each, finding.Part)]
    assert len(parts) > 15
    assert [each.file for each in parts if each.file and not (ROOT / each.file).is_file()] == []
