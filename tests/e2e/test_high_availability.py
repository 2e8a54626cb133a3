"""Three control planes: any one of them may die, and nothing that was acknowledged is lost."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import pytest
from lightkube import ApiError
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import ConfigMap
from lightkube.resources.discovery_v1 import EndpointSlice
from world import World, connect, constant_requests

from api import meta
from bootstrap import apiclient, kubeconfig
from bootstrap.commands import ControlPlane
from client.config import SyncClient, connect_sync
from client.servers import with_servers
from lab import state
from lab.cluster import Lab

NAMESPACE = "ha"
NODE_PORT = 30084
DEADLINE = 60.0


@pytest.fixture(scope="module")
def several() -> Iterator[World]:
    lab = Lab(name="tha", subnet="10.84.0.0/24")
    lab.down()
    try:
        lab.up(nodes=1, control_planes=3, kubeconfig=False)
        world = World(lab)
        world.deploy(NAMESPACE, replicas=1, node_port=NODE_PORT)
        world.wait_ready(NAMESPACE, 1, deadline=DEADLINE)
        yield world
    finally:
        lab.down()


def controls(world: World) -> list[str]:
    return [host.name for host in world.lab.status() if host.role == "control"]


def only(world: World, host: str) -> SyncClient:
    """A client of one control plane's API server alone."""
    path = ControlPlane(state.lab_dir(world.lab.name) / host).admin_conf
    config = kubeconfig.load(path)
    cluster = config["clusters"][0]
    cluster["cluster"] = with_servers(cluster["cluster"], [f"https://{world.lab.host(host).address}:6443"])
    return connect_sync(config)


class Writer:
    """Creates one ConfigMap after the other, as fast as they are acknowledged, and remembers which were."""

    def __init__(self, world: World, name: str) -> None:
        self.acknowledged: list[tuple[float, str]] = []
        self._client = connect(world.kubeconfig)
        self._name = name
        self._stop = threading.Event()
        self._news = threading.Condition()

    def run(self) -> None:
        for number in itertools.count():
            if self._stop.is_set():
                return
            name = f"{self._name}-{number}"
            try:
                self._client.create(ConfigMap(metadata=ObjectMeta(name=name, namespace=NAMESPACE)))
            except (ApiError, httpx2.HTTPError):
                continue  # not acknowledged: nobody was promised anything
            with self._news:
                self.acknowledged.append((time.monotonic(), name))
                self._news.notify_all()

    def wait(self, count: int, *, since: float) -> float:
        """Until so many more are acknowledged; the seconds until the first of them."""
        with self._news:
            done = self._news.wait_for(lambda: len(self._since(since)) >= count, DEADLINE)
            assert done, f"only {len(self._since(since))} writes were acknowledged"
            return self._since(since)[0] - since

    def _since(self, moment: float) -> list[float]:
        return [at for at, _ in self.acknowledged if at > moment]

    def stop(self) -> None:
        self._stop.set()


@contextmanager
def writing(world: World, name: str) -> Iterator[Writer]:
    writer = Writer(world, name)
    thread = threading.Thread(target=writer.run, daemon=True)
    thread.start()
    try:
        writer.wait(10, since=0)
        yield writer
    finally:
        writer.stop()
        thread.join()


def servers_are(world: World, *hosts: str) -> float:
    """Wait until the Service `kubernetes` leads to exactly these."""
    wanted = {world.lab.host(host).address for host in hosts}

    def holds(slices: list[EndpointSlice]) -> bool:
        ours = [each for each in slices if meta.name(each) == "kubernetes"]
        found = {address for each in ours for endpoint in each.endpoints or () for address in endpoint.addresses}
        return found == wanted

    what = f"the endpoints of kubernetes are {sorted(wanted)}"
    return world.wait(EndpointSlice, holds, what=what, deadline=DEADLINE, namespace="default")


def started(world: World, host: str) -> None:
    """Start a control plane and wait until it answers."""
    world.lab.start(host)
    pki = ControlPlane(state.lab_dir(world.lab.name) / host).pki
    url = f"https://{world.lab.host(host).address}:6443"
    assert apiclient.wait_ready(url, pki / "ca.crt", timeout=DEADLINE), f"{host} did not come back"


def names(client: SyncClient) -> set[str]:
    return {meta.name(each) for each in client.list(ConfigMap, namespace=NAMESPACE)}


def test_what_one_server_acknowledged_all_others_know(several: World) -> None:
    clients = [only(several, host) for host in controls(several)]
    clients[0].create(ConfigMap(metadata=ObjectMeta(name="counter", namespace=NAMESPACE), data={"count": "0"}))
    for number, (writing_to, reading_from) in enumerate(itertools.product(clients, clients), start=1):
        patch = {"data": {"count": str(number)}}
        writing_to.patch(ConfigMap, "counter", patch, namespace=NAMESPACE)
        read = reading_from.get(ConfigMap, "counter", namespace=NAMESPACE)
        assert read.data == {"count": str(number)}


def test_each_control_plane_may_die_under_a_writer(several: World, took) -> None:
    hosts = controls(several)
    servers_are(several, *hosts)
    url = f"http://{several.node_addresses['node-1']}:{NODE_PORT}/"
    with writing(several, "turn") as writer, constant_requests(url) as answers:
        for replicas, victim in enumerate(hosts, start=2):
            several.lab.stop(victim)
            stopped = time.monotonic()
            took(f"high availability: writes after {victim} died", writer.wait(10, since=stopped))
            several.minikctl("scale", "deployment/web", "-n", NAMESPACE, f"--replicas={replicas}")
            several.wait_ready(NAMESPACE, replicas, deadline=DEADLINE)
            took(f"high availability: a pod more after {victim} died", time.monotonic() - stopped)
            servers_are(several, *(host for host in hosts if host != victim))
            started(several, victim)
            servers_are(several, *hosts)
    assert answers.failed == [], "pods serve on, whoever is away"
    acknowledged = {name for _, name in writer.acknowledged}
    for host in hosts:
        assert acknowledged <= names(only(several, host)), f"lost, as {host} sees it"


def test_one_of_three_refuses_and_two_go_on(several: World) -> None:
    hosts = controls(several)
    with writing(several, "majority") as writer:
        for host in hosts[1:]:
            several.lab.stop(host)
        with pytest.raises((ApiError, httpx2.HTTPError)):
            only(several, hosts[0]).create(ConfigMap(metadata=ObjectMeta(name="alone", namespace=NAMESPACE)))
        started(several, hosts[1])
        writer.wait(10, since=time.monotonic())
    started(several, hosts[2])
    acknowledged = {name for _, name in writer.acknowledged}
    for host in hosts:
        assert acknowledged <= names(only(several, host))
