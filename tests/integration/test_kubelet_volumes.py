"""Volumes of running pods, on a real engine and a real API server."""

from __future__ import annotations

from kubelet_node import event, eventually, logs, phase_is, shell
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import ConfigMap, Pod, Secret

from api import meta

pytest_plugins = ["engine_fixtures"]


def named(name):
    return ObjectMeta(name=name, namespace="default")


async def test_running_pods_see_changed_objects(node, api):
    """By watches: the slow refresh that renews tokens would come too late for this."""
    await api.client.create(ConfigMap(metadata=named("changing"), data={"key": "old"}))
    await api.client.create(Secret(metadata=named("changing"), stringData={"key": "old"}))
    sources = [
        {"configMap": {"name": "changing", "items": [{"key": "key", "path": "config"}]}},
        {"secret": {"name": "changing", "items": [{"key": "key", "path": "secret"}]}},
        {"downwardAPI": {"items": [{"path": "label", "fieldRef": {"fieldPath": "metadata.labels['colour']"}}]}},
    ]
    out = {"name": "out", "hostPath": {"path": str(node.directory / "seen"), "type": "DirectoryOrCreate"}}
    mounts = [{"name": "all", "mountPath": "/all"}, {"name": "out", "mountPath": "/out"}]
    script = "while :; do cat /all/config /all/secret /all/label > /out/new; mv /out/new /out/now; sleep 0.1; done"
    volumes = [{"name": "all", "projected": {"sources": sources}}, out]
    spec = {"containers": [shell(script, volumeMounts=mounts)], "volumes": volumes}
    pod = await api.create("watching", spec, labels={"colour": "old"})
    await api.ready("watching")
    now = node.directory / "seen/now"
    await eventually(lambda: now.exists() and now.read_text() == "oldoldold")
    await api.client.patch(ConfigMap, "changing", {"data": {"key": "new"}}, namespace="default")
    await api.client.patch(Secret, "changing", {"stringData": {"key": "new"}}, namespace="default")
    await api.client.patch(Pod, "watching", {"metadata": {"labels": {"colour": "new"}}}, namespace="default")
    await eventually(lambda: now.read_text() == "newnewnew")
    await api.delete(pod)


async def test_memory_is_memory_inside_the_container(node, api):
    mounts = [{"name": "m", "mountPath": "/m"}, {"name": "s", "mountPath": "/s", "subPath": "part"}]
    spec = {
        "containers": [shell("grep -E ' /m tmpfs ' /proc/mounts | wc -l; df -m /m | tail -1", volumeMounts=mounts)],
        "volumes": [
            {"name": "m", "emptyDir": {"medium": "Memory", "sizeLimit": "3Mi"}},
            {"name": "s", "emptyDir": {}},
        ],
        "restartPolicy": "Never",
    }
    pod = await api.create("memory", spec)
    await api.pod("memory", phase_is("Succeeded"))
    _, text = await logs(node, "memory")
    assert text.startswith("1\n") and text.split()[2] == "3"
    await api.delete(pod)
    await eventually(lambda: not (node.data_dir / "pods" / meta.uid(pod)).exists())


async def test_a_failed_mount_is_told(node, api):
    volumes = [{"name": "v", "hostPath": {"path": "/proc/version", "type": "Directory"}}]
    await api.create("unmounted", {"containers": [shell("true")], "volumes": volumes})
    text = 'MountVolume.SetUp failed for volume "v" : hostPath type check failed: /proc/version is not a directory'
    await event(api, "unmounted", "FailedMount", text)


async def test_a_volume_past_its_limit_evicts_the_pod(node, api):
    volumes = [{"name": "cache", "emptyDir": {"sizeLimit": "1Mi"}}]
    fill = "dd if=/dev/zero of=/cache/file bs=1M count=3; exec sleep 1000"
    spec = {"containers": [shell(fill, volumeMounts=[{"name": "cache", "mountPath": "/cache"}])], "volumes": volumes}
    await api.create("greedy", spec)
    pod = await api.pod("greedy", phase_is("Failed"))
    text = 'Usage of EmptyDir volume "cache" exceeds the limit "1Mi". '
    assert (pod.status.reason, pod.status.message) == ("Evicted", text)
    await event(api, "greedy", "Evicted", text)
