"""Volumes in a lab: what a node mounts is what its engine sees, though they live in mount namespaces of their own."""

from __future__ import annotations

from lightkube.models.core_v1 import EmptyDirVolumeSource, Volume, VolumeMount
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Namespace, Pod
from world import World, deployment


def test_mounts_of_the_kubelet_reach_the_containers(world: World, namespace: str) -> None:
    web = deployment(namespace, "web", replicas=1)
    spec = web.spec.template.spec
    spec.volumes = [Volume("memory", emptyDir=EmptyDirVolumeSource(medium="Memory"))]
    spec.containers[0].volumeMounts = [VolumeMount("/memory", "memory")]
    world.client.create(Namespace(metadata=ObjectMeta(name=namespace)))
    world.client.create(web)
    world.wait_ready(namespace, 1)
    (pod,) = world.client.list(Pod, namespace=namespace)
    table = world.exec_in(pod, "cat", "/proc/mounts")
    kinds = {line.split()[1]: line.split()[2] for line in table.splitlines()}
    assert kinds["/memory"] == "tmpfs"
    assert world.exec_in(pod, "cat", "/var/run/secrets/kubernetes.io/serviceaccount/namespace") == namespace
