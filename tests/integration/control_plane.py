"""A control plane of real processes: etcd, API server, scheduler, controllers; and kubelets that only pretend.

`ControlPlane` starts and kills the processes. `FakeKubelets` registers Nodes, renews their Leases and reports pods
Running and Ready (or what a test wants), through nothing but the API. `until` waits for a state with a deadline.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx2
from lightkube import ApiError
from lightkube.models.coordination_v1 import LeaseSpec
from lightkube.models.core_v1 import NodeAddress, NodeCondition, NodeStatus, PodCondition, PodStatus
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.coordination_v1 import Lease
from lightkube.resources.core_v1 import Node, Pod
from ports import free_port

from api import meta, pods
from api.resource import resource_info
from bootstrap import kubeconfig, pki
from client import rest
from client.config import Client
from client.informer import Informer

DEADLINE = 30.0
USERS = {
    "admin": pki.Request(common_name="kubernetes-admin", organizations=("system:masters",)),
    "scheduler": pki.Request(common_name="system:kube-scheduler"),
    "controllers": pki.Request(common_name="system:kube-controller-manager"),
}
FAST = ["--leader-elect-lease-duration=5", "--leader-elect-renew-deadline=4.5", "--leader-elect-retry-period=0.2"]


class ControlPlane:
    """The processes, by name. Whatever a test does to them, `stop` ends them all.

    `fast` is for tests of failures: dead leaders and nodes are noticed within seconds, on a busy machine live ones too.
    """

    def __init__(self, directory: Path, *, fast: bool = True) -> None:
        self.directory = directory
        self._leases = FAST if fast else []
        self._monitor = ["--node-monitor-period=0.2", "--node-monitor-grace-period=2"] if fast else []
        self.port = free_port()
        self._etcd_port, self._peer_port = free_port(), free_port()
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._make_certificates()

    def _make_certificates(self) -> None:
        self.authority = pki.Authority.ensure(self.directory, "kubernetes")
        server = pki.Request(common_name="kube-apiserver", names=("127.0.0.1", "localhost"), usages=(pki.SERVER,))
        pki.ensure_leaf(self.authority, self.directory / "apiserver", server)
        pki.ensure_leaf(self.authority, self.directory / "kubelet-client", USERS["admin"])
        for name, request in USERS.items():
            self.user(name, request)

    def user(self, name: str, request: pki.Request) -> Path:
        """A kubeconfig for such a user."""
        pki.ensure_leaf(self.authority, self.directory / name, request)
        config = kubeconfig.build(
            server=f"https://127.0.0.1:{self.port}",
            ca=(self.directory / "ca.crt").read_bytes(),
            user=name,
            certificate=(self.directory / f"{name}.crt").read_bytes(),
            key=(self.directory / f"{name}.key").read_bytes(),
        )
        kubeconfig.write(self.kubeconfig(name), config)
        return self.kubeconfig(name)

    def kubeconfig(self, name: str) -> Path:
        return self.directory / f"{name}.conf"

    def start_etcd(self) -> None:
        client, peer = f"http://127.0.0.1:{self._etcd_port}", f"http://127.0.0.1:{self._peer_port}"
        command = ["etcd", "--name=test", f"--data-dir={self.directory}/etcd", "--log-level=error"]
        command += [f"--listen-client-urls={client}", f"--advertise-client-urls={client}"]
        command += [f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}"]
        command += [f"--initial-cluster=test={peer}", "--heartbeat-interval=10", "--election-timeout=100"]
        self._start("etcd", command)

    def start_apiserver(self, *options: str) -> None:
        d = self.directory
        self._python(
            "apiserver",
            f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            f"--secure-port={self.port}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--tls-cert-file={d}/apiserver.crt",
            f"--tls-private-key-file={d}/apiserver.key",
            f"--client-ca-file={d}/ca.crt",
            "--default-not-ready-toleration-seconds=1",
            "--default-unreachable-toleration-seconds=1",
            *options,
        )
        self._wait_ready()

    def start_scheduler(self, name: str = "scheduler") -> None:
        self._python("scheduler", f"--kubeconfig={self.kubeconfig('scheduler')}", *self._leases, name=name)

    def start_controllers(self, *options: str, name: str = "controllers") -> None:
        d = self.directory
        self._python(
            "controllers",
            f"--kubeconfig={self.kubeconfig('controllers')}",
            f"--cluster-signing-cert-file={d}/ca.crt",
            f"--cluster-signing-key-file={d}/ca.key",
            f"--root-ca-file={d}/ca.crt",
            "--node-deleted-quarantine=0.5",
            *self._monitor,
            *self._leases,
            *options,
            name=name,
        )

    def start_storage(self, where: Path | None = None, *, name: str = "storage") -> None:
        """Needs a user `storage`."""
        options = (f"--data-dir={where or self.directory / 'storage'}", "--address=127.0.0.1")
        self._python("storage", f"--kubeconfig={self.kubeconfig('storage')}", *options, name=name)

    def start(self) -> ControlPlane:
        self.start_etcd()
        self.start_apiserver()
        self.start_scheduler()
        self.start_controllers()
        return self

    def kill(self, name: str) -> None:
        """kill -9."""
        self._end(name, signal.SIGKILL)

    def stop(self, name: str | None = None) -> None:
        for each in [name] if name else list(reversed(self._running)):
            self._end(each, signal.SIGTERM)

    def log(self, name: str) -> str:
        return (self.directory / f"{name}.log").read_text()

    def _python(self, module: str, *options: str, name: str = "") -> None:
        self._start(name or module, [sys.executable, "-m", module, *options])

    def _start(self, name: str, command: list[str]) -> None:
        root = Path(__file__).parents[2]
        with (self.directory / f"{name}.log").open("ab") as log:
            env = {**os.environ, "PYTHONPATH": str(root)}
            self._running[name] = subprocess.Popen(command, stdout=log, stderr=log, cwd=root, env=env)

    def _end(self, name: str, number: signal.Signals) -> None:
        process = self._running.pop(name)
        process.send_signal(number)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + DEADLINE
        with httpx2.Client(verify=pki_context(self.directory / "ca.crt"), trust_env=False) as http:
            while time.monotonic() < deadline:
                with contextlib.suppress(httpx2.HTTPError):
                    if http.get(f"https://127.0.0.1:{self.port}/readyz").is_success:
                        return
                if self._running["apiserver"].poll() is not None:
                    break
                time.sleep(0.05)
        raise RuntimeError(self.log("apiserver"))


def pki_context(ca: Path) -> Any:
    import ssl

    return ssl.create_default_context(cafile=str(ca))


class FakeKubelets:
    """Nodes that are only told of. `hold` decides which pods are kept from being Ready, `phase_of` how they end."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.hold: Callable[[Pod], bool] = lambda pod: False
        self.phase_of: Callable[[Pod], str] = lambda pod: "Running"
        self.silent: set[str] = set()
        self._names: set[str] = set()
        self._pods = Informer(client, Pod)
        self._queue: asyncio.Queue[str] = asyncio.Queue()
        self._numbers = iter(range(1, 1_000_000))
        self._addresses: dict[str, str] = {}
        self._pods.on_change(lambda old, new: self._queue.put_nowait(meta.key(new)) if new is not None else None)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[FakeKubelets]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each()) for each in (self._pods.run, self._renew, self._work)]
            try:
                yield self
            finally:
                for task in tasks:
                    task.cancel()
                for name in self._names:
                    await ignoring_gone(self.client.delete(Node, name))

    async def add(self, name: str, *, cpu: str = "4", memory: str = "8Gi", limit: str = "110", **spec: Any) -> None:
        """Register a node, Ready and untainted from the start."""
        room = {"cpu": cpu, "memory": memory, "pods": limit}
        labels = {"kubernetes.io/hostname": name, **spec.pop("labels", {})}
        node = Node(metadata=ObjectMeta(name=name, labels=labels), status=self._status(name, room))
        await self.client.create(node)
        await self.client.patch(Node, name, {"spec": {"taints": None}})  # as the controllers will
        await self.report(name, room)
        self._names.add(name)
        await self._renew_one(name)

    async def report(self, name: str, room: dict[str, str] | None = None) -> None:
        """What a kubelet posts when it starts or comes back."""
        await self.client.patch(Node.Status, name, {"status": self._status(name, room).to_dict()})

    def _status(self, name: str, room: dict[str, str] | None) -> NodeStatus:
        now = meta.now()
        ready = NodeCondition(type="Ready", status="True", lastHeartbeatTime=now, lastTransitionTime=now)
        address = NodeAddress(type="InternalIP", address="192.0.2.1")
        return NodeStatus(capacity=room, allocatable=room, conditions=[ready], addresses=[address])

    async def _renew(self) -> None:
        while True:
            for name in self._names - self.silent:
                with contextlib.suppress(ApiError, httpx2.HTTPError):
                    await self._renew_one(name)
            await asyncio.sleep(0.3)  # a kubelet's lease interval

    async def _renew_one(self, name: str) -> None:
        spec = LeaseSpec(holderIdentity=name, renewTime=meta.now_micro(), leaseDurationSeconds=2)
        metadata = ObjectMeta(name=name, namespace="kube-node-lease")
        try:
            await self.client.patch(Lease, name, Lease(metadata=metadata, spec=spec), namespace="kube-node-lease")
        except ApiError as error:
            if error.status.code != 404:
                raise
            await ignoring_gone(self.client.create(Lease(metadata=metadata, spec=spec)))  # another renewal was faster

    def look_again(self) -> None:
        """`hold` or `silent` changed: every pod is judged anew."""
        for pod in self._pods.list():
            self._queue.put_nowait(meta.key(pod))

    async def _work(self) -> None:
        while True:
            pod = self._pods.get(await self._queue.get())
            with contextlib.suppress(ApiError, httpx2.HTTPError):
                if pod is not None and pods.node_name(pod) in self._names - self.silent:
                    await self._sync(pod)

    async def _sync(self, pod: Pod) -> None:
        if meta.is_terminating(pod):
            await ignoring_gone(rest.delete(self.client, pod, grace_seconds=0))
            return
        phase = self.phase_of(pod)
        ready = not self.hold(pod) and phase == "Running"
        if pods.is_terminal(pod) or (pods.phase(pod) == phase and pods.is_ready(pod) == ready):
            return
        now = meta.now()
        condition = PodCondition(type="Ready", status=str(ready), lastTransitionTime=now)
        number = next(self._numbers)
        address = self._addresses.setdefault(meta.uid(pod), f"10.244.{number // 250}.{number % 250 + 1}")
        status = PodStatus(phase=phase, podIP=address, conditions=[condition], startTime=now)
        path = {"metadata": {"uid": meta.uid(pod)}, "status": status.to_dict()}
        await self.client.patch(Pod.Status, meta.name(pod), path, namespace=meta.namespace(pod))


