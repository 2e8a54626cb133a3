"""Volumes that move: what a pod was acknowledged is there wherever its successor runs, in order, exactly once.

The writer appends a numbered record with its checksum, has it synced, and only then says so: an answered request is an
acknowledged record. One that was not answered may be there or not, and its number is not used again.
"""

from __future__ import annotations

import hashlib
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from lightkube.models.apps_v1 import (
    DeploymentSpec,
    DeploymentStrategy,
    StatefulSetPersistentVolumeClaimRetentionPolicy,
    StatefulSetSpec,
)
from lightkube.models.core_v1 import (
    ConfigMapVolumeSource,
    Container,
    ContainerPort,
    PersistentVolumeClaimSpec,
    PersistentVolumeClaimVolumeSource,
    PodSecurityContext,
    PodSpec,
    PodTemplateSpec,
    Probe,
    TCPSocketAction,
    Volume,
    VolumeMount,
    VolumeResourceRequirements,
)
from lightkube.models.meta_v1 import LabelSelector, ObjectMeta
from lightkube.resources.apps_v1 import Deployment, StatefulSet
from lightkube.resources.core_v1 import ConfigMap, Namespace, PersistentVolume, PersistentVolumeClaim, Pod
from world import BUSYBOX, World, service

from api import meta, pods

PORT = 30987
DEADLINE = 90.0
SCRIPT = """#!/bin/sh
echo "$QUERY_STRING" >> /data/log && sync /data/log && printf 'Content-Type: text/plain\\r\\n\\r\\nwritten\\n'
"""


def record(number: int) -> str:
    return f"{number}-{hashlib.sha256(str(number).encode()).hexdigest()[:16]}"


class Writer:
    """Sends records through every node in turn, as long as it runs."""

    def __init__(self, addresses: list[str]) -> None:
        self._addresses = addresses
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._news = threading.Condition()
        self.acknowledged: list[int] = []
        self._thread.start()

    def _run(self) -> None:
        number = 0
        while not self._stop.is_set():
            url = f"http://{self._addresses[number % len(self._addresses)]}:{PORT}/cgi-bin/write?{record(number)}"
            try:
                with urllib.request.urlopen(url, timeout=2) as answer:
                    written = answer.read() == b"written\n"
            except (urllib.error.URLError, OSError, ValueError):
                written = False
            with self._news:
                if written:
                    self.acknowledged.append(number)
                    self._news.notify_all()
            number += 1
            if not written:
                self._stop.wait(0.05)

    def until_more(self, count: int = 10) -> None:
        """Until so many further records are acknowledged."""
        with self._news:
            wanted = len(self.acknowledged) + count
            if not self._news.wait_for(lambda: len(self.acknowledged) >= wanted, timeout=DEADLINE):
                raise AssertionError(f"only {len(self.acknowledged)} of {wanted} records acknowledged")

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


@pytest.fixture
def writer(world: World, namespace: str) -> Iterator[Writer]:
    world.client.create(Namespace(metadata=ObjectMeta(name=namespace)))
    world.client.create(ConfigMap(metadata=ObjectMeta(name="script", namespace=namespace), data={"write": SCRIPT}))
    world.client.create(claim(namespace))
    world.client.create(journal(namespace))
    world.client.create(service(namespace, "journal", node_port=PORT))
    world.wait_ready(namespace, 1, deadline=DEADLINE)
    writer = Writer(list(world.node_addresses.values()))
    yield writer
    writer.stop()


def claim(namespace: str) -> PersistentVolumeClaim:
    resources = VolumeResourceRequirements(requests={"storage": "64Mi"})
    spec = PersistentVolumeClaimSpec(accessModes=["ReadWriteOnce"], resources=resources)
    return PersistentVolumeClaim(metadata=ObjectMeta(name="journal", namespace=namespace), spec=spec)


