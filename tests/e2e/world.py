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
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
from lightkube import ApiError, Client, KubeConfig
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
from lightkube.models.meta_v1 import LabelSelector, ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import Namespace, Pod, Service

from api import meta, pods

IMAGE = "minik/web:1"
REQUEST_TIMEOUT_SECONDS = 2.0


class NotInTime(AssertionError):
    """A condition did not come true before its deadline."""


def connect(kubeconfig: Path) -> Client:
    return Client(config=KubeConfig.from_file(kubeconfig).get(), trust_env=False)


def wait_for(
    client: Client,
    resource: type,
    holds: Callable[[list], bool],
    *,
    what: str,
    deadline: float,
    namespace: str | None = None,
) -> float:
    """Seconds until `holds(objects)` is true of a list, followed by watch. Survives an API server that goes away."""
    start = time.monotonic()
    objects: dict[str, object] = {}
    while time.monotonic() - start < deadline:
        try:
            listing = client.list(resource, namespace=namespace)
            objects = {meta.key(each): each for each in listing}
            if holds(list(objects.values())):
                return time.monotonic() - start
            left = max(1, int(deadline - (time.monotonic() - start)))
            version = listing.resourceVersion
            for kind, obj in client.watch(resource, namespace=namespace, resource_version=version, server_timeout=left):
                if kind == "DELETED":
                    objects.pop(meta.key(obj), None)
                else:
                    objects[meta.key(obj)] = obj
                if holds(list(objects.values())):
                    return time.monotonic() - start
                if time.monotonic() - start > deadline:
                    break
        except (ApiError, httpx2.HTTPError, OSError):
            time.sleep(0.05)  # not a condition: only keeps a server that is away from being hammered
    seen = [(key, _summary(obj)) for key, obj in objects.items()]
    raise NotInTime(f"{what}: not within {deadline:g} s; last seen: {seen}")


def _summary(obj: object) -> str:
    if isinstance(obj, Pod):
        return f"{pods.phase(obj)} on {pods.node_name(obj)} ready={pods.is_ready(obj)} gone={meta.is_terminating(obj)}"
    return str(getattr(obj, "status", ""))[:200]


def ready_pods(objects: list[Pod]) -> list[Pod]:
    return [pod for pod in objects if pods.is_ready(pod) and pods.is_active(pod)]


@dataclass
class World:
    """One lab and how to look at it."""

    lab: object
    kubeconfig: Path
    client: Client
    node_addresses: dict[str, str]

    def minikctl(self, *args: str, check: bool = True, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run minikctl as a user does."""
        command = [str(Path(sys.executable).with_name("minikctl")), *args]
        env = {**os.environ, "KUBECONFIG": str(self.kubeconfig)}
        done = subprocess.run(command, env=env, input=stdin, capture_output=True, text=True, timeout=120)
        assert not check or done.returncode == 0, f"minikctl {' '.join(args)}: {done.stdout}{done.stderr}"
        return done

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

    def containers(self, node: str) -> list[dict[str, object]]:
        """What the node's engine runs, by its own account: id, pod uid, container name, pid."""
        docker = ["docker", "-H", f"unix://{self.lab.docker_socket(node)}"]  # type: ignore[attr-defined]
        ids = subprocess.run([*docker, "ps", "-q", "--no-trunc"], capture_output=True, text=True, check=True).stdout
        if not ids.split():
            return []
        found = subprocess.run([*docker, "inspect", *ids.split()], capture_output=True, text=True, check=False).stdout
        return [
            {
                "id": each["Id"],
                "pod": each["Config"]["Labels"].get("io.kubernetes.pod.name"),
                "namespace": each["Config"]["Labels"].get("io.kubernetes.pod.namespace"),
                "uid": each["Config"]["Labels"].get("io.kubernetes.pod.uid"),
                "container": each["Config"]["Labels"].get("io.kubernetes.container.name"),
                "pid": each["State"]["Pid"],
                "started": each["State"]["StartedAt"],
            }
            for each in json.loads(found)
        ]

    def uids_running(self, node: str, namespace: str) -> set[str]:
        return {str(each["uid"]) for each in self.containers(node) if each["namespace"] == namespace}


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


def ask(url: str) -> str:
    """One request on a new connection; the first line of the answer, which names the pod."""
    with urllib.request.urlopen(url, timeout=REQUEST_TIMEOUT_SECONDS) as response:
        return response.read().decode().splitlines()[0].strip()


@contextmanager
def constant_requests(url: str, *, pause: float = 0.02) -> Iterator[Answers]:
    """Ask `url` over and over, one new connection each time, while the block runs."""
    answers, stop = Answers(), threading.Event()

    def loop() -> None:
        while not stop.is_set():
            try:
                answers.answered.append((time.monotonic(), ask(url)))
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
