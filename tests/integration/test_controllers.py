"""The controller manager as a process against a real API server on a real etcd, beside the real scheduler.

Only the kubelets are not real: they report pods Running and Ready, through the API.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
from collections.abc import AsyncIterator, Iterator

import pytest
from control_plane import DEADLINE, USERS, ControlPlane, FakeKubelets, ignoring_gone, listed, stays, until
from cryptography import x509
from lightkube import ApiError
from lightkube.models.apps_v1 import DeploymentSpec, DeploymentStrategy, ReplicaSetSpec, RollingUpdateDeployment
from lightkube.models.certificates_v1 import CertificateSigningRequestSpec
from lightkube.models.core_v1 import (
    Container,
    ContainerPort,
    EndpointAddress,
    EndpointPort,
    EndpointSubset,
    NodeCondition,
    NodeStatus,
    PodSpec,
    PodTemplateSpec,
    ReplicationControllerSpec,
    ServicePort,
    ServiceSpec,
)
from lightkube.models.meta_v1 import LabelSelector, ObjectMeta
from lightkube.models.policy_v1 import PodDisruptionBudgetSpec
from lightkube.resources.apps_v1 import Deployment, ReplicaSet
from lightkube.resources.certificates_v1 import CertificateSigningRequest
from lightkube.resources.core_v1 import (
    ConfigMap,
    Endpoints,
    Event,
    Namespace,
    Node,
    Pod,
    ReplicationController,
    Secret,
    Service,
    ServiceAccount,
)
from lightkube.resources.discovery_v1 import EndpointSlice
from lightkube.resources.policy_v1 import PodDisruptionBudget

from api import meta, pods
from bootstrap import pki
from client import rest
from client.config import Client, connect

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory, etcd_binary: str) -> Iterator[ControlPlane]:
    plane = ControlPlane(tmp_path_factory.mktemp("plane"))
    try:
        yield plane.start()
    finally:
        plane.stop()


@pytest.fixture
async def nodes(client: Client) -> AsyncIterator[FakeKubelets]:
    async with FakeKubelets(client).running() as kubelets:
        for name in ("a", "b", "c"):
            await kubelets.add(name)
        yield kubelets
        kubelets.silent.clear()
        for kind in (Deployment, ReplicaSet, Pod):
            for obj in await listed(client, kind):
                await ignoring_gone(client.delete(kind, meta.name(obj), namespace=meta.namespace(obj), grace_period=0))


def template(image: str = "web:1", *, port: str = "http", number: int = 80, **labels: str) -> PodTemplateSpec:
    container = Container(name="c", image=image, ports=[ContainerPort(name=port, containerPort=number)])
    spec = PodSpec(containers=[container], terminationGracePeriodSeconds=0)
    return PodTemplateSpec(metadata=ObjectMeta(labels=labels or {"app": "web"}), spec=spec)


def deployment(namespace: str, *, replicas: int = 3, image: str = "web:1", **spec) -> Deployment:
    wanted = DeploymentSpec(
        replicas=replicas, selector=LabelSelector(matchLabels={"app": "web"}), template=template(image), **spec
    )
    return Deployment(metadata=ObjectMeta(name="web", namespace=namespace), spec=wanted)


def replica_set(namespace: str, *, replicas: int) -> ReplicaSet:
    spec = ReplicaSetSpec(replicas=replicas, selector=LabelSelector(matchLabels={"app": "web"}), template=template())
    return ReplicaSet(metadata=ObjectMeta(name="web", namespace=namespace), spec=spec)


def ready(count: int):
    def holds(found: list[Pod]) -> bool:
        return len(found) == count and sum(pods.is_ready(p) and pods.is_active(p) for p in found) == count

    return holds


def images(found: list[Pod]) -> set[str]:
    return {pod.spec.containers[0].image for pod in found}


def condition(found: list[Deployment], type_: str):
    return meta.get_condition(found[0].status.conditions if found and found[0].status else None, type_)


def rolled_out(found: list[Deployment]) -> bool:
    if not found or found[0].status is None:
        return False
    status, wanted = found[0].status, found[0].spec.replicas
    progress = condition(found, "Progressing")
    return (
        (status.observedGeneration or 0) >= found[0].metadata.generation
        and (status.updatedReplicas or 0) == wanted == (status.replicas or 0) == (status.availableReplicas or 0)
        and progress is not None
        and progress.reason == "NewReplicaSetAvailable"
    )


async def roll_out(client: Client, namespace: str, image: str) -> None:
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}}
    await client.patch(Deployment, "web", patch, namespace=namespace)


# Deployments and ReplicaSets


async def test_a_deployment_runs_scales_and_says_so(client, namespace, nodes):
    await client.create(deployment(namespace))
    await until(client, Pod, ready(3), namespace=namespace)
    found = await until(client, Deployment, rolled_out, namespace=namespace)
    assert condition(found, "Available").status == "True"
    assert found[0].metadata.annotations["deployment.kubernetes.io/revision"] == "1"
    (owner,) = await listed(client, ReplicaSet, namespace)
    assert owner.metadata.labels["pod-template-hash"] == meta.name(owner).removeprefix("web-")
    for replicas in (5, 0, 3):
        await client.patch(Deployment.Scale, "web", {"spec": {"replicas": replicas}}, namespace=namespace)
        await until(client, Pod, ready(replicas), namespace=namespace)
        await until(client, Deployment, rolled_out, namespace=namespace)
    messages = {f"Scaled up replica set {meta.name(owner)} from 0 to 3"}
    messages |= {
        f"Scaled {how} replica set {meta.name(owner)} from {step}"
        for how, step in (("up", "3 to 5"), ("down", "5 to 0"))
    }
    await until(client, Event, lambda objs: messages <= {e.message for e in objs}, namespace=namespace)


async def test_a_rolling_update_never_falls_short_and_can_be_undone(client, namespace, nodes):
    rolling = DeploymentStrategy(
        type="RollingUpdate", rollingUpdate=RollingUpdateDeployment(maxSurge=1, maxUnavailable=0)
    )
    await client.create(deployment(namespace, replicas=4, strategy=rolling))
    await until(client, Pod, ready(4), namespace=namespace)
    fewest, most = 4, 4

    def watch(found: list[Pod]) -> bool:
        nonlocal fewest, most
        active = [each for each in found if pods.is_active(each)]
        fewest = min(fewest, sum(map(pods.is_ready, active)))
        most = max(most, len(active))
        return ready(4)(found) and images(found) == {"web:2"}

    await roll_out(client, namespace, "web:2")
    await until(client, Pod, watch, namespace=namespace)
    assert (fewest, most) == (4, 5)
    found = await until(client, Deployment, rolled_out, namespace=namespace)
    assert found[0].metadata.annotations["deployment.kubernetes.io/revision"] == "2"
    await roll_out(client, namespace, "web:1")
    await until(client, Pod, lambda objs: ready(4)(objs) and images(objs) == {"web:1"}, namespace=namespace)
    found = await until(client, Deployment, rolled_out, namespace=namespace)
    assert found[0].metadata.annotations["deployment.kubernetes.io/revision"] == "3"
    history = {
        meta.annotations(each).get("deployment.kubernetes.io/revision")
        for each in await listed(client, ReplicaSet, namespace)
    }
    assert history == {"2", "3"}


async def test_a_broken_rollout_stops_reports_and_is_healed_by_the_next(client, namespace, nodes):
    nodes.hold = lambda pod: pod.spec.containers[0].image == "broken"
    await client.create(deployment(namespace, replicas=4, progressDeadlineSeconds=2))
    await until(client, Pod, ready(4), namespace=namespace)
    await roll_out(client, namespace, "broken")
    found = await until(
        client,
        Deployment,
        lambda objs: (c := condition(objs, "Progressing")) is not None and c.reason == "ProgressDeadlineExceeded",
        namespace=namespace,
    )
    assert condition(found, "Progressing").status == "False"
    assert "has timed out progressing." in condition(found, "Progressing").message
    running = await listed(client, Pod, namespace)
    assert sum(pods.is_ready(p) and pods.is_active(p) for p in running) == 3  # 25 % of 4 may be missing
    await roll_out(client, namespace, "web:3")
    await until(client, Pod, lambda objs: ready(4)(objs) and images(objs) == {"web:3"}, namespace=namespace)
    await until(client, Deployment, rolled_out, namespace=namespace)


async def test_recreate_never_runs_two_versions(client, namespace, nodes):
    await client.create(deployment(namespace, strategy=DeploymentStrategy(type="Recreate")))
    await until(client, Pod, ready(3), namespace=namespace)
    mixed: list[set[str]] = []

    def watch(found: list[Pod]) -> bool:
        if len(images(found)) > 1:
            mixed.append(images(found))
        return ready(3)(found) and images(found) == {"web:2"}

    await roll_out(client, namespace, "web:2")
    await until(client, Pod, watch, namespace=namespace)
    assert mixed == []


async def test_a_paused_deployment_scales_but_does_not_roll(client, namespace, nodes):
    await client.create(deployment(namespace))
    await until(client, Deployment, rolled_out, namespace=namespace)
    await client.patch(Deployment, "web", {"spec": {"paused": True}}, namespace=namespace)
    await roll_out(client, namespace, "web:2")
    await client.patch(Deployment, "web", {"spec": {"replicas": 4}}, namespace=namespace)
    found = await until(client, Pod, ready(4), namespace=namespace)
    assert images(found) == {"web:1"}
    await client.patch(Deployment, "web", {"spec": {"paused": False}}, namespace=namespace)
    await until(client, Pod, lambda objs: ready(4)(objs) and images(objs) == {"web:2"}, namespace=namespace)


async def test_history_is_kept_up_to_its_limit(client, namespace, nodes):
    await client.create(deployment(namespace, replicas=1, revisionHistoryLimit=1))
    for number in (2, 3, 4):
        await until(client, Deployment, rolled_out, namespace=namespace)
        await roll_out(client, namespace, f"web:{number}")
    await until(client, Deployment, rolled_out, namespace=namespace)
    found = await until(client, ReplicaSet, lambda objs: len(objs) == 2, namespace=namespace)
    revisions = {meta.annotations(each)["deployment.kubernetes.io/revision"] for each in found}
    assert revisions == {"3", "4"}


async def test_min_ready_seconds_hold_a_rollout_back(client, namespace, nodes):
    await client.create(deployment(namespace, replicas=1, minReadySeconds=2))
    await until(client, Pod, ready(1), namespace=namespace)
    (found,) = await listed(client, Deployment, namespace)
    assert not (found.status and found.status.availableReplicas)
    await until(client, Deployment, rolled_out, namespace=namespace)


async def test_pods_are_replaced_adopted_and_released(client, namespace, nodes):
    loose = Pod(
        metadata=ObjectMeta(name="loose", namespace=namespace, labels={"app": "web"}),
        spec=PodSpec(containers=[Container(name="c", image="web:1")], terminationGracePeriodSeconds=0),
    )
    await client.create(loose)
    owner = await client.create(replica_set(namespace, replicas=2))
    found = await until(client, Pod, ready(2), namespace=namespace)
    assert "loose" in {meta.name(each) for each in found}
    assert all(meta.is_controlled_by(each, owner) for each in found)
    await client.patch(Pod, "loose", {"metadata": {"labels": {"app": "mine"}}}, namespace=namespace)
    found = await until(client, Pod, ready(3), namespace=namespace)
    released = next(each for each in found if meta.name(each) == "loose")
    assert meta.controller_of(released) is None
    victim = next(meta.name(each) for each in found if meta.name(each) != "loose")
    await client.delete(Pod, victim, namespace=namespace)
    await until(
        client, Pod, lambda objs: ready(3)(objs) and victim not in {meta.name(p) for p in objs}, namespace=namespace
    )
    await client.patch(Pod.Status, "loose", {"status": {"phase": "Failed"}}, namespace=namespace)
    other = next(meta.name(p) for p in await listed(client, Pod, namespace) if meta.name(p) != "loose")
    await client.patch(Pod.Status, other, {"status": {"phase": "Failed"}}, namespace=namespace)
    await until(client, Pod, lambda objs: sum(map(pods.is_active, objs)) == 2, namespace=namespace)


async def test_killed_again_and_again_it_creates_exactly_what_is_wanted(client, namespace, nodes, plane):
    await client.create(replica_set(namespace, replicas=40))
    for least in (5, 20):
        await until(client, Pod, lambda objs, least=least: len(objs) >= least, namespace=namespace)
        plane.kill("controllers")
        plane.start_controllers()
    await until(client, Pod, ready(40), namespace=namespace)
    await stays(client, Pod, lambda objs: len(objs) == 40, namespace=namespace, seconds=1)


async def test_two_managers_are_safe_and_one_takes_over(client, namespace, nodes, plane):
    plane.start_controllers(name="second")
    try:
        await client.create(replica_set(namespace, replicas=10))
        await until(client, Pod, ready(10), namespace=namespace)
        plane.kill("controllers")
        await client.patch(ReplicaSet, "web", {"spec": {"replicas": 12}}, namespace=namespace)
        await until(client, Pod, ready(12), namespace=namespace)
        await stays(client, Pod, lambda objs: len(objs) == 12, namespace=namespace, seconds=1)
    finally:
        plane.stop("second")
        plane.start_controllers()


# EndpointSlices


def endpoints(found: list[EndpointSlice]) -> dict[str, tuple[bool, bool, bool]]:
    return {
        each.targetRef.name: (each.conditions.ready, each.conditions.serving, each.conditions.terminating)
        for one in found
        for each in one.endpoints or []
    }


def service(namespace: str, **spec) -> Service:
    given = {"selector": {"app": "web"}, "ports": [ServicePort(name="http", port=80, targetPort="http")], **spec}
    return Service(metadata=ObjectMeta(name="web", namespace=namespace), spec=ServiceSpec(**given))


async def test_only_ready_pods_are_ready_endpoints(client, namespace, nodes):
    held: set[str] = set()
    nodes.hold = lambda pod: meta.name(pod) in held
    await client.create(service(namespace))
    (empty,) = await until(client, EndpointSlice, lambda objs: len(objs) == 1, namespace=namespace)
    assert not empty.endpoints
    await client.create(replica_set(namespace, replicas=3))
    found = await until(
        client, EndpointSlice, lambda o: sorted(endpoints(o).values()) == [(True, True, False)] * 3, namespace=namespace
    )
    assert len(found) == 1 or not any(not each.endpoints for each in found)
    (one,) = [each for each in found if each.endpoints]
    assert [(port.name, port.port, port.protocol) for port in one.ports] == [("http", 80, "TCP")]
    assert meta.labels(one)["kubernetes.io/service-name"] == "web"
    assert {each.nodeName for each in one.endpoints} <= {"a", "b", "c"}
    held.add(next(iter(endpoints(found))))
    nodes.look_again()
    await until(
        client,
        EndpointSlice,
        lambda o: sorted(endpoints(o).values()) == [(False, False, False)] + [(True, True, False)] * 2,
        namespace=namespace,
    )
    await client.delete(Service, "web", namespace=namespace)
    await until(client, EndpointSlice, lambda objs: not objs, namespace=namespace)


async def test_a_terminating_pod_leaves_the_rotation_before_it_goes(client, namespace, nodes):
    await client.create(service(namespace))
    wanted = replica_set(namespace, replicas=2)
    wanted.spec.template.spec.terminationGracePeriodSeconds = 30
    await client.create(wanted)
    found = await until(client, Pod, ready(2), namespace=namespace)
    nodes.silent |= {"a", "b", "c"} & {pods.node_name(found[0])}
    victim = meta.name(found[0])
    await client.delete(Pod, victim, namespace=namespace)
    await until(
        client, EndpointSlice, lambda objs: endpoints(objs).get(victim) == (False, True, True), namespace=namespace
    )
    nodes.silent.clear()
    nodes.look_again()
    await until(client, EndpointSlice, lambda objs: victim not in endpoints(objs), namespace=namespace)


async def test_endpoints_show_what_the_slices_show_and_go_with_their_service(client, namespace, nodes):
    await client.create(service(namespace))
    await client.create(replica_set(namespace, replicas=2))

    def addresses(found: list[Endpoints]) -> list[str]:
        return sorted(each.targetRef.name for one in found for s in one.subsets or [] for each in s.addresses or [])

    found = await until(client, Endpoints, lambda o: len(addresses(o)) == 2, namespace=namespace)
    (subset,) = found[0].subsets
    assert [(port.name, port.port) for port in subset.ports] == [("http", 80)]
    slices = await until(client, EndpointSlice, lambda o: len(endpoints(o)) == 2, namespace=namespace)
    assert sorted(endpoints(slices)) == addresses(found)
    await client.patch(Endpoints, "web", {"subsets": None}, namespace=namespace)
    await until(client, Endpoints, lambda o: len(addresses(o)) == 2, namespace=namespace)
    await client.delete(Service, "web", namespace=namespace)
    await until(client, Endpoints, lambda objs: not objs, namespace=namespace)


async def test_hand_made_endpoints_become_slices(client, namespace):
    subset = EndpointSubset(addresses=[EndpointAddress(ip="192.0.2.7")], ports=[EndpointPort(name="http", port=81)])
    await client.create(Endpoints(metadata=ObjectMeta(name="web", namespace=namespace), subsets=[subset]))
    await client.create(service(namespace, selector=None))

    def mirrored(found: list[EndpointSlice]) -> list[tuple[list[str], int]]:
        return [(each.addresses, one.ports[0].port) for one in found for each in one.endpoints or []]

    (one,) = await until(client, EndpointSlice, lambda o: mirrored(o) == [(["192.0.2.7"], 81)], namespace=namespace)
    manager = meta.labels(one)["endpointslice.kubernetes.io/managed-by"]
    assert manager == "endpointslicemirroring-controller.k8s.io"
    change = {"subsets": [{"addresses": [{"ip": "192.0.2.8"}], "ports": [{"name": "http", "port": 82}]}]}
    await client.patch(Endpoints, "web", change, namespace=namespace)
    await until(client, EndpointSlice, lambda o: mirrored(o) == [(["192.0.2.8"], 82)], namespace=namespace)
    await client.delete(Service, "web", namespace=namespace)
    await until(client, EndpointSlice, lambda objs: not objs, namespace=namespace)
    await until(client, Endpoints, lambda objs: not objs, namespace=namespace)


async def test_a_replication_controller_keeps_its_pods(client, namespace, nodes):
    spec = ReplicationControllerSpec(replicas=2, selector={"app": "web"}, template=template())
    wanted = ReplicationController(metadata=ObjectMeta(name="web", namespace=namespace), spec=spec)
    await client.create(wanted)
    found = await until(client, Pod, ready(2), namespace=namespace)
    await client.delete(Pod, meta.name(found[0]), namespace=namespace)
    await until(
        client,
        Pod,
        lambda o: ready(2)(o) and meta.name(found[0]) not in {meta.name(p) for p in o},
        namespace=namespace,
    )
    await until(client, ReplicationController, lambda o: o[0].status.availableReplicas == 2, namespace=namespace)
    await client.patch(ReplicationController, "web", {"spec": {"replicas": 0}}, namespace=namespace)
    await until(client, Pod, lambda objs: not objs, namespace=namespace)


async def test_services_without_selector_are_left_alone(client, namespace, nodes):
    await client.create(service(namespace, selector=None))
    await client.create(replica_set(namespace, replicas=1))
    await until(client, Pod, ready(1), namespace=namespace)
    assert await listed(client, EndpointSlice, namespace) == []


# Nodes


async def test_nodes_get_ranges_of_their_own(client, nodes):
    found = await until(client, Node, lambda objs: all(n.spec and n.spec.podCIDR for n in objs) and len(objs) == 3)
    ranges = {meta.name(node): node.spec.podCIDR for node in found}
    assert len(set(ranges.values())) == 3
    assert all(each.startswith("10.244.") and each.endswith(".0/24") for each in ranges.values())


async def test_a_silent_node_is_tainted_its_pods_move_and_all_is_undone_when_it_returns(client, namespace, nodes):
    await client.create(deployment(namespace, replicas=6))
    found = await until(client, Pod, ready(6), namespace=namespace)
    assert {pods.node_name(each) for each in found} == {"a", "b", "c"}
    nodes.silent.add("a")
    lost = await until(
        client, Node, lambda objs: any(meta.name(n) == "a" and n.spec.taints and len(n.spec.taints) == 2 for n in objs)
    )
    node = next(each for each in lost if meta.name(each) == "a")
    state = meta.get_condition(node.status.conditions, "Ready")
    assert (state.status, state.reason, state.message) == (
        "Unknown",
        "NodeStatusUnknown",
        "Kubelet stopped posting node status.",
    )
    assert {(t.key, t.effect) for t in node.spec.taints} == {
        ("node.kubernetes.io/unreachable", "NoSchedule"),
        ("node.kubernetes.io/unreachable", "NoExecute"),
    }
    await until(
        client,
        Pod,
        lambda objs: sum(pods.is_ready(p) and pods.is_active(p) and pods.node_name(p) != "a" for p in objs) == 6,
        namespace=namespace,
    )
    left = [p for p in await listed(client, Pod, namespace) if pods.node_name(p) == "a"]
    assert all(meta.is_terminating(p) and not pods.is_ready(p) for p in left)
    nodes.silent.clear()
    await nodes.report("a")
    nodes.look_again()
    await until(client, Node, lambda objs: not any(n.spec.taints for n in objs))
    await until(client, Pod, ready(6), namespace=namespace)


async def test_a_new_node_takes_no_pods_until_it_is_ready(client, namespace):
    unready = NodeStatus(
        conditions=[NodeCondition(type="Ready", status="False")], allocatable={"cpu": "4", "memory": "8Gi", "pods": "9"}
    )
    created = await client.create(Node(metadata=ObjectMeta(name="late"), status=unready))
    assert [(t.key, t.effect) for t in created.spec.taints] == [("node.kubernetes.io/not-ready", "NoSchedule")]
    ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    await client.patch(Node.Status, "late", ready)
    await until(client, Node, lambda objs: any(meta.name(n) == "late" and not n.spec.taints for n in objs))
    await client.delete(Node, "late")


async def test_many_lost_nodes_are_given_up_slowly(client, namespace, nodes):
    for name in ("d", "e", "f", "g"):
        await nodes.add(name)
    nodes.silent |= {"a", "b", "c"}

    def tainted(effect: str):
        def count(found: list[Node]) -> list[str]:
            return [meta.name(n) for n in found if any(t.effect == effect for t in n.spec.taints or [])]

        return count

    await until(client, Node, lambda objs: len(tainted("NoSchedule")(objs)) == 3)
    await until(client, Node, lambda objs: len(tainted("NoExecute")(objs)) == 1)
    await stays(client, Node, lambda objs: len(tainted("NoExecute")(objs)) == 1, namespace=None, seconds=2)
    nodes.silent.clear()
    for name in ("a", "b", "c"):
        await nodes.report(name)
    await until(client, Node, lambda objs: not any(n.spec.taints for n in objs))


async def test_when_all_nodes_are_lost_at_once_nothing_is_evicted(client, namespace, nodes):
    await client.create(deployment(namespace))
    before = await until(client, Pod, ready(3), namespace=namespace)
    nodes.silent |= {"a", "b", "c"}
    await until(
        client,
        Node,
        lambda objs: all(meta.get_condition(n.status.conditions, "Ready").status == "Unknown" for n in objs),
    )
    # Eviction would follow within a second, as the tolerations say.
    await stays(client, Pod, lambda o: not any(map(meta.is_terminating, o)), namespace=namespace, seconds=2.5)
    nodes.silent.clear()
    for name in ("a", "b", "c"):
        await nodes.report(name)
    nodes.look_again()
    after = await until(client, Pod, ready(3), namespace=namespace)
    assert set(map(meta.uid, after)) == set(map(meta.uid, before))


async def test_an_api_server_that_was_away_costs_no_pod(client, namespace, nodes, plane):
    await client.create(deployment(namespace))
    before = await until(client, Pod, ready(3), namespace=namespace)
    # It must sit the outage out: a manager that lost its lease and started anew would have nothing to forget.
    plane.stop("controllers")
    plane.start_controllers("--leader-elect-lease-duration=60", "--leader-elect-renew-deadline=50")
    await client.patch(Deployment, "web", {"spec": {"replicas": 4}}, namespace=namespace)
    before = await until(client, Pod, ready(4), namespace=namespace)
    plane.kill("scheduler")
    plane.kill("apiserver")
    plane.kill("etcd")
    await asyncio.sleep(4)  # twice the grace period: the length of the outage, not a condition
    plane.start_etcd()
    plane.start_apiserver()
    plane.start_scheduler()
    await stays(client, Node, lambda objs: not any(n.spec.taints for n in objs), namespace=None, seconds=3)
    after = await until(client, Pod, ready(4), namespace=namespace)
    assert set(map(meta.uid, after)) == set(map(meta.uid, before))
    assert "leads" not in plane.log("controllers").rpartition("connection attempts failed")[2]
    plane.stop("controllers")
    plane.start_controllers()


async def test_pods_of_a_deleted_node_go(client, namespace, nodes):
    await client.create(deployment(namespace))
    await until(client, Pod, ready(3), namespace=namespace)
    nodes.silent.add("a")
    await client.delete(Node, "a")
    await until(
        client,
        Pod,
        lambda objs: ready(3)(objs) and "a" not in {pods.node_name(p) for p in objs},
        namespace=namespace,
    )


# Owners and namespaces


def owned(name: str, namespace: str, owner: ConfigMap, *, blocks: bool = True) -> ConfigMap:
    ref = meta.owner_reference(owner)
    ref.blockOwnerDeletion = blocks
    return ConfigMap(metadata=ObjectMeta(name=name, namespace=namespace, ownerReferences=[ref]))


@pytest.mark.parametrize("policy", ["Background", "Foreground", "Orphan"])
async def test_dependents_follow_their_owner(client, namespace, policy):
    owner = await client.create(ConfigMap(metadata=ObjectMeta(name="owner", namespace=namespace)))
    child = await client.create(owned("child", namespace, owner))
    await client.create(owned("grandchild", namespace, child))
    await rest.delete(client, owner, propagation=policy)

    def names(found: list[ConfigMap]) -> set[str]:
        return {meta.name(each) for each in found} - {"kube-root-ca.crt"}

    if policy == "Orphan":
        found = await until(client, ConfigMap, lambda o: names(o) == {"child", "grandchild"}, namespace=namespace)
        assert next(each for each in found if meta.name(each) == "child").metadata.ownerReferences is None
    else:
        await until(client, ConfigMap, lambda objs: not names(objs), namespace=namespace)


async def test_in_the_foreground_the_owner_goes_last(client, namespace):
    owner = await client.create(ConfigMap(metadata=ObjectMeta(name="owner", namespace=namespace)))
    child = owned("child", namespace, owner)
    child.metadata.finalizers = ["minik.dev/held"]
    await client.create(child)
    await rest.delete(client, owner, propagation="Foreground")
    found = await until(
        client,
        ConfigMap,
        lambda o: any(meta.name(c) == "child" and meta.is_terminating(c) for c in o),
        namespace=namespace,
    )
    assert "owner" in {meta.name(each) for each in found}
    await client.patch(ConfigMap, "child", {"metadata": {"finalizers": None}}, namespace=namespace)
    await until(
        client, ConfigMap, lambda o: not {"owner", "child"} & {meta.name(each) for each in o}, namespace=namespace
    )


async def test_an_owner_of_the_same_name_is_not_the_same_owner(client, namespace):
    owner = await client.create(ConfigMap(metadata=ObjectMeta(name="owner", namespace=namespace)))
    stranger = owned("stranger", namespace, owner)
    stranger.metadata.ownerReferences[0].uid = "00000000-0000-0000-0000-000000000000"
    await client.create(stranger)
    await client.create(owned("mine", namespace, owner))
    found = await until(
        client, ConfigMap, lambda o: "stranger" not in {meta.name(each) for each in o}, namespace=namespace
    )
    assert {"owner", "mine"} <= {meta.name(each) for each in found}


async def test_a_reference_from_elsewhere_costs_its_own_object_and_no_other(client, namespace, nodes):
    owner = await client.create(replica_set(namespace, replicas=2))
    before = await until(client, Pod, ready(2), namespace=namespace)
    elsewhere = f"{namespace}-student"
    await client.create(Namespace(metadata=ObjectMeta(name=elsewhere)))
    reference = meta.owner_reference(owner)
    await client.create(ConfigMap(metadata=ObjectMeta(name="stray", namespace=elsewhere, ownerReferences=[reference])))
    await until(client, ConfigMap, lambda o: "stray" not in {meta.name(each) for each in o}, namespace=elsewhere)
    await until(client, Event, lambda o: any(e.reason == "OwnerRefInvalidNamespace" for e in o), namespace=elsewhere)
    await stays(
        client, Pod, lambda o: {meta.uid(p) for p in o} == set(map(meta.uid, before)), namespace=namespace, seconds=2
    )


async def test_a_cluster_scoped_object_has_no_namespaced_owner(client, namespace):
    owner = await client.create(ConfigMap(metadata=ObjectMeta(name="owner", namespace=namespace)))
    name = f"{namespace}-owned"
    await client.create(Namespace(metadata=ObjectMeta(name=name, ownerReferences=[meta.owner_reference(owner)])))
    found = await until(client, Event, lambda o: any(e.involvedObject.name == name for e in o), namespace="default")
    event = next(each for each in found if each.involvedObject.name == name)
    assert (event.type, event.reason) == ("Warning", "OwnerRefInvalidNamespace")
    assert event.message == (
        f'ownerRef [v1/ConfigMap, namespace: , name: owner, uid: {meta.uid(owner)}] does not exist in namespace ""'
    )
    await client.delete(ConfigMap, "owner", namespace=namespace)
    await stays(
        client,
        Namespace,
        lambda o: any(meta.name(n) == name and not meta.is_terminating(n) for n in o),
        namespace=None,
        seconds=1,
    )


@pytest.mark.parametrize("deleted", [("a",), ("a", "b"), ("a", "b", "c")])
@pytest.mark.parametrize("circle", ["a", "ab", "abc"])
async def test_a_circle_deleted_in_the_foreground_goes(client, namespace, circle, deleted):
    made = {
        name: await client.create(ConfigMap(metadata=ObjectMeta(name=name, namespace=namespace))) for name in circle
    }
    for name, owner in zip(circle, circle[1:] + circle[:1], strict=True):
        patch = {"metadata": {"ownerReferences": [meta.owner_reference(made[owner]).to_dict()]}}
        made[name] = await client.patch(ConfigMap, name, patch, namespace=namespace)
    for name in set(deleted) & set(circle):
        await ignoring_gone(rest.delete(client, made[name], propagation="Foreground"))
    await until(
        client, ConfigMap, lambda objs: not set(circle) & {meta.name(each) for each in objs}, namespace=namespace
    )


async def test_a_deleted_deployment_takes_everything_with_it(client, namespace, nodes):
    await client.create(deployment(namespace))
    await until(client, Pod, ready(3), namespace=namespace)
    await client.delete(Deployment, "web", namespace=namespace)
    await until(client, Pod, lambda objs: not objs, namespace=namespace)
    await until(client, ReplicaSet, lambda objs: not objs, namespace=namespace)


async def test_a_namespace_is_furnished_and_emptied(client, namespace, nodes):
    await until(client, ServiceAccount, lambda o: "default" in {meta.name(each) for each in o}, namespace=namespace)
    configs = await until(
        client, ConfigMap, lambda o: "kube-root-ca.crt" in {meta.name(each) for each in o}, namespace=namespace
    )
    assert configs[0].data["ca.crt"].startswith("-----BEGIN CERTIFICATE-----")
    await client.delete(ConfigMap, "kube-root-ca.crt", namespace=namespace)
    await until(client, ConfigMap, lambda o: "kube-root-ca.crt" in {meta.name(each) for each in o}, namespace=namespace)
    await client.create(deployment(namespace))
    await client.create(service(namespace))
    await until(client, Pod, ready(3), namespace=namespace)
    await client.delete(Namespace, namespace)
    await until(client, Namespace, lambda objs: namespace not in {meta.name(each) for each in objs})
    for kind in (Pod, Deployment, Service, ConfigMap, EndpointSlice):
        assert await listed(client, kind, namespace) == []


# Joining


async def sign(
    plane: ControlPlane, user: str, request: pki.Request, signer: str, usage: str, *, patience: float = 2
) -> x509.Certificate | None:
    """What the cluster makes of a request: a certificate, or None when it is left to a person for so many seconds."""
    caller = connect(str(plane.kubeconfig(user)))
    key = pki.new_key()
    pem = pki.certificate_request(key, request)
    name = f"request-{next(_numbers)}"
    spec = CertificateSigningRequestSpec(
        request=base64.b64encode(pem).decode(), signerName=signer, usages=["digital signature", usage]
    )
    try:
        await caller.create(CertificateSigningRequest(metadata=ObjectMeta(name=name), spec=spec))
    finally:
        await caller.close()
    admin = connect(str(plane.kubeconfig("admin")))
    try:
        found = await until(
            admin,
            CertificateSigningRequest,
            lambda objs: any(meta.name(c) == name and c.status and c.status.certificate for c in objs),
            deadline=patience,
        )
    except AssertionError:
        return None
    finally:
        await admin.close()
    text = next(each for each in found if meta.name(each) == name).status.certificate
    return x509.load_pem_x509_certificate(base64.b64decode(text))


CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client-kubelet"
SERVING_SIGNER = "kubernetes.io/kubelet-serving"


async def test_a_joining_node_gets_its_certificates_and_nobody_elses(plane):
    node = pki.Request(common_name="system:node:n1", organizations=("system:nodes",))
    plane.user("newcomer", pki.Request(common_name="system:bootstrap:x", organizations=("system:bootstrappers",)))
    certificate = await sign(plane, "newcomer", node, CLIENT_SIGNER, "client auth", patience=DEADLINE)
    assert certificate is not None
    certificate.verify_directly_issued_by(plane.authority.certificate)
    assert certificate.subject.rfc4514_string() == "CN=system:node:n1,O=system:nodes"

    plane.user("n1", node)
    serving = pki.Request(common_name="system:node:n1", organizations=("system:nodes",), names=("n1", "192.0.2.7"))
    certificate = await sign(plane, "n1", serving, SERVING_SIGNER, "server auth", patience=DEADLINE)
    assert certificate is not None
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["n1"]

    for taken in ("127.0.0.1", "10.96.0.1"):  # the API server's own address, and its Service's
        serving = pki.Request(common_name="system:node:n1", organizations=("system:nodes",), names=("n1", taken))
        assert await sign(plane, "n1", serving, SERVING_SIGNER, "server auth") is None

    foreign = pki.Request(common_name="system:node:n2", organizations=("system:nodes",), names=("n2",))
    assert await sign(plane, "n1", foreign, SERVING_SIGNER, "server auth") is None
    assert await sign(plane, "newcomer", USERS["admin"], CLIENT_SIGNER, "client auth") is None


async def test_expired_tokens_are_removed(client):
    def token(name: str, expiration: str) -> Secret:
        data = {"token-id": "abcdef", "token-secret": "0123456789abcdef", "expiration": expiration}
        metadata = ObjectMeta(name=f"bootstrap-token-{name}", namespace="kube-system")
        return Secret(metadata=metadata, type="bootstrap.kubernetes.io/token", stringData=data)

    await client.create(token("000000", "2020-01-01T00:00:00Z"))
    await client.create(token("111111", "2220-01-01T00:00:00Z"))
    found = await until(
        client, Secret, lambda o: "bootstrap-token-000000" not in {meta.name(s) for s in o}, namespace="kube-system"
    )
    assert "bootstrap-token-111111" in {meta.name(each) for each in found}
    with pytest.raises(ApiError):
        await client.get(Secret, "bootstrap-token-000000", namespace="kube-system")


# Disruption budgets


async def evict(client: Client, pod: Pod) -> None:
    body = {"metadata": {"name": meta.name(pod)}}
    path = f"/api/v1/namespaces/{meta.namespace(pod)}/pods/{meta.name(pod)}/eviction"
    await rest.request(client, "POST", path, body=body)


async def test_a_budget_lets_pods_go_one_by_one_as_others_take_their_place(client, namespace, nodes):
    await client.create(deployment(namespace, replicas=2))
    budget = PodDisruptionBudget(
        metadata=ObjectMeta(name="web", namespace=namespace),
        spec=PodDisruptionBudgetSpec(maxUnavailable=1, selector=LabelSelector(matchLabels={"app": "web"})),
    )
    await client.create(budget)
    first = await until(client, Pod, ready(2), namespace=namespace)

    def counted(allowed: int):
        def holds(found: list[PodDisruptionBudget]) -> bool:
            status = found[0].status if found else None
            return status is not None and (status.expectedPods, status.disruptionsAllowed) == (2, allowed)

        return holds

    await until(client, PodDisruptionBudget, counted(1), namespace=namespace)
    names = {meta.name(pod) for pod in first}
    nodes.hold = lambda pod: meta.name(pod) not in names  # what takes the evicted one's place is not ready yet
    await evict(client, first[0])
    await until(client, PodDisruptionBudget, counted(0), namespace=namespace)
    with pytest.raises(ApiError, match="violate the pod's disruption budget"):
        await evict(client, first[1])
    nodes.hold = lambda pod: False
    nodes.look_again()
    await until(client, PodDisruptionBudget, counted(1), namespace=namespace)
    await evict(client, first[1])
    await until(
        client,
        Pod,
        lambda found: ready(2)(found) and not names & {meta.name(pod) for pod in found},
        namespace=namespace,
    )
