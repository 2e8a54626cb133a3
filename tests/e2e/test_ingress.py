"""An Ingress on every node: pods in turn, one not ready leaves, changes fail no request, certificates by name."""

from __future__ import annotations

import base64
import socket
import ssl
import time
import urllib.error
from collections import Counter

import pytest
import yaml
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Pod, Secret, Service
from lightkube.resources.networking_v1 import Ingress
from lightkube.types import PatchType
from world import NotInTime, ask, deployment, ready_pods, service

from api import meta
from bootstrap import pki

HOST = "shop.example"
DEADLINE_SECONDS = 30.0


def ingress(name: str, host: str, **spec: object) -> str:
    path = {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "web", "port": {"number": 80}}}}
    rules = [{"host": host, "http": {"paths": [path]}}]
    document = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": name}}
    return yaml.safe_dump({**document, "spec": {"rules": rules, **spec}})


@pytest.fixture
def shop(world, namespace):
    """Three pods that are ready while they have a file, behind a Service, behind an Ingress without a class."""
    wanted = deployment(namespace, "web", replicas=3)
    probe = wanted.spec.template.spec.containers[0].readinessProbe
    probe.httpGet.path, probe.failureThreshold = "/healthz", 1
    world.deploy(namespace, replicas=0, node_port=31098, name="none")
    world.client.create(wanted)
    world.client.create(service(namespace, "web", node_port=31097))
    world.minikctl("apply", "-n", namespace, "-f", "-", stdin=ingress("shop", HOST))
    world.wait_ready(namespace, 3)
    for node in world.node_addresses:
        until_answered_by(world, node, names(world, namespace))
    yield namespace


def names(world, namespace: str) -> set[str]:
    return {meta.name(pod) for pod in ready_pods(world.pods(namespace))}


def url(world, node: str) -> str:
    return f"http://{world.node_addresses[node]}/"


def until_answered_by(world, node: str, expected: set[str]) -> float:
    """Seconds until these pods and no others answer for the host on a node."""
    return until_reached(url(world, node), expected, HOST)


def until_reached(where: str, expected: set[str], host: str = "") -> float:
    started, last = time.monotonic(), ""
    while time.monotonic() - started < DEADLINE_SECONDS:
        try:
            found = {ask(where, host) for _ in range(2 * len(expected))}
            if found == expected:
                return time.monotonic() - started
            last = str(found)
        except (urllib.error.URLError, OSError) as error:
            last = repr(error)
            time.sleep(0.05)
    raise NotInTime(f"{host} {where} is not answered by {expected}: {last}")


def test_every_node_answers_with_the_pods_in_turn(world, shop):
    for node in world.node_addresses:
        answers = [ask(url(world, node), HOST) for _ in range(9)]
        assert Counter(answers) == dict.fromkeys(names(world, shop), 3)
        assert answers == answers[:3] * 3, "exactly in turn"
        with pytest.raises(urllib.error.HTTPError, match="404"):
            ask(url(world, node), "other.example")
    world.wait(
        Ingress,
        lambda found: (
            sorted(world.node_addresses.values())
            == sorted(each.ip for each in found[0].status.loadBalancer.ingress or [])
        ),
        what="the Ingress has the nodes' addresses",
        deadline=DEADLINE_SECONDS,
        namespace=shop,
    )
    shown = world.kubectl("get", "ingress", "shop", "-n", shop).stdout.split()
    assert [*world.node_addresses.values()] == shown[shown.index(HOST) + 1].split(",") and "minik" in shown
    described = world.kubectl("describe", "ingress", "shop", "-n", shop).stdout
    assert all(f"{pod.status.podIP}:8080" in described for pod in ready_pods(world.pods(shop)))


