"""`minikctl why` on a real lab: what it says is what is wrong."""

from __future__ import annotations

import re

from lightkube.models.core_v1 import Container, PodSpec, ResourceRequirements
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import Pod, Service
from world import BUSYBOX

from api import meta


def why(world, namespace: str, about: str) -> str:
    return re.sub(r" +", " ", world.minikctl("-n", namespace, "why", about).stdout)


def test_why_names_the_cause_the_field_and_the_file(world, namespace: str) -> None:
    world.deploy(namespace, replicas=1, node_port=30093)
    big = Container(name="c", image=BUSYBOX, resources=ResourceRequirements(requests={"cpu": "1000"}))
    crash = Container(name="c", image=BUSYBOX, command=["sh", "-c", "exit 3"])
    for name, container in (("big", big), ("crash", crash)):
        world.client.create(
            Pod(
                metadata=ObjectMeta(name=name, namespace=namespace),
                spec=PodSpec(containers=[container], terminationGracePeriodSeconds=0),
            )
        )

    def both_are_in_trouble(found: list[Pod]) -> bool:
        by_name = {meta.name(each): each.status for each in found}
        statuses = by_name["crash"].containerStatuses or []
        waits = [each.state.waiting.reason for each in statuses if each.state and each.state.waiting]
        conditions = by_name["big"].conditions or []
        return "CrashLoopBackOff" in waits and any(each.reason == "Unschedulable" for each in conditions)

    world.wait(Pod, both_are_in_trouble, what="both in trouble", deadline=60, namespace=namespace)
    world.wait(
        Deployment, lambda found: found[0].status.availableReplicas == 1, what="web", deadline=60, namespace=namespace
    )

    told = why(world, namespace, "pod/big")
    assert "decided by scheduler, scheduler/filters.py" in told
    for node in world.lab_nodes():
        assert f"{node} Insufficient cpu: asks for 1000" in told
    told = why(world, namespace, "pod/crash")
    assert "CrashLoopBackOff" in told and "exit code 3 (Error)" in told and "kubelet/pods/plan.py" in told

    assert why(world, namespace, "deploy/web").startswith("deploy/web wants 1 pods, has 1")
    assert "svc/web has 1 ready endpoints" in why(world, namespace, "svc/web")
    world.client.patch(Service, "web", {"spec": {"selector": {"app": "wep"}}}, namespace=namespace)
    told = why(world, namespace, "svc/web")
    assert "The selector matches no pod" in told and re.search(r"pod web-\S+ has app=web", told)

    world.client.patch(
        Deployment,
        "web",
        {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "minik/web:none"}]}}}},
        namespace=namespace,
    )
    world.wait(
        Pod,
        lambda found: any("minik/web:none" in str(each.status and each.status.containerStatuses) for each in found),
        what="a pod without an image",
        deadline=60,
        namespace=namespace,
    )
    told = why(world, namespace, "deploy/web")
    assert "1 of 1 pods of web-" in told and "kubelet/pods/" in told
    assert why(world, namespace, "node/node-1") == "node/node-1 is Ready and takes pods\n"
