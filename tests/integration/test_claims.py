"""Claims, volumes, pods and attachments on a control plane of real processes, the storage host among them.

Only the kubelets are not real: nothing is mounted here (tests/integration/test_disks.py and tests/e2e do).
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from control_plane import ControlPlane, FakeKubelets, ignoring_gone, listed, stays, until
from lightkube import ApiError
from lightkube.models.core_v1 import (
    Container,
    EphemeralVolumeSource,
    HostPathVolumeSource,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    PersistentVolumeClaimSpec,
    PersistentVolumeClaimTemplate,
    PersistentVolumeClaimVolumeSource,
    PersistentVolumeSpec,
    PodSpec,
    Volume,
    VolumeNodeAffinity,
    VolumeResourceRequirements,
)
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Event, Namespace, PersistentVolume, PersistentVolumeClaim, Pod
from lightkube.resources.storage_v1 import StorageClass, VolumeAttachment

from api import meta, pods
from bootstrap import pki
from client.config import Client, connect

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory, etcd_binary: str) -> Iterator[ControlPlane]:
    plane = ControlPlane(tmp_path_factory.mktemp("plane"))
    plane.user("storage", pki.Request(common_name="minik:storage"))
    try:
        plane.start()
        plane.start_storage()
        yield plane
    finally:
        plane.stop()


@pytest.fixture
async def client(plane: ControlPlane) -> AsyncIterator[Client]:
    yield connect(plane.kubeconfig("admin"))


@pytest.fixture
async def nodes(client: Client) -> AsyncIterator[FakeKubelets]:
    async with FakeKubelets(client).running() as kubelets:
        for name in ("a", "b"):
            await kubelets.add(name)
        yield kubelets
        kubelets.silent.clear()
        for pod in await listed(client, Pod):
            await ignoring_gone(client.delete(Pod, meta.name(pod), namespace=meta.namespace(pod), grace_period=0))


@pytest.fixture
async def namespace(client: Client) -> str:
    name = f"test-{next(_numbers)}"
    await client.create(Namespace(metadata=ObjectMeta(name=name)))
    return name


def claim(namespace: str, name: str = "data", *, size: str = "10Mi", **spec) -> PersistentVolumeClaim:
    resources = VolumeResourceRequirements(requests={"storage": size})
    spec.setdefault("accessModes", ["ReadWriteOnce"])
    return PersistentVolumeClaim(
        metadata=ObjectMeta(name=name, namespace=namespace),
        spec=PersistentVolumeClaimSpec(resources=resources, **spec),
    )


def volume(name: str, *, size: str = "10Mi", **spec) -> PersistentVolume:
    spec.setdefault("storageClassName", "by-hand")
    spec.setdefault("hostPath", HostPathVolumeSource(f"/tmp/{name}"))
    spec.setdefault("accessModes", ["ReadWriteOnce"])
    return PersistentVolume(
        metadata=ObjectMeta(name=name), spec=PersistentVolumeSpec(capacity={"storage": size}, **spec)
    )


def pod(namespace: str, name: str = "p", *, claim: str = "data", node: str | None = None) -> Pod:
    source = PersistentVolumeClaimVolumeSource(claim)
    spec = PodSpec(
        containers=[Container(name="c", image="c")],
        volumes=[Volume("data", persistentVolumeClaim=source)],
        nodeName=node,
        terminationGracePeriodSeconds=0,
    )
    return Pod(metadata=ObjectMeta(name=name, namespace=namespace), spec=spec)


async def phase(client: Client, kind: type, name: str, wanted: str, namespace: str | None = None):
    """The object, once it is in that phase."""

    def holds(found: list) -> bool:
        return any(meta.name(each) == name and each.status and each.status.phase == wanted for each in found)

    await until(client, kind, holds, namespace=namespace)
    return await client.get(kind, name, namespace=namespace)


async def gone(client: Client, kind: type, name: str) -> None:
    await until(client, kind, lambda found: name not in {meta.name(each) for each in found})


async def told(client: Client, namespace: str, reason: str) -> str:
    """The message of the event with that reason, once there is one."""
    await until(client, Event, lambda found: any(each.reason == reason for each in found), namespace=namespace)
    return next(each.message for each in await listed(client, Event, namespace) if each.reason == reason)


async def test_a_claim_of_the_default_class_is_provisioned_and_given_back(
    client: Client, namespace: str, plane: ControlPlane
) -> None:
    await until(client, StorageClass, lambda found: len(found) >= 2)
    await client.create(claim(namespace))
    bound = await phase(client, PersistentVolumeClaim, "data", "Bound", namespace)
    name = bound.spec.volumeName
    assert (bound.spec.storageClassName, name) == ("shared", f"pvc-{meta.uid(bound)}")
    assert (bound.status.capacity, bound.status.accessModes) == ({"storage": "10Mi"}, ["ReadWriteOnce"])
    made = await phase(client, PersistentVolume, name, "Bound")
    assert made.spec.claimRef.uid == meta.uid(bound) and made.spec.persistentVolumeReclaimPolicy == "Delete"
    image = plane.directory / "storage" / f"{name}.img"
    assert image.stat().st_size == 10 * 2**20
    await client.delete(PersistentVolumeClaim, "data", namespace=namespace)
    await gone(client, PersistentVolume, name)
    assert not image.exists()


async def test_what_the_class_cannot_do_is_said(client: Client, namespace: str) -> None:
    await client.create(claim(namespace, volumeMode="Block"))
    assert "no raw block volumes" in await told(client, namespace, "ProvisioningFailed")
    await client.create(claim(namespace, "other", storageClassName="none-such"))
    await until(
        client,
        Event,
        lambda found: any(each.message == 'storageclass.storage.k8s.io "none-such" not found' for each in found),
        namespace=namespace,
    )
    await client.create(claim(namespace, "plain", storageClassName=""))
    assert "no storage class is set" in await told(client, namespace, "FailedBinding")


async def test_the_smallest_volume_that_fits_is_taken_and_kept(client: Client, namespace: str) -> None:
    await client.create(claim(namespace, storageClassName="by-hand", size="10Mi"))
    for name, size in (("large", "30Mi"), ("small", "5Mi"), ("right", "20Mi")):
        made = volume(name, size=size)
        if name == "large":
            await client.create(volume("other-class", storageClassName="another", size="10Mi"))
        await client.create(made)
        if name == "large":
            bound = await phase(client, PersistentVolumeClaim, "data", "Bound", namespace)
            assert bound.spec.volumeName == "large"
    await client.create(claim(namespace, "second", storageClassName="by-hand", size="10Mi"))
    bound = await phase(client, PersistentVolumeClaim, "second", "Bound", namespace)
    assert bound.spec.volumeName == "right"
    await client.delete(PersistentVolumeClaim, "second", namespace=namespace)
    await phase(client, PersistentVolume, "right", "Released")  # Retain: nobody else gets it
    await client.create(claim(namespace, "third", storageClassName="by-hand", size="20Mi"))
    waits = lambda found: _phase(found, "third") == "Pending"  # noqa: E731
    await stays(client, PersistentVolumeClaim, waits, namespace=namespace, seconds=1)
    await phase(client, PersistentVolume, "small", "Available")


def _phase(found: list, name: str) -> str:
    return next((each.status.phase for each in found if meta.name(each) == name), "")


async def test_a_claim_in_use_stays_until_its_pod_is_gone(client: Client, namespace: str, nodes: FakeKubelets) -> None:
    await client.create(claim(namespace))
    await client.create(pod(namespace))
    await phase(client, Pod, "p", "Running", namespace)
    await client.delete(PersistentVolumeClaim, "data", namespace=namespace)
    await stays(client, PersistentVolumeClaim, lambda found: len(found) == 1, namespace=namespace, seconds=1)
    await client.delete(Pod, "p", namespace=namespace)
    await until(client, PersistentVolumeClaim, lambda found: not found, namespace=namespace)


async def test_pods_wait_for_their_claims_and_say_so(client: Client, namespace: str, nodes: FakeKubelets) -> None:
    await client.create(pod(namespace))
    assert 'persistentvolumeclaim "data" not found' in await told(client, namespace, "FailedScheduling")
    await client.create(claim(namespace, storageClassName="of-nobody"))
    unbound = "0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims."
    await until(
        client,
        Event,
        lambda found: any(each.message == unbound for each in found),
        namespace=namespace,
    )
    await client.create(volume("for-it", storageClassName="of-nobody"))
    await phase(client, Pod, "p", "Running", namespace)


async def test_pods_that_share_a_disk_run_together(client: Client, namespace: str, nodes: FakeKubelets) -> None:
    await client.create(claim(namespace, accessModes=["ReadWriteMany"]))
    for number in range(4):
        await client.create(pod(namespace, f"p{number}"))
    found = [await phase(client, Pod, f"p{number}", "Running", namespace) for number in range(4)]
    assert len(set(map(pods.node_name, found))) == 1


async def test_a_claim_for_one_pod_is_one_pods(client: Client, namespace: str, nodes: FakeKubelets) -> None:
    await client.create(claim(namespace, accessModes=["ReadWriteOncePod"]))
    await client.create(pod(namespace))
    await phase(client, Pod, "p", "Running", namespace)
    await client.create(pod(namespace, "q"))
    await until(
        client,
        Event,
        lambda found: any("ReadWriteOncePod access mode" in (each.message or "") for each in found),
        namespace=namespace,
    )
    await client.delete(Pod, "p", namespace=namespace)
    await phase(client, Pod, "q", "Running", namespace)


async def test_an_ephemeral_volume_comes_and_goes_with_its_pod(
    client: Client, namespace: str, nodes: FakeKubelets
) -> None:
    template = PersistentVolumeClaimTemplate(spec=claim(namespace).spec, metadata=ObjectMeta(labels={"a": "b"}))
    wanted = pod(namespace)
    wanted.spec.volumes = [Volume("scratch", ephemeral=EphemeralVolumeSource(template))]
    await client.create(wanted)
    await phase(client, Pod, "p", "Running", namespace)
    made = await client.get(PersistentVolumeClaim, "p-scratch", namespace=namespace)
    assert meta.labels(made) == {"a": "b"}
    await client.delete(Pod, "p", namespace=namespace)
    await until(client, PersistentVolumeClaim, lambda found: not found, namespace=namespace)
    await gone(client, PersistentVolume, made.spec.volumeName)


async def test_a_volume_of_one_node_draws_its_pod_there(client: Client, namespace: str, nodes: FakeKubelets) -> None:
    term = NodeSelectorTerm(matchExpressions=[NodeSelectorRequirement("kubernetes.io/hostname", "In", ["b"])])
    affinity = VolumeNodeAffinity(required=NodeSelector([term]))
    await client.create(volume("at-b", size="7Mi", storageClassName="pinned", nodeAffinity=affinity))
    await client.create(claim(namespace, size="7Mi", storageClassName="pinned"))
    for number in range(3):
        await client.create(pod(namespace, f"p{number}"))
    for number in range(3):
        assert pods.node_name(await phase(client, Pod, f"p{number}", "Running", namespace)) == "b"


async def test_local_path_waits_for_the_pod_and_stays_at_its_node(
    client: Client, namespace: str, nodes: FakeKubelets
) -> None:
    await client.create(claim(namespace, storageClassName="local-path"))
    assert "waiting for first consumer" in await told(client, namespace, "WaitForFirstConsumer")
    await client.create(pod(namespace))
    running = await phase(client, Pod, "p", "Running", namespace)
    bound = await client.get(PersistentVolumeClaim, "data", namespace=namespace)
    made = await client.get(PersistentVolume, bound.spec.volumeName)
    (term,) = made.spec.nodeAffinity.required.nodeSelectorTerms
    assert term.matchExpressions[0].values == [pods.node_name(running)]
    assert not [each for each in await listed(client, VolumeAttachment) if _of(each) == meta.name(made)]


def _of(attachment: VolumeAttachment) -> str:
    return attachment.spec.source.persistentVolumeName or ""


async def test_a_disk_is_at_one_node_at_a_time(client: Client, namespace: str, nodes: FakeKubelets) -> None:
    await client.create(claim(namespace))
    bound = await phase(client, PersistentVolumeClaim, "data", "Bound", namespace)
    name = bound.spec.volumeName
    await client.create(pod(namespace, node="a"))
    first = await attached(client, name, "a")
    await client.create(pod(namespace, "q", node="b"))
    message = await told(client, namespace, "FailedAttachVolume")
    assert message == f'Multi-Attach error for volume "{name}" Volume is already used by pod(s) p'
    await client.delete(Pod, "p", namespace=namespace)
    second = await attached(client, name, "b")
    assert first.status.attachmentMetadata["key"] != second.status.attachmentMetadata["key"]


async def test_a_lost_node_is_shut_out_before_another_gets_the_disk(
    client: Client, namespace: str, nodes: FakeKubelets, plane: ControlPlane
) -> None:
    await client.create(claim(namespace))
    name = (await phase(client, PersistentVolumeClaim, "data", "Bound", namespace)).spec.volumeName
    await client.create(pod(namespace, node="a"))
    first = await attached(client, name, "a")
    nodes.silent.add("a")
    await until(client, Pod, lambda found: all(map(meta.is_terminating, found)), namespace=namespace)
    await client.create(pod(namespace, "q", node="b"))
    second = await attached(client, name, "b")
    assert first.status.attachmentMetadata["key"] != second.status.attachmentMetadata["key"]
    assert [each.spec.nodeName for each in await listed(client, VolumeAttachment) if _of(each) == name] == ["b"]


async def test_sessions_are_taken_up_again(
    client: Client, namespace: str, nodes: FakeKubelets, plane: ControlPlane
) -> None:
    await client.create(claim(namespace))
    name = (await phase(client, PersistentVolumeClaim, "data", "Bound", namespace)).spec.volumeName
    await client.create(pod(namespace, node="a"))
    facts = (await attached(client, name, "a")).status.attachmentMetadata
    plane.kill("storage")
    plane.start_storage()
    async with asyncio.timeout(30):
        while True:
            try:
                _, writer = await asyncio.open_connection(facts["address"], int(facts["port"]))
                break
            except OSError:
                await asyncio.sleep(0.05)
    writer.close()
    assert (await attached(client, name, "a")).status.attachmentMetadata == facts


async def attached(client: Client, volume: str, node: str) -> VolumeAttachment:
    def holds(found: list[VolumeAttachment]) -> bool:
        return any(_of(each) == volume and each.spec.nodeName == node and each.status.attached for each in found)

    await until(client, VolumeAttachment, holds)
    return next(
        each for each in await listed(client, VolumeAttachment) if _of(each) == volume and each.spec.nodeName == node
    )


async def test_claims_hardly_change(client: Client, namespace: str) -> None:
    await client.create(claim(namespace, storageClassName="by-nobody"))
    for patch in ({"accessModes": ["ReadWriteMany"]}, {"storageClassName": "other"}, {"volumeMode": "Block"}):
        with pytest.raises(ApiError, match="spec is immutable after creation except"):
            await client.patch(PersistentVolumeClaim, "data", {"spec": patch}, namespace=namespace)


async def test_a_second_storage_host_stands_by(
    client: Client, namespace: str, plane: ControlPlane, tmp_path: Path
) -> None:
    """Two that provision and attach would undo each other's work."""
    disks = tmp_path / "disks"
    plane.start_storage(disks, name="another")
    try:
        end = time.monotonic() + 60
        while "standing by" not in plane.log("another"):
            assert time.monotonic() < end, plane.log("another")
            await asyncio.sleep(0.05)
        await client.create(claim(namespace))
        await phase(client, PersistentVolumeClaim, "data", "Bound", namespace)
        assert not list(disks.glob("*.img"))
    finally:
        plane.kill("another")


def test_the_storage_host_needs_no_more_rights(plane: ControlPlane) -> None:
    assert "forbidden" not in Path(plane.directory / "storage.log").read_text()
    assert "forbidden" not in Path(plane.directory / "controllers.log").read_text()
