"""What the end-to-end tests look at: the lab's API server, its nodes' containers, and the answers of its services.

Everything here observes the state of the world. Waiting is list + watch with a deadline; each wait returns the
seconds it took, which the tests print.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import msgspec
from lightkube import ApiError
from lightkube.models.apps_v1 import DeploymentSpec
from lightkube.models.core_v1 import (
    Container,
    ContainerPort,
    HTTPGetAction,
    PodSpec,
    PodTemplateSpec,
    Probe,
    ServicePort,
    ServiceSpec,
)
from lightkube.models.meta_v1 import LabelSelector, ObjectMeta, Status
from lightkube.resources.apps_v1 import Deployment, ReplicaSet
from lightkube.resources.coordination_v1 import Lease
from lightkube.resources.core_v1 import ConfigMap, Event, Namespace, Node, Pod, Secret, Service
from lightkube.resources.discovery_v1 import EndpointSlice

from api import meta, pods
from api.resource import decoder, resource_info
from bootstrap import supervisor
from client.config import SyncClient, connect_sync
from lab.cluster import Lab

IMAGE = "minik/web:1"
BUSYBOX = "minik/busybox:1"
REQUEST_TIMEOUT_SECONDS = 2.0


class NotInTime(AssertionError):
    """A condition did not come true before its deadline."""


def connect(kubeconfig: Path) -> SyncClient:
    # Types are learnt here, in one thread: msgspec crashes when two meet a type for the first time together.
    for kind in (ConfigMap, Deployment, EndpointSlice, Event, Lease, Namespace, Node, Pod, ReplicaSet, Secret, Service):
        decoder(kind)
    msgspec.json.Decoder(Status)
    return connect_sync(kubeconfig)


def wait_for(
    client: SyncClient,
    resource: type,
    holds: Callable[[list], bool],
    *,
    what: str,
    deadline: float,
    namespace: str | None = None,
) -> float:
    """Seconds until `holds(objects)` is true of a list, followed by watch. Survives an API server that goes away."""
    start = time.monotonic()
    objects: dict[str, Any] = {}
    while time.monotonic() - start < deadline:
        try:
            for objects in _follow(client, resource, namespace, until=start + deadline):
                if holds(list(objects.values())):
                    return time.monotonic() - start
        except (ApiError, httpx2.HTTPError, OSError):
            time.sleep(0.05)  # not a condition: only keeps a server that is away from being hammered
    seen = [(key, _summary(obj)) for key, obj in objects.items()]
    raise NotInTime(f"{what}: not within {deadline:g} s; last seen: {seen}")


def _follow(client: SyncClient, resource: type, namespace: str | None, *, until: float) -> Iterator[dict[str, Any]]:
    """The objects of a kind, after the list and after every event, until the time is over."""
    kind = resource_info(resource)
    http = client.http
    listed = http.get(kind.path(namespace).lstrip("/"))
    listed.raise_for_status()
    page = listed.json()
    objects = {meta.key(obj): obj for obj in (msgspec.convert(item, resource) for item in page["items"])}
    yield objects
    left = max(0.1, until - time.monotonic())
    params = {"watch": "true", "resourceVersion": page["metadata"]["resourceVersion"]}
    timeout = httpx2.Timeout(5, read=left)
    with http.stream("GET", kind.path(namespace).lstrip("/"), params=params, timeout=timeout) as response:
        response.raise_for_status()
        for line in response.iter_lines():
            event = msgspec.json.decode(line)
            obj = msgspec.convert(event["object"], resource)
            if event["type"] == "DELETED":
                objects.pop(meta.key(obj), None)
            else:
                objects[meta.key(obj)] = obj
            yield objects
            if time.monotonic() > until:
                return


def _summary(obj: object) -> str:
    if isinstance(obj, Pod):
        return f"{pods.phase(obj)} on {pods.node_name(obj)} ready={pods.is_ready(obj)} gone={meta.is_terminating(obj)}"
    return str(getattr(obj, "status", ""))[:200]


def ready_pods(objects: list[Pod]) -> list[Pod]:
    return [pod for pod in objects if pods.is_ready(pod) and pods.is_active(pod)]


def node_is(node: str, status: str) -> Callable[[list[Node]], bool]:
    """For `wait`: the node is Ready, or is not."""

    def holds(nodes: list[Node]) -> bool:
        found = next((each for each in nodes if meta.name(each) == node), None)
        condition = meta.get_condition(found.status.conditions, "Ready") if found and found.status else None
        return condition is not None and (condition.status == "True") == (status == "Ready")

    return holds


class World:
    """One lab and how to look at it."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.kubeconfig = lab.admin_conf
        self.client = connect(lab.admin_conf)
        self.node_addresses = self.lab_nodes()

    # Acting as a user does

    def minikctl(self, *args: str, check: bool = True, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run minikctl as a user does."""
        command = [str(Path(sys.executable).with_name("minikctl")), *args]
        env = {**os.environ, "KUBECONFIG": str(self.kubeconfig), "MINIK_LAB": self.lab.name}
        done = subprocess.run(command, env=env, input=stdin, capture_output=True, text=True, timeout=120)
        assert not check or done.returncode == 0, f"minikctl {' '.join(args)}: {done.stdout}{done.stderr}"
        return done

    def kubectl(self, *args: str) -> subprocess.CompletedProcess[str]:
        """Run the real kubectl, unmodified."""
        done = subprocess.run(
            ["kubectl", *args],
            env={**os.environ, "KUBECONFIG": str(self.kubeconfig)},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, f"kubectl {' '.join(args)}: {done.stdout}{done.stderr}"
        return done

    def helm(self, namespace: str, *args: str) -> str:
        """Run the real Helm, unmodified; what it prints."""
        home = {f"HELM_{each}_HOME": f"/tmp/{self.lab.name}-helm" for each in ("CACHE", "CONFIG", "DATA")}
        done = subprocess.run(
            ["helm", "-n", namespace, *args],
            env={**os.environ, **home, "KUBECONFIG": str(self.kubeconfig)},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, f"helm {' '.join(args)}: {done.stdout}{done.stderr}"
        return done.stdout

    def wait(self, resource: type, holds: Callable[[list], bool], **kwargs: object) -> float:
        return wait_for(self.client, resource, holds, **kwargs)  # type: ignore[arg-type]

    def wait_ready(self, namespace: str, count: int, *, deadline: float = 30) -> float:
        """Until exactly `count` pods are there, and all are Ready."""
        return self.wait(
            Pod,
            lambda found: len(found) == count and len(ready_pods(found)) == count,
            what=f"{count} Ready pods in {namespace}",
            deadline=deadline,
            namespace=namespace,
        )

    def pods(self, namespace: str) -> list[Pod]:
        return list(self.client.list(Pod, namespace=namespace))

    def deploy(self, namespace: str, *, replicas: int, node_port: int, name: str = "web", **spec: object) -> None:
        """A Deployment of the sample image behind a NodePort Service."""
        self.client.create(Namespace(metadata=ObjectMeta(name=namespace)))
        self.client.create(deployment(namespace, name, replicas=replicas, **spec))
        self.client.create(service(namespace, name, node_port=node_port))

    def delete_namespace(self, namespace: str) -> None:
        self.client.delete(Namespace, namespace)
        self.wait(
            Namespace,
            lambda found: namespace not in {meta.name(each) for each in found},
            what=f"namespace {namespace} gone",
            deadline=60,
        )

    def forget_added_nodes(self) -> None:
        """Remove lab nodes a failed test left behind."""
        for node in self.lab_nodes().keys() - self.node_addresses.keys():
            self.lab.remove_node(node)

    def kill_and_wait_for_restart(self, host: str, component: str, *, deadline: float = 20) -> float:
        """kill -9 a component; seconds until its supervisor runs another process for it."""
        start = time.monotonic()
        killed = self.lab.kill(host, component)
        while time.monotonic() - start < deadline:
            pid = self.processes(host).get(component, 0)
            if pid not in (0, killed) and Path(f"/proc/{pid}").exists():
                return time.monotonic() - start
            time.sleep(0.02)
        raise NotInTime(f"{component} on {host} was not restarted within {deadline:g} s")

    def processes(self, host: str) -> dict[str, int]:
        """The pids of a host's supervised processes, by name."""
        services = self.lab.host(host).services
        return {child.name: child.pid or 0 for service in services for child in supervisor.status(service)}

    # Looking at nodes

    def lab_nodes(self) -> dict[str, str]:
        """The lab's nodes and their addresses."""
        return {host.name: host.address for host in self.lab.status() if host.role == "node"}

    def containers(self, node: str) -> list[dict[str, Any]]:
        """What the node's engine runs, by its own account."""
        docker = ["docker", "-H", self.lab.host(node).docker_host]
        ids = subprocess.run([*docker, "ps", "-q", "--no-trunc"], capture_output=True, text=True, check=True).stdout
        if not ids.split():
            return []
        found = subprocess.run([*docker, "inspect", *ids.split()], capture_output=True, text=True, check=False).stdout
        return [_container(each) for each in json.loads(found)]

    def container_of(self, pod: Pod) -> dict[str, Any]:
        """The (only) app container of a pod, as its node's engine sees it."""
        found = [each for each in self.containers(pods.node_name(pod)) if each["uid"] == meta.uid(pod)]
        return next(each for each in found if each["container"])

    def exec_in(self, pod: Pod, *command: str) -> str:
        """What a command prints inside the pod's container."""
        docker = ["docker", "-H", self.lab.host(pods.node_name(pod)).docker_host, "exec", self.container_of(pod)["id"]]
        done = subprocess.run([*docker, *command], capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, f"{' '.join(command)} in {meta.name(pod)}: {done.stdout}{done.stderr}"
        return done.stdout

    def uids_running(self, node: str, namespace: str) -> set[str]:
        """The pods of a namespace with anything running on the node."""
        return {each["uid"] for each in self.containers(node) if each["namespace"] == namespace}

    def until_nothing_runs(self, node: str, uids: set[str], *, deadline: float) -> None:
        """Until none of these pods has a container on the node."""
        end = time.monotonic() + deadline
        while left := {each["uid"] for each in self.containers(node)} & uids:
            if time.monotonic() > end:
                raise NotInTime(f"pods {left} still run on {node}")
            time.sleep(0.1)

    def assert_no_pod_runs_twice(self, namespace: str) -> None:
        """Each pod of the API runs on its own node, and nothing else runs anywhere."""
        expected = {(pods.node_name(pod), meta.uid(pod)) for pod in self.pods(namespace)}
        actual = {(node, uid) for node in self.lab_nodes() for uid in self.uids_running(node, namespace)}
        assert actual == expected

    # Looking at services

    def url(self, node_port: int, *, node: str | None = None) -> str:
        address = self.node_addresses[node] if node else next(iter(self.node_addresses.values()))
        return f"http://{address}:{node_port}/"

    def count_answers(self, url: str, requests: int) -> Counter[str]:
        """How often each pod answered; a request that fails raises."""
        return Counter(ask(url) for _ in range(requests))

    def until_rules_hold(self, namespace: str, url: str, count: int, *, deadline: float = 10) -> None:
        """Until exactly the Ready pods of the namespace, `count` of them, answer: the node's rules are up to date."""
        end = time.monotonic() + deadline
        expected = {meta.name(pod) for pod in ready_pods(self.pods(namespace))}
        assert len(expected) == count
        while time.monotonic() < end:
            try:
                if set(self.count_answers(url, 2 * count)) == expected:
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        raise NotInTime(f"{url} is not answered by {expected}")

    def until_answered_by_all(
        self, answers: Answers, namespace: str, *, since: float = 0.0, deadline: float = 15
    ) -> None:
        """Until every Ready pod of the namespace has answered one of the running requests."""
        end = time.monotonic() + deadline
        expected = {meta.name(pod) for pod in ready_pods(self.pods(namespace))}
        while not expected <= set(answers.by_pod(since=since)):
            if time.monotonic() > end:
                raise NotInTime(f"{expected} have not all answered: {answers.by_pod(since=since)}, {answers.failed}")
            time.sleep(0.05)

    def until_refused(self, url: str, *, deadline: float = 10) -> None:
        """Until a connection is refused, as opposed to answered or left waiting."""
        end = time.monotonic() + deadline
        while time.monotonic() < end:
            try:
                ask(url)
            except urllib.error.URLError as error:
                if isinstance(error.reason, ConnectionRefusedError):
                    return
            time.sleep(0.05)
        raise NotInTime(f"{url} is not refused")

    @staticmethod
    def constant_requests(url: str, *, host: str = "") -> AbstractContextManager[Answers]:
        return constant_requests(url, host=host)


def _container(found: dict[str, Any]) -> dict[str, Any]:
    labels = found["Config"]["Labels"]
    return {
        "id": found["Id"],
        "pid": found["State"]["Pid"],
        "started": found["State"]["StartedAt"],
        "namespace": labels.get("io.kubernetes.pod.namespace"),
        "uid": labels.get("io.kubernetes.pod.uid"),
        "container": labels.get("io.kubernetes.container.name"),
    }


def deployment(namespace: str, name: str, *, replicas: int, **spec: object) -> Deployment:
    probe = Probe(httpGet=HTTPGetAction(path="/", port=8080), periodSeconds=1)
    container = Container(name="web", image=IMAGE, ports=[ContainerPort(containerPort=8080)], readinessProbe=probe)
    template = PodTemplateSpec(
        metadata=ObjectMeta(labels={"app": name}),
        spec=PodSpec(containers=[container], terminationGracePeriodSeconds=5),
    )
    return Deployment(
        metadata=ObjectMeta(name=name, namespace=namespace),
        spec=DeploymentSpec(
            replicas=replicas, selector=LabelSelector(matchLabels={"app": name}), template=template, **spec
        ),
    )


def service(namespace: str, name: str, *, node_port: int) -> Service:
    port = ServicePort(port=80, targetPort=8080, nodePort=node_port)
    return Service(
        metadata=ObjectMeta(name=name, namespace=namespace),
        spec=ServiceSpec(type="NodePort", selector={"app": name}, ports=[port]),
    )


@dataclass
class Answers:
    """What a stream of requests met: who answered, and what went wrong, each with its time."""

    answered: list[tuple[float, str]] = field(default_factory=list)
    failed: list[tuple[float, str]] = field(default_factory=list)

    def by_pod(self, *, since: float = 0.0) -> Counter[str]:
        return Counter(who for at, who in self.answered if at >= since)

    def failed_since(self, moment: float) -> list[tuple[float, str]]:
        return [each for each in self.failed if each[0] >= moment]


def ask(url: str, host: str = "") -> str:
    """One request on a new connection; the first line of the answer, which names the pod."""
    request = urllib.request.Request(url, headers={"Host": host} if host else {})
    with urllib.request.urlopen(request, timeout=REQUEST_TIMEOUT_SECONDS) as response:
        return response.read().decode().splitlines()[0].strip()


@contextmanager
def constant_requests(url: str, *, host: str = "", pause: float = 0.02) -> Iterator[Answers]:
    """Ask `url` over and over, one new connection each time, while the block runs."""
    answers, stop = Answers(), threading.Event()

    def loop() -> None:
        while not stop.is_set():
            try:
                answers.answered.append((time.monotonic(), ask(url, host)))
            except (urllib.error.URLError, OSError) as error:
                answers.failed.append((time.monotonic(), repr(error)))
            stop.wait(pause)

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    try:
        yield answers
    finally:
        stop.set()
        thread.join()
