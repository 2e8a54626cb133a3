"""A node's ingress at a real API server, with a node's certificate: what it may read, serves, tells and gives back.

No pods here: a Service without endpoints answers 503, a host without an Ingress 404. Pods are in the end-to-end test.
"""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import signal
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from control_plane import DEADLINE, ControlPlane, FakeKubelets, until
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Event, Secret, Service
from lightkube.resources.networking_v1 import Ingress, IngressClass
from ports import free_port

from api import meta
from bootstrap import pki
from client.config import Client

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed"),
]

HTTP, HTTPS = free_port(), free_port()
NODE = pki.Request(common_name="system:node:n1", organizations=("system:nodes",))


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory, etcd_binary: str) -> Iterator[ControlPlane]:
    plane = ControlPlane(tmp_path_factory.mktemp("plane"))
    try:
        plane.start()
        plane._python(
            "ingress",
            f"--kubeconfig={plane.user('node', NODE)}",
            f"--data-dir={tmp_path_factory.mktemp('h')}",
            *("--hostname-override=n1", "--bind-address=127.0.0.1", f"--http-port={HTTP}", f"--https-port={HTTPS}"),
        )
        yield plane
    finally:
        plane.stop()


@pytest.fixture
async def shop(client: Client, namespace: str) -> AsyncIterator[str]:
    """The class of the ingress, a node, and a Service without pods; no Ingress is left."""
    spec = {"controller": "minik.io/ingress"}
    await client.create(msgspec.convert({"metadata": {"name": "minik"}, "spec": spec}, IngressClass))
    service = {"metadata": {"name": "web", "namespace": namespace}, "spec": {"ports": [{"port": 80}]}}
    await client.create(msgspec.convert(service, Service))
    async with FakeKubelets(client).running() as kubelets:
        await kubelets.add("n1")
        yield namespace
    await client.delete(IngressClass, "minik")
    for each in [each async for each in client.list(Ingress, namespace=namespace)]:
        await client.delete(Ingress, meta.name(each), namespace=namespace)
    await answers(lambda: status("shop.example"), 0)