async def ignoring_gone(call: Any) -> None:
    try:
        await call
    except ApiError as error:
        if error.status.code not in (404, 409):
            raise


async def listed(client: Client, resource: type, namespace: str | None = None) -> list[Any]:
    objects, _, _ = await rest.list_page(client, resource, namespace=namespace)
    return objects


async def until(
    client: Client,
    resource: type,
    holds: Callable[[list[Any]], bool],
    *,
    namespace: str | None = None,
    deadline: float = DEADLINE,
) -> list[Any]:
    """Follow a kind until its objects are as wanted; returns them. Fails with what there was instead."""
    informer: Informer[Any] = Informer(client, resource, namespace=namespace or "*")
    changed = asyncio.Event()
    informer.on_change(lambda old, new: changed.set())
    task = asyncio.ensure_future(informer.run())
    try:
        async with asyncio.timeout(deadline):
            await informer.wait_synced()
            while not holds(informer.list()):
                changed.clear()
                await changed.wait()
    except TimeoutError:
        kind = resource_info(resource).kind
        raise AssertionError(f"not in {deadline} s: {kind} {[describe(each) for each in informer.list()]}") from None
    finally:
        task.cancel()
    return informer.list()


def describe(obj: Any) -> str:
    status = getattr(obj, "status", None)
    return f"{meta.key(obj)}: {status.to_dict() if status is not None else obj.to_dict()}"


async def stays(
    client: Client, resource: type, holds: Callable[[list[Any]], bool], *, namespace: str | None, seconds: float
) -> None:
    """The opposite of `until`: nothing may break the condition for so long."""
    with contextlib.suppress(AssertionError):
        found = await until(client, resource, lambda objs: not holds(objs), namespace=namespace, deadline=seconds)
        raise RuntimeError(f"changed to {[describe(each) for each in found]}")
