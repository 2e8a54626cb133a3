"""A real node for kubelet tests: a network namespace with a Docker engine in it, an API server, and a kubelet process.

The fixtures made of these are in engine_fixtures.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import docker
from control_plane import ControlPlane, until
from lightkube import ApiError
from lightkube.resources.core_v1 import Event, Node, Pod

from api import meta, pods
from bootstrap import pki, supervisor
from client import rest
from client.config import Client
from lab import cgroups, engine, netns
from linux import mounts

BUSYBOX = "minik/busybox:1"
NODE = "node-1"
NODE_IP = "10.89.99.1"
_CLONE_NEWNET = 0x40000000


def busybox_tar() -> bytes:
    """A file system of the static busybox and its names."""
    names = subprocess.run(["busybox", "--list"], capture_output=True, text=True, check=True).stdout.split()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for directory in ("bin", "etc", "tmp", "proc", "sys", "dev"):
            entry = tarfile.TarInfo(directory)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        tar.add(os.path.realpath(shutil.which("busybox") or "/bin/busybox"), "bin/busybox")
        for name in names:
            if name != "busybox":
                link = tarfile.TarInfo(f"bin/{name}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(link)
    return buffer.getvalue()


class Engine:
    """A lab's Docker engine, in a network namespace with one address. `volumes` is for the kubelet's."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.volumes = directory / "node"
        self.namespace = f"mkt-{os.getpid()}"
        # Socket paths are limited to 108 bytes.
        self._run = Path(f"/run/{self.namespace}")
        self._cgroup = f"/{self.namespace}"
        self.url = f"unix://{engine.socket(self._run)}"

    def enter(self, *command: str) -> list[str]:
        """The command, in the namespace. (`ip netns exec` would hide the cgroups.)"""
        return ["nsenter", f"--net=/run/netns/{self.namespace}", *command]

    def make_namespace(self) -> None:
        run("ip", "netns", "add", self.namespace)
        for command in ("link set lo up", "link add under type bridge", f"addr add {NODE_IP}/24 dev under"):
            run("ip", "-n", self.namespace, *command.split())
        run("ip", "-n", self.namespace, "link", "set", "under", "up")

    def start(self) -> None:
        data = self.directory / "data"

        def start() -> None:
            engine.start(self.directory, data=data, run=self._run, cgroup=self._cgroup, volumes=self.volumes)

        netns.call(self.namespace, start)
        engine.wait_ready(self.directory, self._run)

    def client(self) -> docker.APIClient:
        return docker.APIClient(self.url, version="1.41", timeout=60)

    def containers(self, *, all_: bool = True) -> list[dict[str, Any]]:
        return list(self.client().containers(all=all_))

    def stop(self) -> None:
        with contextlib.suppress(docker.errors.DockerException, OSError):
            for each in self.containers():
                self.client().remove_container(each["Id"], force=True)
        supervisor.stop(self.directory)

    def remove_namespace(self) -> None:
        netns.delete(self.namespace)
        for directory in (self._run, self.directory):
            mounts.remove_tree(directory)
        cgroups.remove(self._cgroup)


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


# The node