def ingress(namespace: str, *, service: str = "web", **spec: object) -> Ingress:
    path = {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": service, "port": {"number": 80}}}}
    rules = [{"host": "shop.example", "http": {"paths": [path]}}]
    metadata = {"name": "shop", "namespace": namespace}
    return msgspec.convert(
        {"metadata": metadata, "spec": {"ingressClassName": "minik", "rules": rules, **spec}}, Ingress
    )


def points(found: list[Any], name: str) -> list[str]:
    """The addresses one of some Services or Ingresses has been given."""
    return [point.ip for each in found if meta.name(each) == name for point in each.status.loadBalancer.ingress or []]


def status(host: str) -> int:
    """The code of the answer; 0 if nobody listens."""
    request = urllib.request.Request(f"http://127.0.0.1:{HTTP}/", headers={"Host": host})
    try:
        return int(urllib.request.urlopen(request, timeout=5).status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def shown(name: str) -> bytes:
    """The certificate for a name (DER)."""
    context = ssl._create_unverified_context()
    try:
        with socket.create_connection(("127.0.0.1", HTTPS), timeout=5) as plain:
            return context.wrap_socket(plain, server_hostname=name).getpeercert(binary_form=True) or b""
    except OSError:
        return b""


async def answers(ask: Callable[[], object], wanted: object) -> None:
    def wait() -> None:
        end = time.monotonic() + DEADLINE
        while (found := ask()) != wanted:
            assert time.monotonic() < end, f"{found!r}, not {wanted!r}"
            time.sleep(0.05)

    await asyncio.to_thread(wait)


async def test_ports_are_taken_while_there_is_an_ingress(client: Client, shop: str) -> None:
    assert status("shop.example") == 0
    await client.create(ingress(shop))
    await answers(lambda: status("shop.example"), 503)
    assert status("other.example") == 404
    await until(client, Ingress, lambda found: points(found, "shop") == ["192.0.2.1"], namespace=shop)
    await client.delete(Ingress, "shop", namespace=shop)
    await answers(lambda: status("shop.example"), 0)


async def test_a_certificate_comes_changes_and_goes(client: Client, shop: str, tmp_path: Path) -> None:
    authority = pki.Authority.ensure(tmp_path, "tests")
    await client.create(ingress(shop, tls=[{"hosts": ["shop.example"], "secretName": "tls"}]))
    await answers(lambda: bool(shown("shop.example")), True)
    default = shown("shop.example")
    for attempt in range(2):
        request = pki.Request(common_name="shop.example", names=("shop.example",), usages=(pki.SERVER,))
        certificate, key = authority.issue(request)
        data = {name: base64.b64encode(each).decode() for name, each in (("tls.crt", certificate), ("tls.key", key))}
        secret = Secret(metadata=ObjectMeta(name="tls", namespace=shop), data=data)
        await (client.replace(secret) if attempt else client.create(secret))
        await answers(lambda: shown("shop.example"), ssl.PEM_cert_to_DER_cert(certificate.decode()))
        assert shown("other.example") == default
    await client.delete(Secret, "tls", namespace=shop)
    await answers(lambda: shown("shop.example"), default)


async def test_what_cannot_be_done_is_an_event_of_the_ingress(client: Client, shop: str) -> None:
    await client.create(ingress(shop, service="missing"))
    found = await until(
        client, Event, lambda events: any(each.reason == "ServiceNotFound" for each in events), namespace=shop
    )
    (told,) = [each for each in found if each.reason == "ServiceNotFound"]
    assert (told.involvedObject.kind, told.type, told.source.component) == ("Ingress", "Warning", "ingress")
    assert told.message == f"Service {shop}/missing does not exist"


async def test_an_ingress_of_another_class_is_left_alone(client: Client, shop: str) -> None:
    other = ingress(shop)
    other.spec.ingressClassName = "nginx"
    await client.create(other)
    mine = ingress(shop)
    mine.metadata.name, mine.spec.rules[0].host = "mine", "mine.example"
    await client.create(mine)
    await answers(lambda: status("mine.example"), 503)
    assert status("shop.example") == 404


async def test_load_balancers_share_the_nodes_ports_with_ingresses(client: Client, shop: str) -> None:
    await client.create(ingress(shop))
    for name, port in (("early", 8080), ("late", 80)):
        spec = {"type": "LoadBalancer", "ports": [{"port": port}]}
        metadata = {"name": name, "namespace": shop}
        await client.create(msgspec.convert({"metadata": metadata, "spec": spec}, Service))

    found = await until(client, Service, lambda found: points(found, "early") == ["192.0.2.1"], namespace=shop)
    assert points(found, "late") == []
    message = "Error syncing load balancer: port 80/TCP of the nodes belongs to Ingresses"
    await until(client, Event, lambda events: message in [each.message for each in events], namespace=shop)
    await client.delete(Ingress, "shop", namespace=shop)
    await until(client, Service, lambda found: points(found, "late") == ["192.0.2.1"], namespace=shop)


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def test_a_haproxy_that_is_killed_is_replaced(client: Client, shop: str, plane: ControlPlane) -> None:
    await client.create(ingress(shop))
    await answers(lambda: status("shop.example"), 503)
    (haproxy,) = await asyncio.to_thread(children, plane._running["ingress"].pid)
    os.kill(haproxy, signal.SIGKILL)
    await answers(lambda: status("shop.example"), 503)


async def test_a_port_that_somebody_has_is_told_and_served_later(client: Client, shop: str) -> None:
    with socket.create_server(("127.0.0.1", HTTP)):
        await client.create(ingress(shop))
        await answers(lambda: bool(shown("shop.example")), True)  # the other port works
        told = f"port {HTTP} (http) cannot be served here: Address already in use"
        events = await until(client, Event, lambda events: told in [each.message for each in events])
        assert next(each for each in events if each.message == told).involvedObject.kind == "Node"
    await answers(lambda: status("shop.example"), 503)
