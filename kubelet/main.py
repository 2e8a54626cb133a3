"""The boot story of a node's agent.

    read the flags -> connect to the API server and to the engine -> register the node, renew its lease
    -> learn the pods bound here and the containers that run -> bring the two together, and go on doing so

Containers outlive this process: the next one adopts them.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
from pathlib import Path

from lightkube.models.core_v1 import Taint
from lightkube.resources.core_v1 import Node
from lightkube.resources.discovery_v1 import EndpointSlice

from api import meta
from api.durations import parse_duration
from api.process import configure_logging, run_until_signalled
from client.config import connect
from client.endpoints import follow
from client.events import EventRecorder
from client.informer import Informer
from kubelet import limits, machine, server, source
from kubelet.host import Host
from kubelet.images import Images
from kubelet.kubelet import Kubelet
from kubelet.network.overlay import Overlay
from kubelet.network.pod_network import PodNetwork
from kubelet.node import Health, NodeAgent, Settings, allocatable
from kubelet.objects import Objects
from kubelet.pods.container_spec import ClusterDns
from kubelet.pods.handlers import Handlers
from kubelet.runtime.base import Runtime, RuntimeFailure, RuntimeInfo
from kubelet.runtime.docker import DockerRuntime
from kubelet.stats import Stats
from kubelet.volumes.manager import Volumes

log = logging.getLogger("kubelet")


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="kubelet", description="The node agent. Durations: seconds, or 1m30s.")
    add = parser.add_argument
    add("--kubeconfig", required=True, help="how to reach the API server")
    add("--hostname-override", required=True, metavar="NAME", help="the node's name")
    add("--node-ip", required=True, metavar="IP", help="the address other nodes reach this one at")
    add("--docker-host", default="unix:///var/run/docker.sock", metavar="URL", help="the container engine")
    add("--data-dir", type=Path, default=Path("/var/lib/minik/node"), metavar="DIR", help="volumes and addresses")
    add("--address", default="0.0.0.0", help="where to serve logs")
    add("--port", type=int, default=10250)
    add("--tls-cert-file", type=Path)
    add("--tls-private-key-file", type=Path)
    add("--client-ca-file", type=Path, help="the cluster's CA: who may fetch logs; also given to pods")
    add("--cluster-dns", default="10.96.0.10", metavar="IP")
    add("--cluster-domain", default="cluster.local", metavar="NAME")
    add("--cluster-cidr", default="10.244.0.0/16", metavar="CIDR", help="the range of all pods")
    add("--node-status-update-frequency", type=parse_duration, default=10.0, metavar="DURATION")
    add("--node-lease-duration-seconds", type=parse_duration, default=40.0, metavar="DURATION")
    add("--sandbox-image", default="", metavar="IMAGE", help="instead of the built-in one")
    add("--image-dir", type=Path, metavar="DIR", help="docker-archive tars to load at boot")
    add("--node-labels", default="", metavar="K=V,...")
    add("--register-with-taints", default="", metavar="K=V:EFFECT,...")
    add("--max-pods", type=int, default=110)
    add("--cgroup-parent", default="", metavar="PATH")
    add("-v", type=int, default=0, metavar="N", help="4 and up: debug messages")
    args = parser.parse_args(argv)
    if bool(args.tls_cert_file) != bool(args.tls_private_key_file):
        parser.error("--tls-cert-file and --tls-private-key-file go together")
    if args.tls_cert_file and not args.client_ca_file:
        parser.error("--tls-cert-file needs --client-ca-file: logs are not for everybody")
    return args


def parse_labels(text: str) -> dict[str, str]:
    """`a=b,c=d`. Raises ValueError."""
    pairs = [each.partition("=") for each in text.split(",") if each]
    return {key.strip(): value.strip() for key, _, value in pairs}


def parse_taints(text: str) -> tuple[Taint, ...]:
    """`key=value:Effect` or `key:Effect`, separated by commas."""
    taints = []
    for each in text.split(","):
        if each:
            head, _, effect = each.rpartition(":")
            key, _, value = head.partition("=")
            taints.append(Taint(effect=effect, key=key, value=value or None))
    return tuple(taints)


def main() -> None:
    args = parse_args()
    configure_logging(args.v)
    run_until_signalled(run(args))


async def run(args: argparse.Namespace) -> None:
    args.data_dir.mkdir(parents=True, exist_ok=True)
    negative_oom = machine.negative_oom_scores_allowed()
    client = connect(args.kubeconfig, agent="kubelet")
    runtime = DockerRuntime(
        args.docker_host,
        sandbox_image=args.sandbox_image,
        cgroup_parent=args.cgroup_parent,
        negative_oom=negative_oom,
    )
    network = PodNetwork(args.data_dir, node_ip=args.node_ip, cluster_cidr=args.cluster_cidr)
    recorder = EventRecorder(client, "kubelet", host=args.hostname_override)
    host = Host(
        client=client,
        runtime=runtime,
        network=network,
        volumes=Volumes(args.data_dir / "pods"),
        objects=Objects(client, ca=args.client_ca_file.read_bytes() if args.client_ca_file else b""),
        images=Images(runtime),
        handlers=Handlers(runtime),
        recorder=recorder,
        node_ip=args.node_ip,
        dns=ClusterDns(args.cluster_dns, args.cluster_domain),
        resolv_conf=machine.read("/etc/resolv.conf"),
        memory_bytes=machine.memory_bytes(),
        allocatable=allocatable(args.max_pods, args.data_dir),
    )
    nodes = Informer(client, Node)
    kubelet = Kubelet(host, args.hostname_override, source.api_server(client, args.hostname_override), nodes)
    overlay = Overlay(network, nodes, args.hostname_override, lambda: map(meta.uid, kubelet.pods.list()))
    watch = EngineWatch(runtime, kubelet, network)
    stats = Stats(args.hostname_override, kubelet.running)
    servers = Informer(client, EndpointSlice, namespace="default")
    follow(client.servers, servers, Path(args.kubeconfig))
    agent = NodeAgent(client, node_settings(args, negative_oom), nodes, watch.health, host.volumes.in_use)
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(recorder.run())
            tasks.create_task(nodes.run())
            tasks.create_task(agent.run())
            tasks.create_task(_load_images(runtime, args.image_dir, watch))
            tasks.create_task(stats.run())
            tasks.create_task(_serve(args, runtime, kubelet, stats))
            tasks.create_task(kubelet.run())
            tasks.create_task(_when_pods_known(kubelet, overlay))
            tasks.create_task(watch.run(agent))
            tasks.create_task(servers.run())
    finally:
        await network.close()
        await runtime.close()


def node_settings(args: argparse.Namespace, negative_oom: bool) -> Settings:
    return Settings(
        name=args.hostname_override,
        ip=args.node_ip,
        port=args.port,
        data_dir=args.data_dir,
        max_pods=args.max_pods,
        labels=parse_labels(args.node_labels),
        taints=parse_taints(args.register_with_taints),
        status_seconds=args.node_status_update_frequency,
        lease_seconds=args.node_lease_duration_seconds,
        negative_oom=negative_oom,
    )


async def _when_pods_known(kubelet: Kubelet, overlay: Overlay) -> None:
    """Which pods there are decides which addresses and links stay."""
    await kubelet.pods.wait_synced()
    await overlay.run()


async def _serve(args: argparse.Namespace, runtime: Runtime, kubelet: Kubelet, stats: Stats) -> None:
    if not args.tls_cert_file:
        log.warning("no --tls-cert-file: logs are not served")
        return
    app = server.make_app(runtime, kubelet.find, lambda: list(kubelet.workers.values()), stats)
    tls = server.Tls(args.tls_cert_file, args.tls_private_key_file, args.client_ca_file)
    await server.serve(app, address=args.address, port=args.port, tls=tls)


async def _load_images(runtime: Runtime, directory: Path | None, watch: EngineWatch) -> None:
    """A node is Ready when the images it brings are there, so that no pod fails for want of one."""
    paths = await asyncio.to_thread(lambda: sorted(directory.glob("*.tar")) if directory else [])
    for path in paths:
        while True:
            try:
                await runtime.load_images(str(path))
                break
            except RuntimeFailure as error:
                log.warning("loading %s: %s", path.name, error)
                await asyncio.sleep(limits.ENGINE_RETRY_SECONDS)
    watch.images_loaded.set()


class EngineWatch:
    """Whether the engine and the network are fit for pods, as the node's Ready condition tells."""

    def __init__(self, runtime: Runtime, kubelet: Kubelet, network: PodNetwork) -> None:
        self._runtime = runtime
        self._kubelet = kubelet
        self._network = network
        self._version = ""
        self._trouble = "container runtime is down"
        self.images_loaded = asyncio.Event()

    def health(self) -> Health:
        network = "" if self._network.ready.is_set() else _NO_NETWORK
        images = "" if self.images_loaded.is_set() else "loading images"
        runtime = self._trouble or self._kubelet.engine_trouble or images
        return Health(runtime=runtime, network=network, runtime_version=self._version)

    async def run(self, agent: NodeAgent) -> None:
        for event in (self._network.ready, self.images_loaded):
            task = asyncio.create_task(_wake_after(event, agent))
            task.add_done_callback(lambda _: None)
        question: asyncio.Task[RuntimeInfo] | None = None
        told = ""
        while True:
            # Only one question at a time: an engine that hangs would soon hold every thread.
            question = question or asyncio.create_task(self._runtime.info())
            await asyncio.wait({question}, timeout=limits.ENGINE_ANSWER_SECONDS)
            self._trouble = self._answer(question)
            question = None if question.done() else question
            if told != (told := self.health().runtime):
                agent.wake()
            await asyncio.sleep(limits.ENGINE_CHECK_SECONDS if not told else limits.ENGINE_RETRY_SECONDS)

    def _answer(self, question: asyncio.Task[RuntimeInfo]) -> str:
        """What is wrong with the engine, if anything is."""
        if not question.done():
            return f"container runtime is down: no answer within {limits.ENGINE_ANSWER_SECONDS:g}s"
        try:
            self._version = f"docker://{question.result().version}"
        except RuntimeFailure as error:
            return f"container runtime is down: {error}"
        return ""


async def _wake_after(event: asyncio.Event, agent: NodeAgent) -> None:
    await event.wait()
    agent.wake()


_NO_NETWORK = (
    "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:no pod CIDR assigned"
)