def journal(namespace: str) -> Deployment:
    container = Container(
        name="journal",
        image=BUSYBOX,
        command=["httpd", "-f", "-p", "8080", "-h", "/www"],
        ports=[ContainerPort(8080)],
        readinessProbe=Probe(tcpSocket=TCPSocketAction(8080), periodSeconds=1),
        volumeMounts=[VolumeMount("/data", "data"), VolumeMount("/www/cgi-bin", "script")],
    )
    volumes = [
        Volume("data", persistentVolumeClaim=PersistentVolumeClaimVolumeSource("journal")),
        Volume("script", configMap=ConfigMapVolumeSource(name="script", defaultMode=0o755)),
    ]
    spec = PodSpec(containers=[container], volumes=volumes, terminationGracePeriodSeconds=1)
    return Deployment(
        metadata=ObjectMeta(name="journal", namespace=namespace),
        spec=DeploymentSpec(
            strategy=DeploymentStrategy(type="Recreate"),
            selector=LabelSelector(matchLabels={"app": "journal"}),
            template=PodTemplateSpec(metadata=ObjectMeta(labels={"app": "journal"}), spec=spec),
        ),
    )


def running(world: World, namespace: str) -> Pod:
    (found,) = [each for each in world.pods(namespace) if pods.is_active(each)]
    return found


def wait_elsewhere(world: World, namespace: str, node: str) -> float:
    """Until the writer is Ready on another node."""

    def holds(found: list[Pod]) -> bool:
        return any(pods.is_active(each) and pods.is_ready(each) and pods.node_name(each) != node for each in found)

    return world.wait(Pod, holds, what=f"the writer away from {node}", deadline=DEADLINE, namespace=namespace)


def check(world: World, namespace: str, writer: Writer) -> None:
    """Every acknowledged record is there, exactly once, and all are in order."""
    with writer._news:
        acknowledged = list(writer.acknowledged)
    lines = world.exec_in(running(world, namespace), "cat", "/data/log").split()
    numbers = [int(line.partition("-")[0]) for line in lines]
    assert lines == [record(number) for number in numbers]
    assert numbers == sorted(set(numbers))
    assert set(acknowledged) <= set(numbers)


def test_a_pod_and_its_data_move(world: World, namespace: str, writer: Writer, took) -> None:
    # Drained to another node.
    writer.until_more()
    first = pods.node_name(running(world, namespace))
    world.minikctl("drain", first, "--ignore-daemonsets", "--force", "--delete-emptydir-data")
    try:
        took("drained pod with a volume Ready on another node", wait_elsewhere(world, namespace, first))
        writer.until_more()
        check(world, namespace, writer)
    finally:
        world.minikctl("uncordon", first)

    # kill -9 of its kubelet: the writer does not notice.
    second = pods.node_name(running(world, namespace))
    uid = meta.uid(running(world, namespace))
    world.kill_and_wait_for_restart(second, "kubelet", deadline=60)
    writer.until_more()
    assert meta.uid(running(world, namespace)) == uid
    check(world, namespace, writer)

    # Its node loses power.
    world.lab.stop(second)
    try:
        took("pod with a volume Ready elsewhere after its node went off", wait_elsewhere(world, namespace, second))
        writer.until_more()
        check(world, namespace, writer)
    finally:
        world.lab.start(second)
    check(world, namespace, writer)

    # Its node is cut off, goes on alone, and comes back.
    third = pods.node_name(running(world, namespace))
    world.lab.cut(third)
    try:
        wait_elsewhere(world, namespace, third)
        writer.until_more()
    finally:
        world.lab.heal(third)
    world.wait_ready(namespace, 1, deadline=DEADLINE)  # the one that was cut off has been cleared away
    writer.until_more()
    check(world, namespace, writer)
    leftovers = [world.lab.host(each).services_directory / "kubelet" / "disks" for each in world.lab_nodes()]
    name = world.client.get(PersistentVolumeClaim, "journal", namespace=namespace).spec.volumeName
    end = time.monotonic() + DEADLINE
    while len(found := [each for each in leftovers if (each / name).exists()]) != 1:
        assert time.monotonic() < end, f"the disk is still at {found}"
        time.sleep(0.1)

    # Its storage host's process dies: a pause, no more.
    world.kill_and_wait_for_restart("control", "storage", deadline=60)
    writer.until_more()
    check(world, namespace, writer)

    # The claim is given back with its namespace.
    world.client.delete(Deployment, "journal", namespace=namespace)
    world.client.delete(PersistentVolumeClaim, "journal", namespace=namespace)
    world.wait(
        PersistentVolume,
        lambda found: name not in {meta.name(each) for each in found},
        what="the volume gone",
        deadline=DEADLINE,
    )
    assert not list(world.lab.host("control").services_directory.glob(f"storage/{name}*"))