def listen_in(namespace: str, port: int) -> socket.socket:
    """A listening socket on the namespace's loopback; sockets stay in the namespace they were made in."""
    libc = ctypes.CDLL(None, use_errno=True)
    made: list[socket.socket] = []

    def make() -> None:
        with open(f"/run/netns/{namespace}") as target:
            if libc.setns(target.fileno(), _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
        made.append(socket.create_server(("127.0.0.1", port)))

    thread = threading.Thread(target=make)  # it ends in the other namespace, and never comes back
    thread.start()
    thread.join()
    return made[0]


class Relay(threading.Thread):
    """Carries connections from the node's loopback to the same port on ours, where the API server listens."""

    def __init__(self, namespace: str, port: int) -> None:
        super().__init__(daemon=True)
        self._port = port
        self._listener = listen_in(namespace, port)

    def run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                inner, _ = self._listener.accept()
                threading.Thread(target=self._connect, args=(inner,), daemon=True).start()

    def _connect(self, inner: socket.socket) -> None:
        try:
            outer = socket.create_connection(("127.0.0.1", self._port))
        except OSError:
            inner.close()
            return
        threading.Thread(target=_copy, args=(inner, outer), daemon=True).start()
        _copy(outer, inner)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for each in (source, target):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


class KubeletNode:
    """node-1: an engine and a kubelet, and the API server it belongs to."""

    def __init__(self, engine: Engine, directory: Path) -> None:
        self.engine = engine
        self.directory = directory
        self.data_dir = engine.volumes / "kubelet"
        self.control = ControlPlane(directory)
        self._relay = Relay(engine.namespace, self.control.port)
        self._kubelet: subprocess.Popen[bytes] | None = None
        name = f"system:node:{NODE}"
        self.control.user("kubelet", pki.Request(common_name=name, organizations=("system:nodes",)))
        serving = pki.Request(common_name=name, names=(NODE, NODE_IP), usages=(pki.SERVER,))
        pki.ensure_leaf(self.control.authority, directory / "serving", serving)

    def start(self) -> None:
        self.control.start_etcd()
        self.control.start_apiserver()
        self._relay.start()
        self.start_kubelet()

    def start_kubelet(self) -> None:
        d = self.directory
        options = ["--kubeconfig", self.control.kubeconfig("kubelet"), "--hostname-override", NODE]
        options += ["--node-ip", NODE_IP, "--docker-host", self.engine.url, "--data-dir", self.data_dir]
        options += ["--tls-cert-file", d / "serving.crt", "--tls-private-key-file", d / "serving.key"]
        options += ["--client-ca-file", d / "ca.crt", "--node-lease-duration-seconds", "4"]
        root = Path(__file__).parents[2]
        command = self.engine.enter(sys.executable, "-m", "kubelet", *map(str, options))
        with (d / "kubelet.log").open("ab") as log:
            self._kubelet = subprocess.Popen(command, stdout=log, stderr=log, cwd=root)

    def kill_kubelet(self) -> None:
        assert self._kubelet is not None
        self._kubelet.kill()
        self._kubelet.wait()

    def stop(self) -> None:
        self.kill_kubelet()
        self._relay.close()
        self.control.stop()
        mounts.remove_tree(self.data_dir)

    def log(self) -> str:
        return (self.directory / "kubelet.log").read_text()

    def containers(self, pod: Pod, *, all_: bool = True) -> list[dict[str, Any]]:
        label = f"io.kubernetes.pod.uid={meta.uid(pod)}"
        return list(self.engine.client().containers(all=all_, filters={"label": label}))

    def kill_process(self, pod: Pod, container: str) -> None:
        """kill -9 on the container's main process."""
        for each in self.containers(pod, all_=False):
            if each["Labels"].get("io.kubernetes.container.name") == container:
                os.kill(self.engine.client().inspect_container(each["Id"])["State"]["Pid"], signal.SIGKILL)

    def inside(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run on the node's network."""
        done = subprocess.run(self.engine.enter(*command), capture_output=True, text=True, timeout=30, check=False)
        return done

    def get(self, path: str, *, certificate: str = "kubelet-client") -> tuple[int, str]:
        """From the kubelet's server, as the API server asks, or with another certificate: (status code, body)."""
        script = (
            "import ssl, sys, urllib.request, urllib.error\n"
            "ca, cert, key, url = sys.argv[1:]\n"
            "context = ssl.create_default_context(cafile=ca)\n"
            "if cert: context.load_cert_chain(cert, key)\n"
            "try:\n"
            "    answer = urllib.request.urlopen(url, context=context, timeout=10)\n"
            "except urllib.error.HTTPError as error:\n"
            "    answer = error\n"
            "except OSError as error:\n"
            "    print(0); print(error); sys.exit()\n"
            "print(answer.status)\n"
            "sys.stdout.write(answer.read().decode())\n"
        )
        d = self.directory
        own = [str(d / f"{certificate}.crt"), str(d / f"{certificate}.key")] if certificate else ["", ""]
        url = f"https://{NODE_IP}:10250{path}"
        done = self.inside(sys.executable, "-c", script, str(d / "ca.crt"), *own, url)
        code, _, body = done.stdout.partition("\n")
        return int(code or 0), body


class Api:
    """What a test does through the API server."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def create(self, name: str, spec: dict[str, Any], **metadata: Any) -> Pod:
        """A pod for node-1, created."""
        document = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "default", **metadata},
            "spec": {"nodeName": NODE, "terminationGracePeriodSeconds": 1, **spec},
        }
        return await self.client.create(Pod.from_dict(document))

    async def pod(self, name: str, holds: Any, *, deadline: float = 30.0) -> Pod:
        """The pod, as soon as it is as wanted."""
        found: list[Pod] = []

        def check(all_: list[Pod]) -> bool:
            found[:] = [each for each in all_ if meta.name(each) == name and holds(each)]
            return bool(found)

        await until(self.client, Pod, check, namespace="default", deadline=deadline)
        return found[0]

    async def ready(self, name: str) -> Pod:
        return await self.pod(name, pods.is_ready)

    async def gone(self, name: str) -> None:
        def check(all_: list[Pod]) -> bool:
            return all(meta.name(each) != name for each in all_)

        await until(self.client, Pod, check, namespace="default", deadline=30.0)

    async def delete(self, pod: Pod, *, grace_seconds: int | None = None) -> None:
        with contextlib.suppress(ApiError):
            await rest.delete(self.client, pod, grace_seconds=grace_seconds)
        await self.gone(meta.name(pod))


def is_ready(node: Node) -> bool:
    condition = meta.get_condition(node.status.conditions if node.status else None, "Ready")
    return condition is not None and condition.status == "True"


# Pods, and what tests ask of them

HTTPD = "mkdir -p /www; hostname > /www/index.html; exec httpd -f -p 80 -h /www"
WEB = {"name": "web", "image": BUSYBOX, "command": ["sh", "-c", HTTPD]}
SLEEP = {"name": "app", "image": BUSYBOX, "command": ["sleep", "1000"]}


def shell(script: str, **fields: Any) -> dict[str, Any]:
    return {"name": "app", "image": BUSYBOX, "command": ["sh", "-c", script], **fields}


def container(pod: Pod, name: str = "app") -> Any:
    assert pod.status is not None
    both = [*(pod.status.containerStatuses or []), *(pod.status.initContainerStatuses or [])]
    return next((each for each in both if each.name == name), None)


def waiting(pod: Pod, name: str = "app") -> str:
    status = container(pod, name)
    return (status.state.waiting.reason or "") if status and status.state and status.state.waiting else ""


def phase_is(*phases: str) -> Any:
    return lambda pod: pods.phase(pod) in phases


async def logs(node: KubeletNode, name: str, container: str = "app", query: str = "") -> tuple[int, str]:
    return await asyncio.to_thread(node.get, f"/containerLogs/default/{name}/{container}?{query}")


async def eventually(holds: Callable[[], object]) -> None:
    """For what no watch tells of: the state of the engine and of files."""
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def event(api: Api, name: str, reason: str, text: str = "") -> Event:
    """Wait for an event of the pod."""
    found: list[Event] = []

    def check(events: list[Event]) -> bool:
        own = (each for each in events if each.involvedObject.name == name and each.reason == reason)
        found[:] = [each for each in own if text in (each.message or "")]
        return bool(found)

    await until(api.client, Event, check)
    return found[0]
