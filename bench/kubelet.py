"""How long a pod takes to start, beside what Docker alone takes for its two containers: `python -m bench.kubelet`.

Both are measured in turns in one run, on one engine of their own, so that a busy machine is busy for both. The pod goes
through etcd, the API server and the kubelet, and is Ready when a watch of the API says so; it is bound to the node, so
no scheduler is part of it. Raw is: create and start a sandbox, create and start a container in its namespaces.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "integration"))

from control_plane import until
from engine_fixtures import _give_cidr
from kubelet_node import BUSYBOX, SLEEP, Api, Engine, KubeletNode, busybox_tar
from lightkube.resources.core_v1 import Pod

from api import meta, pods
from client.config import connect
from kubelet.runtime.pause import SANDBOX_IMAGE

TURNS = 10
BURST = 30
BURST_THREADS = 8


def raw(engine: Engine, name: str) -> float:
    """Seconds for a sandbox and a container in it, by the SDK the kubelet uses."""
    client = engine.client()
    start = time.monotonic()
    host = client.create_host_config(network_mode="none", ipc_mode="shareable")
    sandbox = client.create_container(SANDBOX_IMAGE, name=f"{name}-pod", host_config=host)["Id"]
    client.start(sandbox)
    host = client.create_host_config(network_mode=f"container:{sandbox}", ipc_mode=f"container:{sandbox}")
    client.start(client.create_container(BUSYBOX, command=["sleep", "1000"], name=name, host_config=host)["Id"])
    return time.monotonic() - start


def clear(engine: Engine, names: Sequence[str]) -> None:
    for each in names:
        for name in (each, f"{each}-pod"):
            engine.client().remove_container(name, force=True)


async def pod(api: Api, names: Sequence[str]) -> float:
    """Seconds until all are Ready; they are gone afterwards."""
    start = time.monotonic()

    def all_ready(found: list[Pod]) -> bool:
        return {meta.name(each) for each in found if pods.is_ready(each)} >= set(names)

    watching = asyncio.create_task(until(api.client, Pod, all_ready, namespace="default", deadline=120.0))
    created = await asyncio.gather(*(api.create(each, {"containers": [SLEEP]}) for each in names))
    await watching
    seconds = time.monotonic() - start
    await asyncio.gather(*(api.delete(each, grace_seconds=0) for each in created))
    return seconds


def burst(engine: Engine, names: Sequence[str]) -> float:
    start = time.monotonic()
    with ThreadPoolExecutor(BURST_THREADS) as threads:
        list(threads.map(lambda each: raw(engine, each), names))
    return time.monotonic() - start


async def compare(node: KubeletNode, api: Api, count: int, turns: int, alone: Callable[[list[str]], float]) -> None:
    ours, theirs = [], []
    for turn in range(turns):
        names = [f"bench-{turn}-{number}" for number in range(count)]
        theirs.append(await asyncio.to_thread(alone, names))
        await asyncio.to_thread(clear, node.engine, names)
        ours.append(await pod(api, names))
    ratio = statistics.median(mine / raw for mine, raw in zip(ours, theirs, strict=True))
    figures = f"{statistics.median(ours):.3f} s beside {statistics.median(theirs):.3f} s: {ratio:.2f} times raw"
    print(f"{count} pod{'s at once' if count > 1 else ''} until Ready, median of {turns}: {figures}", flush=True)


async def measure(node: KubeletNode) -> None:
    client = connect(str(node.control.kubeconfig("admin")))
    api = Api(client)
    await pod(api, ["warm"])
    await compare(node, api, 1, TURNS, lambda names: raw(node.engine, names[0]))
    await compare(node, api, BURST, 3, lambda names: burst(node.engine, names))
    await client.aclose()


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        engine = Engine(Path(directory) / "engine")
        engine.directory.mkdir()
        try:
            engine.make_namespace()
            engine.start()
            repository, tag = BUSYBOX.split(":")
            engine.client().import_image_from_data(
                busybox_tar(), repository=repository, tag=tag, changes=["ENV PATH=/bin"]
            )
            (Path(directory) / "node").mkdir()
            node = KubeletNode(engine, Path(directory) / "node")
            try:
                node.start()
                asyncio.run(_give_cidr(node))
                asyncio.run(measure(node))
            finally:
                node.stop()
        finally:
            engine.stop()
            engine.remove_namespace()


if __name__ == "__main__":
    main()