def shell(namespace: str, name: str, script: str, *, claim: str, node: str | None = None) -> Pod:
    """A pod that runs a script once."""
    container = Container(name="c", image=BUSYBOX, command=["sh", "-c", script])
    container.volumeMounts = [VolumeMount("/data", "data")]
    spec = PodSpec(
        containers=[container],
        volumes=[Volume("data", persistentVolumeClaim=PersistentVolumeClaimVolumeSource(claim))],
        restartPolicy="Never",
        nodeSelector={"kubernetes.io/hostname": node} if node else None,
    )
    return Pod(metadata=ObjectMeta(name=name, namespace=namespace), spec=spec)


def ended(world: World, namespace: str, name: str) -> Pod:
    world.wait(
        Pod,
        lambda found: any(meta.name(each) == name and pods.is_terminal(each) for each in found),
        what=f"the end of {name}",
        deadline=DEADLINE,
        namespace=namespace,
    )
    return world.client.get(Pod, name, namespace=namespace)


def test_a_pod_that_has_ended_leaves_its_disk_to_others(world: World, namespace: str) -> None:
    """With all it wrote, though it asked for no fsync; and the room of a disk is its claim's."""
    world.client.create(Namespace(metadata=ObjectMeta(name=namespace)))
    world.client.create(claim(namespace))
    nodes = sorted(world.lab_nodes())
    write = "dd if=/dev/zero of=/data/zeros bs=1M count=16 && echo done > /data/note"
    world.client.create(shell(namespace, "first", write, claim="journal", node=nodes[0]))
    assert pods.phase(ended(world, namespace, "first")) == "Succeeded"
    read = "test $(cat /data/note) = done && test $(stat -c %s /data/zeros) = 16777216 && ! dd if=/dev/zero of=/data/x"
    world.client.create(shell(namespace, "second", read, claim="journal", node=nodes[1]))
    assert pods.phase(ended(world, namespace, "second")) == "Succeeded"


def test_a_stateful_set_finds_its_claims_again(world: World, namespace: str) -> None:
    world.client.create(Namespace(metadata=ObjectMeta(name=namespace)))
    world.client.create(stateful_set(namespace))
    world.wait_ready(namespace, 1, deadline=DEADLINE)
    (pod,) = world.pods(namespace)
    world.exec_in(pod, "sh", "-c", "echo kept > /data/file")
    world.minikctl("scale", "statefulset/db", "--replicas=0", "-n", namespace)
    world.wait(Pod, lambda found: not found, what="no pod", deadline=DEADLINE, namespace=namespace)
    world.minikctl("cordon", pods.node_name(pod))
    try:
        world.minikctl("scale", "statefulset/db", "--replicas=1", "-n", namespace)
        world.wait_ready(namespace, 1, deadline=DEADLINE)
    finally:
        world.minikctl("uncordon", pods.node_name(pod))
    (moved,) = world.pods(namespace)
    assert pods.node_name(moved) != pods.node_name(pod)
    assert world.exec_in(moved, "cat", "/data/file") == "kept\n"
    assert world.exec_in(moved, "stat", "-c", "%g", "/data") == "1234\n"  # fsGroup
    world.client.delete(StatefulSet, "db", namespace=namespace)
    world.wait(PersistentVolumeClaim, lambda found: not found, what="no claim", deadline=DEADLINE, namespace=namespace)


def stateful_set(namespace: str) -> StatefulSet:
    """Its claims go when it is deleted, not when it is scaled down."""
    container = Container(name="db", image=BUSYBOX, command=["sleep", "1000000"])
    container.volumeMounts = [VolumeMount("/data", "data")]
    template = claim(namespace)
    template.metadata = ObjectMeta(name="data")
    return StatefulSet(
        metadata=ObjectMeta(name="db", namespace=namespace),
        spec=StatefulSetSpec(
            serviceName="db",
            replicas=1,
            selector=LabelSelector(matchLabels={"app": "db"}),
            template=PodTemplateSpec(
                metadata=ObjectMeta(labels={"app": "db"}),
                spec=PodSpec(
                    containers=[container],
                    terminationGracePeriodSeconds=0,  # gone from the API before it is from its node
                    securityContext=PodSecurityContext(fsGroup=1234),
                ),
            ),
            volumeClaimTemplates=[template],
            persistentVolumeClaimRetentionPolicy=StatefulSetPersistentVolumeClaimRetentionPolicy("Delete", "Retain"),
        ),
    )
