"""The scheduler as a process against a real API server on a real etcd; the nodes are only told of."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator

import pytest
from control_plane import ControlPlane, FakeKubelets, ignoring_gone, listed, stays, until
from lightkube.models.core_v1 import (
    Affinity,
    Container,
    ContainerPort,
    NodeAffinity,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    PodSpec,
    ResourceRequirements,
    Taint,
    Toleration,
)
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Event, Node, Pod
from lightkube.resources.scheduling_v1 import PriorityClass

from api import meta, pods
from client.config import Client


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory, etcd_binary: str) -> Iterator[ControlPlane]:
    plane = ControlPlane(tmp_path_factory.mktemp("plane"))
    try:
        plane.start_etcd()
        plane.start_apiserver()
        plane.start_scheduler()
        yield plane
    finally:
        plane.stop()


@pytest.fixture
async def nodes(client: Client) -> AsyncIterator[FakeKubelets]:
    async with FakeKubelets(client).running() as kubelets:
        yield kubelets
        for pod in await listed(client, Pod):
            await ignoring_gone(client.delete(Pod, meta.name(pod), namespace=meta.namespace(pod), grace_period=0))


def pod(name: str, namespace: str, *, cpu: str = "", memory: str = "", port: int | None = None, **spec) -> Pod:
    requests = {key: value for key, value in (("cpu", cpu), ("memory", memory)) if value}
    ports = [ContainerPort(containerPort=port, hostPort=port)] if port else None
    container = Container(name="c", image="i", resources=ResourceRequirements(requests=requests or None), ports=ports)
    metadata = ObjectMeta(name=name, namespace=namespace, labels={"app": name.rsplit("-", 1)[0]})
    return Pod(metadata=metadata, spec=PodSpec(containers=[container], terminationGracePeriodSeconds=0, **spec))


def bound(found: list[Pod]) -> dict[str, str]:
    return {meta.name(each): pods.node_name(each) for each in found if pods.node_name(each)}


def scheduled_condition(obj: Pod):
    return meta.get_condition(obj.status.conditions if obj.status else None, "PodScheduled")


async def test_equal_pods_are_spread_and_an_event_says_where(client, namespace, nodes):
    for name in ("a", "b", "c"):
        await nodes.add(name)
    for number in range(6):
        await client.create(pod(f"web-{number}", namespace))
    found = await until(client, Pod, lambda objs: len(bound(objs)) == 6, namespace=namespace)
    assert Counter(bound(found).values()) == {"a": 2, "b": 2, "c": 2}
    assert all(scheduled_condition(each).status == "True" for each in found)
    expected = {f"Successfully assigned {namespace}/{name} to {node}" for name, node in bound(found).items()}
    events = await until(client, Event, lambda objs: expected <= {e.message for e in objs}, namespace=namespace)
    assert {e.reason for e in events} == {"Scheduled"}


async def test_a_pod_that_fits_nowhere_says_why_and_is_placed_when_a_node_comes(client, namespace, nodes):
    await nodes.add("small", cpu="1")
    await nodes.add("closed")
    await client.patch(Node, "closed", {"spec": {"unschedulable": True}})
    await until(client, Node, lambda objs: any(n.spec and n.spec.unschedulable for n in objs))
    await client.create(pod("big", namespace, cpu="2"))
    message = "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) were unschedulable."

    def explained(objs: list[Pod]) -> bool:
        condition = scheduled_condition(objs[0]) if objs else None
        return condition is not None and (condition.status, condition.message) == ("False", message)

    found = await until(client, Pod, explained, namespace=namespace)
    assert scheduled_condition(found[0]).reason == "Unschedulable"
    await until(
        client,
        Event,
        lambda objs: ("FailedScheduling", message) in {(e.reason, e.message) for e in objs},
        namespace=namespace,
    )
    await nodes.add("roomy")
    found = await until(client, Pod, lambda objs: bool(bound(objs)), namespace=namespace)
    assert bound(found) == {"big": "roomy"}
    assert scheduled_condition(found[0]).status == "True"


@pytest.mark.parametrize("change", ["delete", "finish", "uncordon", "untaint"])
async def test_room_that_appears_is_used_at_once(client, namespace, nodes, change):
    await nodes.add("only", cpu="1")
    if change in ("delete", "finish"):
        await client.create(pod("first", namespace, cpu="800m"))
        await until(client, Pod, lambda objs: bool(bound(objs)), namespace=namespace)
    elif change == "uncordon":
        await client.patch(Node, "only", {"spec": {"unschedulable": True}})
    else:
        taint = Taint(key="k", value="v", effect="NoSchedule")
        await client.patch(Node, "only", {"spec": {"taints": [taint.to_dict()]}})
    await client.create(pod("second", namespace, cpu="500m"))
    await until(
        client,
        Pod,
        lambda o: any((c := scheduled_condition(p)) and c.status == "False" for p in o),
        namespace=namespace,
    )
    if change == "delete":
        await client.delete(Pod, "first", namespace=namespace)
    elif change == "finish":
        await client.patch(Pod.Status, "first", {"status": {"phase": "Succeeded"}}, namespace=namespace)
    elif change == "uncordon":
        await client.patch(Node, "only", {"spec": {"unschedulable": None}})
    else:
        await client.patch(Node, "only", {"spec": {"taints": None}})
    found = await until(client, Pod, lambda objs: bound(objs).get("second") == "only", namespace=namespace)
    assert found


async def test_requests_are_counted_and_never_overcommitted(client, namespace, nodes):
    await nodes.add("a", cpu="1")
    await nodes.add("b", cpu="1")
    for number in range(12):
        await client.create(pod(f"p-{number}", namespace, cpu="200m"))

    def settled(objs: list[Pod]) -> bool:
        refused = [each for each in objs if (c := scheduled_condition(each)) and c.status == "False"]
        return len(bound(objs)) == 10 and len(refused) == 2

    found = await until(client, Pod, settled, namespace=namespace)
    assert Counter(bound(found).values()) == {"a": 5, "b": 5}


async def test_selectors_affinity_taints_and_ports(client, namespace, nodes):
    await nodes.add("ssd", labels={"disk": "ssd"})
    await nodes.add("tainted")
    await client.patch(Node, "tainted", {"spec": {"taints": [{"key": "own", "value": "x", "effect": "NoSchedule"}]}})
    await until(client, Node, lambda objs: any(n.spec and n.spec.taints for n in objs))
    here = NodeSelectorTerm(
        matchExpressions=[NodeSelectorRequirement(key="kubernetes.io/hostname", operator="In", values=["tainted"])]
    )
    affinity = Affinity(
        nodeAffinity=NodeAffinity(requiredDuringSchedulingIgnoredDuringExecution=NodeSelector(nodeSelectorTerms=[here]))
    )
    toleration = Toleration(key="own", operator="Equal", value="x", effect="NoSchedule")
    await client.create(pod("selected", namespace, nodeSelector={"disk": "ssd"}))
    await client.create(pod("there", namespace, affinity=affinity, tolerations=[toleration]))
    await client.create(pod("refused", namespace, affinity=affinity))
    await client.create(pod("port-1", namespace, port=8080))
    await client.create(pod("port-2", namespace, port=8080))
    found = await until(
        client,
        Pod,
        lambda objs: (
            len(bound(objs)) == 3
            and sum((c := scheduled_condition(p)) is not None and c.status == "False" for p in objs) == 2
        ),
        namespace=namespace,
    )
    where = bound(found)
    assert where["selected"] == "ssd"
    assert where["there"] == "tainted"
    assert len({"port-1", "port-2"} & where.keys()) == 1
    reasons = {meta.name(p): scheduled_condition(p).message for p in found if meta.name(p) not in where}
    assert "1 node(s) had untolerated taint {own: x}" in reasons["refused"]
    assert "1 node(s) didn't match Pod's node affinity/selector" in reasons["refused"]
    left = next(name for name in reasons if name.startswith("port"))
    assert "1 node(s) didn't have free ports for the requested pod ports" in reasons[left]


async def test_pods_of_other_schedulers_are_left_alone(client, namespace, nodes):
    await nodes.add("a")
    await client.create(pod("other", namespace, schedulerName="mine"))
    await client.create(pod("ours", namespace))
    found = await until(client, Pod, lambda objs: "ours" in bound(objs), namespace=namespace)
    assert "other" not in bound(found)


async def test_killed_in_the_middle_it_goes_on_and_nothing_is_overcommitted(client, namespace, nodes, plane):
    for name in ("a", "b", "c"):
        await nodes.add(name, cpu="4")
    names = [f"p-{number}" for number in range(60)]
    creating = asyncio.gather(*(client.create(pod(name, namespace, cpu="200m")) for name in names))
    await until(client, Pod, lambda objs: len(bound(objs)) >= 5, namespace=namespace)
    plane.kill("scheduler")
    plane.start_scheduler()
    await creating
    found = await until(client, Pod, lambda objs: len(bound(objs)) == 60, namespace=namespace)
    assert Counter(bound(found).values()) == {"a": 20, "b": 20, "c": 20}


async def test_two_schedulers_do_not_disturb_each_other(client, namespace, nodes, plane):
    await nodes.add("a", cpu="4", limit="60")
    plane.start_scheduler("second")
    try:
        await asyncio.gather(*(client.create(pod(f"p-{n}", namespace, cpu="100m")) for n in range(40)))
        await until(client, Pod, lambda objs: len(bound(objs)) == 40, namespace=namespace)
        plane.stop("scheduler")  # the other one takes over
        await client.create(pod("late-1", namespace))
        await until(client, Pod, lambda objs: "late-1" in bound(objs), namespace=namespace)
    finally:
        plane.stop("second")
        plane.start_scheduler()


@pytest.fixture
async def classes(client: Client) -> AsyncIterator[None]:
    for name, value in (("high", 1000), ("higher", 2000)):
        await client.create(PriorityClass(metadata=ObjectMeta(name=name), value=value))
    yield
    for name in ("high", "higher"):
        await client.delete(PriorityClass, name)


async def test_a_more_important_pod_takes_the_room_of_a_less_important_one(client, namespace, nodes, classes):
    await nodes.add("only", cpu="1")
    low = pod("low", namespace, cpu="800m")
    low.spec.terminationGracePeriodSeconds = 30
    await client.create(low)
    await until(client, Pod, lambda found: pods.phase(found[0]) == "Running", namespace=namespace)
    nodes.silent.add("only")  # the node takes its time to end it
    await client.create(pod("high", namespace, cpu="500m", priorityClassName="high"))

    def nominated(found: list[Pod]) -> bool:
        by_name = {meta.name(each): each for each in found}
        high = by_name["high"].status
        return high is not None and high.nominatedNodeName == "only" and meta.is_terminating(by_name["low"])

    found = await until(client, Pod, nominated, namespace=namespace)
    (reason,) = [each.reason for each in found[1].status.conditions if each.type == "DisruptionTarget"]
    assert (meta.name(found[1]), reason) == ("low", "PreemptionByScheduler")
    # There is room for this one now, but not when the nominated one has come.
    await client.create(pod("later", namespace, cpu="200m"))
    await client.create(pod("latest", namespace, cpu="600m"))
    await stays(client, Pod, lambda found: set(bound(found)) <= {"low", "later"}, namespace=namespace, seconds=1)
    nodes.silent.clear()
    nodes.look_again()
    found = await until(client, Pod, lambda found: "high" in bound(found), namespace=namespace)
    assert "latest" not in bound(found)
    await until(client, Event, lambda objs: any(each.reason == "Preempted" for each in objs), namespace=namespace)


async def test_who_never_preempts_waits(client, namespace, nodes, classes):
    await nodes.add("only", cpu="1")
    await client.create(pod("low", namespace, cpu="800m"))
    await until(client, Pod, lambda found: bool(bound(found)), namespace=namespace)
    polite = PriorityClass(metadata=ObjectMeta(name="polite"), value=1000, preemptionPolicy="Never")
    await client.create(polite)
    try:
        await client.create(pod("polite", namespace, cpu="500m", priorityClassName="polite"))
        await until(
            client,
            Pod,
            lambda found: any(scheduled_condition(p) and not bound([p]) for p in found),
            namespace=namespace,
        )
        await stays(client, Pod, lambda found: set(bound(found)) == {"low"}, namespace=namespace, seconds=1)
    finally:
        await client.delete(PriorityClass, "polite")
