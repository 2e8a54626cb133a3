"""The end of `up`: deploy the sample, wait for it, ask it, and show who answered."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path

from cli import manifests, rollout
from cli.apply import Write, apply_one
from cli.cluster import Cluster, Object
from cli.errors import CliError
from cli.tables import Columns
from cli.waiting import wait_for

FILE = "examples/web.yaml"
READY_SECONDS = 60.0
ANSWER_SECONDS = 15.0
"""How long the proxies may take to learn of the pods; it is a fraction of a second."""

REQUESTS = 12


def find() -> Path | None:
    """The sample's file: in the checkout this package runs from, or below the current directory."""
    for folder in (Path(__file__).resolve().parent.parent, Path.cwd()):
        if (folder / FILE).is_file():
            return folder / FILE
    return None


def deploy(cluster: Cluster, path: Path) -> None:
    """Apply the sample and wait until all of its pods are Ready."""
    started = time.monotonic()
    items = list(manifests.load(cluster, [str(path)]))
    for item in items:
        apply_one(cluster, item, Write())
    for item in items:
        if item.kind.qualified == "deployments.apps":
            _wait_ready(cluster, item)
    print(f"Ready after {time.monotonic() - started:.1f} s", flush=True)


def _wait_ready(cluster: Cluster, deployment: manifests.Item) -> None:
    wait_for(
        cluster,
        deployment.kind,
        deployment.name,
        lambda obj: obj is not None and rollout.progress(obj)[1],
        ends=time.monotonic() + READY_SECONDS,
        message=f"the sample is not Ready after {READY_SECONDS:.0f} s; see: minikctl describe pods -l app=web",
    )


def node_port_url(cluster: Cluster, address: str, name: str = "web") -> str:
    """Where the sample's Service answers on a node."""
    service = cluster.get(cluster.resolve("services"), name)
    ports = [each["nodePort"] for each in service["spec"].get("ports") or [] if each.get("nodePort")]
    if not ports:
        raise CliError(f'service "{name}" has no node port')
    return f"http://{address}:{ports[0]}/"


def show_round_robin(cluster: Cluster, url: str) -> None:
    """Ask the Service some times, each on a new connection, and print who answered how often."""
    pods = cluster.objects(cluster.resolve("pods"), labelSelector="app=web")
    _wait_for_all(url, wanted=len([each for each in pods if _is_ready(each)]))
    answers = Counter(ask(url) for _ in range(REQUESTS))
    nodes = {each["metadata"]["name"]: each["spec"].get("nodeName", "") for each in pods}
    print(f"{REQUESTS} requests to {url} were answered by")
    rows = [["  POD", "NODE", "ANSWERS"]]
    rows += [[f"  {pod}", nodes.get(pod, ""), str(count)] for pod, count in sorted(answers.items())]
    print("\n".join(Columns().render(rows)), flush=True)


def _is_ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    return ready and not pod["metadata"].get("deletionTimestamp")


def _wait_for_all(url: str, *, wanted: int) -> None:
    """Ask until every pod has answered: the node's proxy learns of them a moment after the API server."""
    seen: set[str] = set()
    ends = time.monotonic() + ANSWER_SECONDS
    while len(seen) < wanted:
        try:
            seen.add(ask(url))
        except OSError as error:
            if time.monotonic() > ends:
                raise CliError(f"no answer from {url}: {getattr(error, 'reason', error)}") from None
            time.sleep(0.05)  # nobody tells a client of a Service when its node is ready to forward
        if time.monotonic() > ends:
            return


def ask(url: str) -> str:
    """The name of the pod that answered. Raises OSError."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=3) as response:
        lines = response.read().decode(errors="replace").splitlines()
    return lines[0].strip() if lines else ""
