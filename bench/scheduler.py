"""Pods per second that a scheduler binds onto fake Nodes.

    python -m bench.scheduler --kubeconfig FILE [--nodes 1000] [--pods 2000]

The API server and the scheduler must be running; they may be minik's or Kubernetes' own. Node objects are created,
nothing runs on them, and everything is removed at the end. The clock starts at the first creation of a pod, so the
figure is bounded by how fast pods can be created. With --burst all pods are there before a scheduler of our own (of
another name) is started, and the clock runs from the first binding to the last.

    python -m bench.scheduler --decide [--nodes 5000] [--pods 2000] [--classes 200]

Without any API server: the processor's time for one decision when pods of so many classes come in turn, the
bookkeeping included.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterable

from lightkube import ApiError
from lightkube.models.core_v1 import (
    Affinity,
    Container,
    NodeCondition,
    NodeStatus,
    PodAffinityTerm,
    PodAntiAffinity,
    PodSpec,
    ResourceRequirements,
    TopologySpreadConstraint,
)
from lightkube.models.meta_v1 import LabelSelector, ObjectMeta
from lightkube.resources.core_v1 import Namespace, Node, Pod

from api import meta, pods
from client.config import Client, connect
from client.informer import Informer
from scheduler.facts import ClassBook
from scheduler.profile import DEFAULT
from scheduler.snapshot import Snapshot

NAMESPACE = "bench-scheduler"
BURST_SCHEDULER = "bench-scheduler"
CLIENTS = 16


def node(number: int) -> Node:
    room = {"cpu": "32", "memory": "256Gi", "pods": "110"}
    now = meta.now()
    ready = NodeCondition(type="Ready", status="True", lastHeartbeatTime=now, lastTransitionTime=now)
    status = NodeStatus(capacity=room, allocatable=room, conditions=[ready])
    return Node(metadata=ObjectMeta(name=f"bench-{number:04}"), status=status)


def pod(number: int, *, burst: bool) -> Pod:
    requests = ResourceRequirements(requests={"cpu": "100m", "memory": "500Mi"})
    spec = PodSpec(
        containers=[Container(name="pause", image="pause", resources=requests)],
        terminationGracePeriodSeconds=0,
        schedulerName=BURST_SCHEDULER if burst else None,
    )
    return Pod(metadata=ObjectMeta(name=f"pod-{number:05}", namespace=NAMESPACE, labels={"app": "bench"}), spec=spec)


async def in_parallel(calls: Iterable[Callable[[], Awaitable[object]]]) -> None:
    """CLIENTS at a time."""
    waiting = iter(calls)

    async def work() -> None:
        for call in waiting:
            await call()

    await asyncio.gather(*(work() for _ in range(CLIENTS)))


async def run(client: Client, kubeconfig: str, *, nodes: int, count: int, burst: bool) -> None:
    await client.create(Namespace(metadata=ObjectMeta(name=NAMESPACE)))
    informer = Informer(client, Pod, namespace=NAMESPACE)
    bound: dict[str, float] = {}
    done = asyncio.Event()

    def changed(_: Pod | None, new: Pod | None) -> None:
        if new is not None and pods.node_name(new):
            bound.setdefault(meta.name(new), time.perf_counter())
            if len(bound) == count:
                done.set()

    informer.on_change(changed)
    following = asyncio.ensure_future(informer.run())
    scheduler: asyncio.subprocess.Process | None = None
    try:
        await in_parallel([lambda n=n: register(client, node(n)) for n in range(nodes)])
        started = time.perf_counter()
        await in_parallel([lambda n=n: client.create(pod(n, burst=burst)) for n in range(count)])
        if burst:
            scheduler = await start_scheduler(kubeconfig)
        else:
            took = time.perf_counter() - started
            print(f"created {count} pods in {took:.2f} s, {count / took:.0f} pods/s")
        await done.wait()
        took = max(bound.values()) - (min(bound.values()) if burst else started)
        print(f"bound {count} pods onto {nodes} nodes in {took:.2f} s, {count / took:.0f} pods/s")
    finally:
        following.cancel()
        if scheduler is not None:
            scheduler.terminate()
            await scheduler.wait()


def of_class(number: int, mix: str) -> Pod:
    """A pod of that class; every class asks for something else."""
    pod_ = pod(number, burst=False)
    labels = {"app": f"app-{number}"}
    spec, selector = pod_.spec, LabelSelector(matchLabels=labels)
    assert spec is not None and pod_.metadata is not None
    pod_.metadata.labels = labels
    spec.containers[0].resources = ResourceRequirements(requests={"cpu": f"{50 + number}m", "memory": "100Mi"})
    if mix == "selectors":
        spec.nodeSelector = {"pool": f"pool-{number % 20}"}
    elif mix == "anti-affinity":
        term = PodAffinityTerm(topologyKey="kubernetes.io/hostname", labelSelector=selector)
        spec.affinity = Affinity(podAntiAffinity=PodAntiAffinity([], [term]))
    elif mix == "spread":
        spec.topologySpreadConstraints = [
            TopologySpreadConstraint(
                maxSkew=1, topologyKey="zone", whenUnsatisfiable="DoNotSchedule", labelSelector=selector
            )
        ]
    return pod_


MIXES = ("requests", "selectors", "anti-affinity", "spread")


def decide(mix: str, *, nodes: int, count: int, classes: int) -> None:
    book, snapshot = ClassBook(), Snapshot()
    for number in range(nodes):
        each = node(number)
        assert each.metadata is not None
        hostname = {"kubernetes.io/hostname": f"n{number}", "zone": f"z{number % 3}", "pool": f"pool-{number % 20}"}
        each.metadata.labels = hostname
        snapshot.put_node(each)
    templates = [of_class(number, mix) for number in range(classes)]
    took = []
    for number in range(count):
        began = time.process_time()
        facts = book.facts_of(templates[number % classes])
        name = DEFAULT.best(facts, snapshot)
        if name is not None:
            snapshot.put_pod(str(number), name, facts, assumed=True)
        took.append((time.process_time() - began) * 1000)
    first, later = statistics.mean(took[:classes]), statistics.mean(took[classes:])
    print(f"{mix:14} {classes} classes, {nodes} nodes: {first:.2f} ms a pod at first, {later:.2f} ms afterwards")


async def start_scheduler(kubeconfig: str) -> asyncio.subprocess.Process:
    options = [f"--kubeconfig={kubeconfig}", f"--scheduler-name={BURST_SCHEDULER}", "--leader-elect=false"]
    return await asyncio.create_subprocess_exec(sys.executable, "-m", "scheduler", *options)


async def register(client: Client, wanted: Node) -> None:
    await client.create(wanted)
    await client.patch(Node, meta.name(wanted), {"spec": {"taints": None}})  # new nodes are not-ready for a moment
    if wanted.status is not None:
        await client.patch(Node.Status, meta.name(wanted), {"status": wanted.status.to_dict()})


async def clean_up(client: Client, *, nodes: int) -> None:
    async def gone(call: Awaitable[object]) -> None:
        try:
            await call
        except ApiError as error:
            if error.status.code != 404:
                raise

    await gone(client.deletecollection(Pod, namespace=NAMESPACE, grace_period=0))
    await in_parallel([lambda n=n: gone(client.delete(Node, f"bench-{n:04}")) for n in range(nodes)])
    await gone(client.delete(Namespace, NAMESPACE))


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kubeconfig")
    parser.add_argument("--decide", action="store_true")
    parser.add_argument("--classes", type=int, default=200)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--pods", type=int, default=2000)
    parser.add_argument("--burst", action="store_true")
    options = parser.parse_args()
    if options.decide:
        for mix in MIXES:
            decide(mix, nodes=options.nodes, count=options.pods, classes=options.classes)
        return
    if not options.kubeconfig:
        parser.error("--kubeconfig is needed unless --decide")
    client = connect(options.kubeconfig)
    try:
        await run(client, options.kubeconfig, nodes=options.nodes, count=options.pods, burst=options.burst)
    finally:
        await clean_up(client, nodes=options.nodes)
        await client.close()


if __name__ == "__main__":
    asyncio.run(main())
