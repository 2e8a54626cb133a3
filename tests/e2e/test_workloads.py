"""Workloads on real nodes: jobs that end, daemons on every node, names that stay, and numbers that follow the load."""

from __future__ import annotations

import threading
import time

import pytest
from lightkube.models.apps_v1 import DaemonSetSpec, DeploymentSpec, StatefulSetSpec
from lightkube.models.autoscaling_v2 import (
    CrossVersionObjectReference,
    HorizontalPodAutoscalerBehavior,
    HorizontalPodAutoscalerSpec,
    HPAScalingRules,
    MetricSpec,
    MetricTarget,
    ResourceMetricSource,
)
from lightkube.models.batch_v1 import JobSpec
from lightkube.models.core_v1 import (
    Container,
    PodSpec,
    PodTemplateSpec,
    ResourceRequirements,
    ServicePort,
    ServiceSpec,
)
from lightkube.models.meta_v1 import LabelSelector, ObjectMeta
from lightkube.resources.apps_v1 import DaemonSet, Deployment, StatefulSet
from lightkube.resources.autoscaling_v2 import HorizontalPodAutoscaler
from lightkube.resources.batch_v1 import Job
from lightkube.resources.core_v1 import Namespace, Pod, Service
from world import BUSYBOX, ask, service

from api import meta, pods

LABELS = {"app": "web"}
SELECTOR = LabelSelector(matchLabels=LABELS)

BURN = """
mkdir -p /www/cgi-bin
cat > /www/cgi-bin/burn <<'END'
#!/bin/sh
i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done
printf 'Content-Type: text/plain\\n\\n'; hostname
END
chmod +x /www/cgi-bin/burn
exec httpd -f -p 8080 -h /www
"""
"""Answers each request after some tens of milliseconds of one core."""


@pytest.fixture
def namespace(world, namespace):
    world.client.create(Namespace(metadata=ObjectMeta(name=namespace)))
    return namespace


def template(*command: str, restart: str | None = None, **container) -> PodTemplateSpec:
    work = Container(name="c", image=BUSYBOX, command=list(command) or None, **container)
    return PodTemplateSpec(
        metadata=ObjectMeta(labels=LABELS),
        spec=PodSpec(containers=[work], restartPolicy=restart, terminationGracePeriodSeconds=1),
    )


def test_an_indexed_job_runs_to_its_end(world, namespace, took):
    command = ("sh", "-c", 'echo "index $JOB_COMPLETION_INDEX on $(hostname)"; [ "$JOB_COMPLETION_INDEX" -lt 3 ]')
    spec = JobSpec(
        template=template(*command, restart="Never"),
        completions=3,
        parallelism=3,
        completionMode="Indexed",
    )
    world.client.create(Job(metadata=ObjectMeta(name="count", namespace=namespace), spec=spec))

    def complete(jobs: list[Job]) -> bool:
        conditions = jobs[0].status.conditions if jobs and jobs[0].status else None
        return meta.get_condition(conditions, "Complete") is not None

    took("job of three pods", world.wait(Job, complete, what="the job complete", namespace=namespace, deadline=60))
    said = [world.minikctl("logs", meta.name(pod), "-n", namespace).stdout for pod in world.pods(namespace)]
    assert sorted(line.split(" on ")[0] for line in said) == ["index 0", "index 1", "index 2"]
    assert sorted(line.split(" on ")[1].strip() for line in said) == ["count-0", "count-1", "count-2"]


def test_a_daemon_runs_on_every_node(world, namespace):
    spec = DaemonSetSpec(selector=SELECTOR, template=template("sleep", "3600"))
    world.client.create(DaemonSet(metadata=ObjectMeta(name="agent", namespace=namespace), spec=spec))
    world.wait_ready(namespace, 3)
    assert sorted(pods.node_name(pod) for pod in world.pods(namespace)) == sorted(world.node_addresses)


def test_a_stateful_pod_keeps_its_name_and_is_found_by_it(world, namespace):
    headless = ServiceSpec(clusterIP="None", selector=LABELS, ports=[ServicePort(port=8080)])
    world.client.create(Service(metadata=ObjectMeta(name="db", namespace=namespace), spec=headless))
    spec = StatefulSetSpec(
        replicas=2, serviceName="db", selector=SELECTOR, template=template("httpd", "-f", "-p", "8080", "-h", "/")
    )
    world.client.create(StatefulSet(metadata=ObjectMeta(name="db", namespace=namespace), spec=spec))
    world.wait_ready(namespace, 2)
    found = {meta.name(pod): pod for pod in world.pods(namespace)}
    assert sorted(found) == ["db-0", "db-1"]
    assert world.exec_in(found["db-0"], "hostname").strip() == "db-0"
    answer = world.exec_in(found["db-0"], "wget", "-q", "-O-", "http://db-1.db:8080/etc/hostname")
    assert answer.strip() == "db-1"
    world.client.delete(Pod, "db-1", namespace=namespace)

    def is_back(objs: list[Pod]) -> bool:
        old = meta.uid(found["db-1"])
        return any(meta.name(p) == "db-1" and meta.uid(p) != old and pods.is_ready(p) for p in objs)

    world.wait(Pod, is_back, what="db-1 back", namespace=namespace, deadline=60)


def test_the_number_of_pods_follows_the_load(world, namespace, took):
    port = 31090
    spec = template("sh", "-c", BURN, resources=ResourceRequirements(requests={"cpu": "100m"}))
    world.client.create(
        Deployment(
            metadata=ObjectMeta(name="web", namespace=namespace),
            spec=DeploymentSpec(replicas=1, selector=SELECTOR, template=spec),
        )
    )
    world.client.create(service(namespace, "web", node_port=port))
    world.wait_ready(namespace, 1)
    target = MetricTarget(type="Utilization", averageUtilization=50)
    scaler = HorizontalPodAutoscalerSpec(
        scaleTargetRef=CrossVersionObjectReference(apiVersion="apps/v1", kind="Deployment", name="web"),
        minReplicas=1,
        maxReplicas=4,
        metrics=[MetricSpec(type="Resource", resource=ResourceMetricSource(name="cpu", target=target))],
        behavior=HorizontalPodAutoscalerBehavior(scaleDown=HPAScalingRules(stabilizationWindowSeconds=10)),
    )
    world.client.create(HorizontalPodAutoscaler(metadata=ObjectMeta(name="web", namespace=namespace), spec=scaler))
    stop = threading.Event()

    def load() -> None:
        while not stop.is_set():
            try:
                ask(world.url(port) + "cgi-bin/burn")
            except OSError:
                time.sleep(0.05)

    threads = [threading.Thread(target=load, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        took("autoscaler: from one pod to four under load", world.wait_ready(namespace, 4, deadline=90))
        top = world.kubectl("top", "pods", "-n", namespace, "--no-headers").stdout
        assert len(top.splitlines()) >= 1 and "m" in top
    finally:
        stop.set()
    for thread in threads:
        thread.join()
    took("autoscaler: back to one without load", world.wait_ready(namespace, 1, deadline=120))
    assert len(world.kubectl("top", "nodes", "--no-headers").stdout.splitlines()) == 3
