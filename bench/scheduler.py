"""Pods per second that a scheduler binds onto fake Nodes.

    python bench/scheduler.py --kubeconfig FILE [--nodes 1000] [--pods 2000]

The API server and the scheduler must be running; they may be minik's or Kubernetes' own. Node objects are created,
nothing runs on them, and everything is removed at the end. The clock starts at the first creation of a pod while
the scheduler is running, and, with --burst, when the scheduler sees all pods at once: they are created with a
scheduling gate first, and the clock starts when the gates are lifted.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable

from lightkube import ApiError, AsyncClient
from lightkube.models.core_v1 import (
    Container,
    NodeCondition,
    NodeStatus,
    PodSchedulingGate,
    PodSpec,
    ResourceRequirements,
)
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Namespace, Node, Pod

from api import meta, pods
from client.config import connect
from client.informer import Informer

NAMESPACE = "bench-scheduler"
CLIENTS = 16


def node(number: int) -> Node:
    room = {"cpu": "32", "memory": "256Gi", "pods": "110"}
    now = meta.now()
    ready = NodeCondition(type="Ready", status="True", lastHeartbeatTime=now, lastTransitionTime=now)
    status = NodeStatus(capacity=room, allocatable=room, conditions=[ready])
    return Node(metadata=ObjectMeta(name=f"bench-{number:04}"), status=status)


def pod(number: int, *, gated: bool) -> Pod:
    requests = ResourceRequirements(requests={"cpu": "100m", "memory": "500Mi"})
    spec = PodSpec(
        containers=[Container(name="pause", image="pause", resources=requests)],
        terminationGracePeriodSeconds=0,
        schedulingGates=[PodSchedulingGate(name="minik.dev/bench")] if gated else None,
    )
    return Pod(metadata=ObjectMeta(name=f"pod-{number:05}", namespace=NAMESPACE, labels={"app": "bench"}), spec=spec)


async def in_parallel(calls: Iterable[Callable[[], Awaitable[object]]]) -> None:
    """CLIENTS at a time."""
    waiting = iter(calls)

    async def work() -> None:
        for call in waiting:
            await call()

    await asyncio.gather(*(work() for _ in range(CLIENTS)))


async def run(client: AsyncClient, *, nodes: int, count: int, burst: bool) -> None:
    await client.create(Namespace(metadata=ObjectMeta(name=NAMESPACE)))
    informer = Informer(client, Pod, namespace=NAMESPACE)
    bound: set[str] = set()
    done = asyncio.Event()

    def changed(_: Pod | None, new: Pod | None) -> None:
        if new is not None and pods.node_name(new):
            bound.add(meta.name(new))
            if len(bound) == count:
                done.set()

    informer.on_change(changed)
    following = asyncio.ensure_future(informer.run())
    try:
        await in_parallel([lambda n=n: register(client, node(n)) for n in range(nodes)])
        create = [lambda n=n: client.create(pod(n, gated=burst)) for n in range(count)]
        if burst:
            await in_parallel(create)
        started = time.perf_counter()
        open_gates = {"spec": {"schedulingGates": None}}
        lift = [lambda n=n: client.patch(Pod, f"pod-{n:05}", open_gates, namespace=NAMESPACE) for n in range(count)]
        await in_parallel(lift if burst else create)
        written = time.perf_counter() - started
        await done.wait()
        took = time.perf_counter() - started
        print(f"{count} pods onto {nodes} nodes: {took:.2f} s, {count / took:.0f} pods/s")
        print(f"  of which the writing by this benchmark took {written:.2f} s ({count / written:.0f}/s)")
    finally:
        following.cancel()


async def register(client: AsyncClient, wanted: Node) -> None:
    await client.create(wanted)
    if wanted.status is not None:
        await client.patch(Node.Status, meta.name(wanted), {"status": wanted.status.to_dict()})


async def clean_up(client: AsyncClient, *, nodes: int) -> None:
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
    parser.add_argument("--kubeconfig", required=True)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--pods", type=int, default=2000)
    parser.add_argument("--burst", action="store_true")
    options = parser.parse_args()
    client = connect(options.kubeconfig)
    try:
        await run(client, nodes=options.nodes, count=options.pods, burst=options.burst)
    finally:
        await clean_up(client, nodes=options.nodes)
        await client.close()


if __name__ == "__main__":
    asyncio.run(main())
