"""StatefulSets, DaemonSets, Jobs and CronJobs against a real API server, scheduler and controller manager.

Only the kubelets are not real: they report pods Running and Ready, or ended, through the API.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from control_plane import ControlPlane, FakeKubelets, ignoring_gone, listed, stays, until
from lightkube import ApiError
from lightkube.models.apps_v1 import DaemonSetSpec, StatefulSetSpec
from lightkube.models.batch_v1 import CronJobSpec, JobSpec, JobTemplateSpec
from lightkube.models.core_v1 import Container, PodSpec, PodTemplateSpec
from lightkube.models.meta_v1 import LabelSelector, ObjectMeta
from lightkube.resources.apps_v1 import ControllerRevision, DaemonSet, StatefulSet
from lightkube.resources.batch_v1 import CronJob, Job
from lightkube.resources.core_v1 import Node, Pod
from lightkube.types import CascadeType

from api import meta, pods
from client.config import Client
from controllers.history import REVISION_LABEL


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
        for kind in (StatefulSet, DaemonSet, CronJob, Job, Pod):
            for obj in await listed(client, kind):
                await ignoring_gone(client.delete(kind, meta.name(obj), namespace=meta.namespace(obj), grace_period=0))


LABELS = {"app": "web"}
SELECTOR = LabelSelector(matchLabels=LABELS)


def template(image: str = "web:1", *, restart: str | None = None) -> PodTemplateSpec:
    return PodTemplateSpec(
        metadata=ObjectMeta(labels=LABELS),
        spec=PodSpec(containers=[Container(name="c", image=image)], restartPolicy=restart),
    )


def names(found: list[Pod]) -> list[str]:
    return sorted(meta.name(each) for each in found if pods.is_active(each))


def ready(*wanted: str):
    return lambda found: names(found) == sorted(wanted) and all(pods.is_ready(each) for each in found)


def images(found: list[Pod]) -> dict[str, str]:
    return {meta.name(each): each.spec.containers[0].image for each in found if pods.is_active(each)}


# --- StatefulSets -----------------------------------------------------------------------------------------------


def stateful_set(namespace: str, *, replicas: int = 3, **spec) -> StatefulSet:
    given = {"template": template(), "selector": SELECTOR, "serviceName": "db", "replicas": replicas, **spec}
    return StatefulSet(metadata=ObjectMeta(name="db", namespace=namespace), spec=StatefulSetSpec(**given))


async def test_a_stateful_set_comes_and_goes_in_order(client, namespace, nodes):
    nodes.hold = lambda pod: meta.name(pod) == "db-1"
    await client.create(stateful_set(namespace))
    await until(client, Pod, lambda found: names(found) == ["db-0", "db-1"], namespace=namespace)
    await stays(client, Pod, lambda found: names(found) == ["db-0", "db-1"], namespace=namespace, seconds=1)
    nodes.hold = lambda pod: False
    nodes.look_again()
    (pod, *_) = await until(client, Pod, ready("db-0", "db-1", "db-2"), namespace=namespace)
    assert (pod.spec.hostname, pod.spec.subdomain) == (meta.name(pod), "db")
    seen: list[list[str]] = []

    def gone(found: list[Pod]) -> bool:
        seen.append(names(found))
        return not found

    await client.patch(StatefulSet.Scale, "db", {"spec": {"replicas": 0}}, namespace=namespace)
    await until(client, Pod, gone, namespace=namespace)
    steps = [each for index, each in enumerate(seen) if index == 0 or each != seen[index - 1]]
    assert len(steps) >= 3
    assert steps == [["db-0", "db-1", "db-2"], ["db-0", "db-1"], ["db-0"], []][-len(steps) :]


async def test_a_stateful_set_rolls_backwards_waits_for_its_partition_and_goes_back(client, namespace, nodes):
    await client.create(stateful_set(namespace))
    await until(client, Pod, ready("db-0", "db-1", "db-2"), namespace=namespace)

    async def change(image: str, partition: int) -> None:
        rolling = {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}}
        spec = {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}, "updateStrategy": rolling}
        await client.patch(StatefulSet, "db", {"spec": spec}, namespace=namespace)

    await change("web:2", 1)
    wanted = {"db-0": "web:1", "db-1": "web:2", "db-2": "web:2"}
    await until(client, Pod, lambda found: images(found) == wanted, namespace=namespace)
    await until(client, Pod, ready("db-0", "db-1", "db-2"), namespace=namespace)
    await client.delete(Pod, "db-0", namespace=namespace)
    await until(client, Pod, lambda found: images(found) == wanted, namespace=namespace)
    await change("web:1", 0)
    back = dict.fromkeys(wanted, "web:1")
    await until(client, Pod, lambda found: images(found) == back, namespace=namespace)
    revisions = await listed(client, ControllerRevision, namespace)
    assert sorted(each.revision for each in revisions) == [2, 3]  # the first came back as the third
    (found,) = await until(
        client,
        StatefulSet,
        lambda sets: sets[0].status.currentRevision == sets[0].status.updateRevision,
        namespace=namespace,
    )
    assert found.status.currentRevision == found.status.updateRevision


def _is_settled(status) -> bool:
    return status.observedGeneration == 3 and status.currentReplicas == status.updatedReplicas == 3


async def test_parallel_pods_do_not_wait(client, namespace, nodes):
    nodes.hold = lambda pod: True
    await client.create(stateful_set(namespace, podManagementPolicy="Parallel"))
    await until(client, Pod, lambda found: names(found) == ["db-0", "db-1", "db-2"], namespace=namespace)


async def test_what_of_a_stateful_set_may_not_change_is_refused(client, namespace, nodes):
    await client.create(stateful_set(namespace, replicas=0))
    with pytest.raises(ApiError, match="updates to statefulset spec for fields other than 'replicas', 'ordinals'"):
        await client.patch(StatefulSet, "db", {"spec": {"serviceName": "other"}}, namespace=namespace)


# --- DaemonSets -------------------------------------------------------------------------------------------------


def places(found: list[Pod]) -> list[str]:
    return sorted(pods.node_name(each) for each in found if pods.is_active(each))


async def test_a_daemon_set_is_on_every_node_also_on_later_and_cordoned_ones(client, namespace, nodes):
    spec = DaemonSetSpec(selector=SELECTOR, template=template())
    await client.create(DaemonSet(metadata=ObjectMeta(name="agent", namespace=namespace), spec=spec))
    await until(client, Pod, lambda found: places(found) == ["a", "b", "c"], namespace=namespace)
    await nodes.add("d")
    await client.patch(Node, "a", {"spec": {"unschedulable": True}})
    await until(client, Pod, lambda found: places(found) == ["a", "b", "c", "d"], namespace=namespace)
    taint = [{"key": "mine", "value": "x", "effect": "NoExecute"}]
    await client.patch(Node, "b", {"spec": {"taints": taint}})
    await until(client, Pod, lambda found: places(found) == ["a", "c", "d"], namespace=namespace)
    await client.patch(Node, "b", {"spec": {"taints": None}})
    await client.delete(Node, "d")
    await until(client, Pod, lambda found: places(found) == ["a", "b", "c"], namespace=namespace)
    await until(
        client,
        DaemonSet,
        lambda sets: sets[0].status.desiredNumberScheduled == 3 == sets[0].status.numberReady,
        namespace=namespace,
    )


async def test_a_daemon_set_rolls_one_node_at_a_time(client, namespace, nodes):
    spec = DaemonSetSpec(selector=SELECTOR, template=template())
    await client.create(DaemonSet(metadata=ObjectMeta(name="agent", namespace=namespace), spec=spec))
    await until(client, DaemonSet, lambda sets: sets[0].status.numberAvailable == 3, namespace=namespace)
    fewest = [3]

    def rolled(found: list[Pod]) -> bool:
        fewest.append(sum(pods.is_ready(each) and pods.is_active(each) for each in found))
        return sorted(images(found).values()) == ["web:2"] * 3 and all(pods.is_ready(each) for each in found)

    change = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "web:2"}]}}}}
    await client.patch(DaemonSet, "agent", change, namespace=namespace)
    found = await until(client, Pod, rolled, namespace=namespace)
    assert min(fewest) >= 2
    (present,) = {meta.labels(each)[REVISION_LABEL] for each in found}
    revisions = {
        meta.labels(each)["controller.kubernetes.io/hash"]: each.revision
        for each in await listed(client, ControllerRevision, namespace)
    }
    assert revisions[present] == 2


# --- Jobs -------------------------------------------------------------------------------------------------------


def job(namespace: str, **spec) -> Job:
    given = {"template": template(restart="Never"), **spec}
    return Job(metadata=ObjectMeta(name="work", namespace=namespace), spec=JobSpec(**given))


def ended(type_: str):
    def check(found: list[Job]) -> bool:
        condition = meta.get_condition(found[0].status.conditions if found[0].status else None, type_)
        return condition is not None and condition.status == "True"

    return check


async def test_a_job_runs_as_many_pods_as_it_needs_and_counts_each_once(client, namespace, nodes):
    nodes.phase_of = lambda pod: "Succeeded"
    await client.create(job(namespace, completions=12, parallelism=4))
    (found,) = await until(client, Job, ended("Complete"), namespace=namespace)
    assert (found.status.succeeded, found.status.failed, found.status.active) == (12, None, None)
    assert found.status.completionTime >= found.status.startTime
    left = await until(
        client, Pod, lambda objs: not any(each.metadata.finalizers for each in objs), namespace=namespace
    )
    assert len(left) == 12


async def test_a_killed_controller_counts_no_pod_twice(client, namespace, nodes, plane):
    nodes.phase_of = lambda pod: "Succeeded"
    await client.create(job(namespace, completions=30, parallelism=5))
    for enough in (5, 15, 25):
        await until(
            client, Pod, lambda objs, enough=enough: sum(map(pods.is_terminal, objs)) >= enough, namespace=namespace
        )
        plane.kill("controllers")
        plane.start_controllers()
    (found,) = await until(client, Job, ended("Complete"), namespace=namespace)
    assert found.status.succeeded == 30
    assert len(await listed(client, Pod, namespace)) == 30


async def test_an_indexed_job_works_on_every_index(client, namespace, nodes):
    nodes.phase_of = lambda pod: "Succeeded"
    await client.create(job(namespace, completions=5, parallelism=2, completionMode="Indexed"))
    (found,) = await until(client, Job, ended("Complete"), namespace=namespace)
    assert found.status.completedIndexes == "0-4"
    done = await listed(client, Pod, namespace)
    indexes = sorted(meta.labels(each)["batch.kubernetes.io/job-completion-index"] for each in done)
    assert indexes == ["0", "1", "2", "3", "4"]


async def test_a_failing_job_gives_up(client, namespace, nodes):
    nodes.phase_of = lambda pod: "Failed"
    await client.create(job(namespace, backoffLimit=0))
    (found,) = await until(client, Job, ended("Failed"), namespace=namespace)
    condition = meta.get_condition(found.status.conditions, "Failed")
    assert (condition.reason, found.status.failed) == ("BackoffLimitExceeded", 1)


async def test_a_job_that_is_suspended_keeps_no_pods_and_goes_on_where_it_was(client, namespace, nodes):
    await client.create(job(namespace, completions=2, parallelism=2))
    await until(client, Pod, lambda found: len(names(found)) == 2, namespace=namespace)
    await client.patch(Job, "work", {"spec": {"suspend": True}}, namespace=namespace)
    await until(client, Pod, lambda found: not found, namespace=namespace)
    await until(client, Job, ended("Suspended"), namespace=namespace)
    nodes.phase_of = lambda pod: "Succeeded"
    await client.patch(Job, "work", {"spec": {"suspend": False}}, namespace=namespace)
    (found,) = await until(client, Job, ended("Complete"), namespace=namespace)
    assert (found.status.succeeded, found.status.failed) == (2, None)


async def test_a_finished_job_goes_when_its_time_is_over_with_its_pods(client, namespace, nodes):
    nodes.phase_of = lambda pod: "Succeeded"
    await client.create(job(namespace, ttlSecondsAfterFinished=1))
    await until(client, Job, lambda found: not found, namespace=namespace)
    await until(client, Pod, lambda found: not found, namespace=namespace)


async def test_a_deleted_job_leaves_no_pod_behind_that_nobody_can_delete(client, namespace, nodes):
    await client.create(job(namespace, completions=3, parallelism=3))
    await until(client, Pod, lambda found: len(names(found)) == 3, namespace=namespace)
    await client.delete(Job, "work", namespace=namespace, cascade=CascadeType.ORPHAN)
    await until(client, Pod, lambda found: not any(each.metadata.finalizers for each in found), namespace=namespace)
    assert len(await listed(client, Pod, namespace)) == 3


async def test_a_deadline_ends_a_job(client, namespace, nodes):
    await client.create(job(namespace, activeDeadlineSeconds=1))
    (found,) = await until(client, Job, ended("Failed"), namespace=namespace)
    assert meta.get_condition(found.status.conditions, "Failed").reason == "DeadlineExceeded"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            {"completionMode": "Indexed", "parallelism": 2},
            "spec.completions: Required value: when completion mode is Indexed",
        ),
        ({"parallelism": -1}, "spec.parallelism: Invalid value: -1: must be greater than or equal to 0"),
        ({"template": template(restart="Always")}, 'spec.template.spec.restartPolicy: Unsupported value: "Always"'),
        ({"backoffLimitPerIndex": 1}, "requires indexed completion mode"),
    ],
)
async def test_jobs_that_make_no_sense_are_refused(client, namespace, spec, message):
    with pytest.raises(ApiError) as refused:
        await client.create(job(namespace, **spec))
    assert refused.value.status.code == 422
    assert message in refused.value.status.message


# --- CronJobs ---------------------------------------------------------------------------------------------------


def cron_job(namespace: str, **spec) -> CronJob:
    work = JobTemplateSpec(spec=JobSpec(template=template(restart="Never")))
    given = {"schedule": "* * * * *", "jobTemplate": work, **spec}
    return CronJob(metadata=ObjectMeta(name="nightly", namespace=namespace), spec=CronJobSpec(**given))


async def test_a_cron_job_starts_a_job_for_the_minute(client, namespace, nodes):
    nodes.phase_of = lambda pod: "Succeeded"
    created = await client.create(cron_job(namespace))
    (found,) = await until(client, Job, ended_if_any("Complete"), namespace=namespace, deadline=75)
    assert meta.controller_of(found).uid == meta.uid(created)
    assert meta.name(found).startswith("nightly-")
    (after,) = await until(
        client, CronJob, lambda objs: objs[0].status.lastSuccessfulTime is not None, namespace=namespace
    )
    assert after.status.lastScheduleTime is not None and not after.status.active


def ended_if_any(type_: str):
    return lambda found: bool(found) and ended(type_)(found)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"schedule": "@every 5m"}, 'spec.schedule: Invalid value: "@every 5m"'),
        ({"schedule": "TZ=UTC 0 0 * * *"}, "cannot use TZ or CRON_TZ in schedule"),
        ({"timeZone": "Mars/Olympus"}, "unknown time zone Mars/Olympus"),
        ({"concurrencyPolicy": "Never"}, 'supported values: "Allow", "Forbid", "Replace"'),
    ],
)
async def test_cron_jobs_that_make_no_sense_are_refused(client, namespace, spec, message):
    with pytest.raises(ApiError) as refused:
        await client.create(cron_job(namespace, **spec))
    assert message in refused.value.status.message
