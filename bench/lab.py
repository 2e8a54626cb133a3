"""How fast the whole cluster is, on a lab of its own: `python -m bench.lab [up] [pods] [node] [idle]`.

    up     from nothing to three Ready nodes, and to the sample Ready
    pods   pod create to Ready, one after the other and 30 at once on one node; 30 deleted
    node   a node stopped: seconds until its pods are Ready elsewhere
    idle   memory (PSS) and CPU of every component of an idle cluster

Every figure is measured through the API, as a user would see it. The lab is taken down at the end.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "e2e"))

from lightkube.models.core_v1 import PodSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Namespace, Pod
from world import World, deployment, ready_pods

from api import pods
from lab.cluster import Lab

SERIAL_PODS = 10
BURST_PODS = 30
IDLE_SECONDS = 30
NAMESPACE = "bench"


def report(what: str, figure: str) -> None:
    print(f"{figure:>12}  {what}", flush=True)


def sample_pod(name: str, node: str | None = None) -> Pod:
    """A pod of the sample image, without a readiness probe: Ready as soon as it runs."""
    container = deployment(NAMESPACE, "x", replicas=1).spec.template.spec.containers[0]
    container.readinessProbe = None
    spec = PodSpec(containers=[container], nodeName=node, terminationGracePeriodSeconds=1)
    return Pod(metadata=ObjectMeta(name=name, namespace=NAMESPACE), spec=spec)


def bench_pods(world: World) -> None:
    """Serial creates go through the scheduler; the burst is bound to one node, which is what is measured."""
    times = []
    for number in range(SERIAL_PODS):
        start = time.monotonic()
        world.client.create(sample_pod(f"serial-{number}"))
        world.wait_ready(NAMESPACE, number + 1)
        times.append(time.monotonic() - start)
    report(f"pod create to Ready, median of {SERIAL_PODS} in a row", f"{statistics.median(times):.2f} s")
    world.client.deletecollection(Pod, namespace=NAMESPACE)
    world.wait_ready(NAMESPACE, 0)
    node = next(iter(world.node_addresses))
    start = time.monotonic()
    for number in range(BURST_PODS):
        world.client.create(sample_pod(f"burst-{number}", node))
    world.wait_ready(NAMESPACE, BURST_PODS, deadline=120)
    report(f"{BURST_PODS} pods at once on one node, until all are Ready", f"{time.monotonic() - start:.2f} s")
    start = time.monotonic()
    world.client.deletecollection(Pod, namespace=NAMESPACE)
    world.wait_ready(NAMESPACE, 0, deadline=120)
    report(f"{BURST_PODS} pods deleted, until all are gone", f"{time.monotonic() - start:.2f} s")


def bench_node(world: World) -> None:
    world.deploy(f"{NAMESPACE}-node", replicas=6, node_port=31900)
    namespace = f"{NAMESPACE}-node"
    world.wait_ready(namespace, 6)
    node = pods.node_name(world.pods(namespace)[0])
    start = time.monotonic()
    world.lab.stop(node)
    world.wait(
        Pod,
        lambda found: len([p for p in ready_pods(found) if pods.node_name(p) != node]) == 6,
        what="pods Ready elsewhere",
        deadline=120,
        namespace=namespace,
    )
    report("node stopped, until its pods are Ready elsewhere", f"{time.monotonic() - start:.2f} s")
    world.lab.start(node)


def bench_idle(world: World) -> None:
    """PSS counts shared pages once among all who share them; CPU is user + system time of the process."""
    hosts = [host.name for host in world.lab.status()]
    processes = {f"{name} on {host}": pid for host in hosts for name, pid in world.processes(host).items()}
    before = {name: _cpu_seconds(pid) for name, pid in processes.items()}
    time.sleep(IDLE_SECONDS)
    total = 0.0
    for name, pid in processes.items():
        cpu = (_cpu_seconds(pid) - before[name]) / IDLE_SECONDS * 100
        memory = _pss_mib(pid)
        total += memory
        report(f"{name}: CPU {cpu:.1f} % of a core", f"{memory:.0f} MiB")
    report("all components together", f"{total:.0f} MiB")


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _pss_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


BENCHES: dict[str, Callable[[World], None]] = {"pods": bench_pods, "node": bench_node, "idle": bench_idle}


def main() -> None:
    wanted = sys.argv[1:] or ["up", *BENCHES]
    lab = Lab(name="tbench", subnet="10.86.0.0/24")
    lab.down()
    try:
        start = time.monotonic()
        lab.up(nodes=3, kubeconfig=False)
        report("from nothing to three Ready nodes", f"{time.monotonic() - start:.2f} s")
        world = World(lab)
        world.deploy("sample", replicas=3, node_port=31901)
        world.wait_ready("sample", 3, deadline=60)
        report("from nothing to the sample Ready", f"{time.monotonic() - start:.2f} s")
        world.delete_namespace("sample")
        world.client.create(Namespace(metadata=ObjectMeta(name=NAMESPACE)))
        for name in wanted:
            if name != "up":
                BENCHES[name](world)
    finally:
        lab.down()


if __name__ == "__main__":
    main()