def test_a_pod_that_is_not_ready_leaves_and_no_change_fails_a_request(world, shop, took):
    node = next(iter(world.node_addresses))
    with world.constant_requests(url(world, node), host=HOST) as answers:
        leaving = ready_pods(world.pods(shop))[0]
        world.exec_in(leaving, "rm", "/www/healthz")
        world.wait(
            Pod,
            lambda found: len(ready_pods(found)) == 2,
            what="a pod not ready",
            deadline=DEADLINE_SECONDS,
            namespace=shop,
        )
        took("ingress: a pod that is not ready has left", until_answered_by(world, node, names(world, shop)))
        since = time.monotonic()
        world.minikctl("apply", "-n", shop, "-f", "-", stdin=ingress("more", "more.example"))
        world.minikctl("scale", "web", "--replicas", "5", "-n", shop)
        world.wait(
            Pod, lambda found: len(ready_pods(found)) == 4, what="four Ready", deadline=DEADLINE_SECONDS, namespace=shop
        )
        until_answered_by(world, node, names(world, shop))
        world.minikctl("delete", "pod", min(names(world, shop)), "-n", shop)
        world.minikctl("delete", "ingress", "more", "-n", shop)
        world.wait(
            Pod,
            lambda found: len(found) == 5 and len(ready_pods(found)) == 4,
            what="a pod replaced",
            deadline=DEADLINE_SECONDS,
            namespace=shop,
        )
        until_answered_by(world, node, names(world, shop))
    assert answers.failed == []
    assert answers.by_pod(since=since)[meta.name(leaving)] == 0


def test_certificates_by_name_and_what_is_wrong_is_told(world, shop, tmp_path):
    authority = pki.Authority.ensure(tmp_path, "tests")
    for name in ("one.example", "two.example"):
        request = pki.Request(common_name=name, names=(name,), usages=(pki.SERVER,))
        data = {
            key: base64.b64encode(value).decode()
            for key, value in zip(("tls.crt", "tls.key"), authority.issue(request), strict=True)
        }
        world.client.create(Secret(metadata=ObjectMeta(name=name, namespace=shop), type="kubernetes.io/tls", data=data))
        tls = [{"hosts": [name], "secretName": name}]
        world.minikctl("apply", "-n", shop, "-f", "-", stdin=ingress(name, name, tls=tls))
    context = ssl.create_default_context(cadata=pki.pem(authority.certificate).decode())
    for node, address in world.node_addresses.items():
        for name in ("one.example", "two.example"):
            until_trusted(context, address, name)
            assert b" 200 OK" in tls_request(context, address, name), node

    tls = [{"hosts": ["three.example"], "secretName": "missing"}]
    world.minikctl("apply", "-n", shop, "-f", "-", stdin=ingress("three", "three.example", tls=tls))
    until_told(world, shop, "three", "SecretNotFound")


def test_a_load_balancer_answers_on_every_node_and_pods_reach_the_api_server(world, shop):
    port = {"name": "http", "port": 8090, "targetPort": 8080}
    changes = {"spec": {"type": "LoadBalancer", "ports": [port]}}
    world.client.patch(Service, "web", changes, namespace=shop, patch_type=PatchType.MERGE)
    world.wait(
        Service,
        lambda found: any(len(each.status.loadBalancer.ingress or []) == 3 for each in found),
        what="the Service has the nodes' addresses",
        deadline=DEADLINE_SECONDS,
        namespace=shop,
    )
    for address in world.node_addresses.values():
        until_reached(f"http://{address}:8090/", names(world, shop))
    for pod in ready_pods(world.pods(shop)):
        assert "10.96.0.1" in world.exec_in(pod, "nslookup", "kubernetes.default.svc.cluster.local")
        world.exec_in(pod, "sh", "-c", "echo no TLS | nc -w 10 10.96.0.1 443")  # fails unless somebody answers


def tls_request(context: ssl.SSLContext, address: str, name: str) -> bytes:
    with (
        socket.create_connection((address, 443), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname=name) as sock,
    ):
        sock.sendall(f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
        return sock.recv(4096)


def until_trusted(context: ssl.SSLContext, address: str, name: str) -> None:
    end = time.monotonic() + DEADLINE_SECONDS
    while True:
        try:
            tls_request(context, address, name)
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def until_told(world, namespace: str, name: str, reason: str) -> None:
    end = time.monotonic() + DEADLINE_SECONDS
    while reason not in world.kubectl("describe", "ingress", name, "-n", namespace).stdout:
        assert time.monotonic() < end, f"no event {reason}"
        time.sleep(0.2)
