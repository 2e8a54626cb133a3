"""What the kubelet mounts is what a container sees, although engine and kubelet are in different mount namespaces."""

from __future__ import annotations

from lightkube.models.core_v1 import Container, EmptyDirVolumeSource, PodSpec, Volume, VolumeMount
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Namespace, Pod
from world import IMAGE


def test_memory_is_a_file_system_of_its_own_in_the_container(world, namespace):
    world.client.create(Namespace(metadata=ObjectMeta(name=namespace)))
    volumes = [
        Volume(name="memory", emptyDir=EmptyDirVolumeSource(medium="Memory", sizeLimit="1Mi")),
        Volume(name="disk", emptyDir=EmptyDirVolumeSource()),
    ]
    mounts = [VolumeMount(name=each.name, mountPath=f"/{each.name}") for each in volumes]
    spec = PodSpec(containers=[Container(name="web", image=IMAGE, volumeMounts=mounts)], volumes=volumes)
    world.client.create(Pod(metadata=ObjectMeta(name="volumes", namespace=namespace), spec=spec))
    world.wait_ready(namespace, 1)
    (pod,) = world.pods(namespace)
    rows = [line.split() for line in world.exec_in(pod, "cat", "/proc/mounts").splitlines()]
    kinds = {row[1]: row[2] for row in rows}
    assert kinds["/memory"] == "tmpfs"
    assert kinds["/disk"] != "tmpfs"
    assert "1024" in world.exec_in(pod, "df", "-k", "/memory"), "its limit is its size"
