"""The end of `up`: deploy the sample, wait for it, ask it, and show who answered."""

from __future__ import annotations

import sys
import time
import urllib.request
from collections import Counter
from pathlib import Path

from cli import manifests, rollout
from cli.apply import apply_one
from cli.command import Chosen, Write
from cli.errors import CliError
from cli.session import Object, Session
from cli.tables import Columns
from cli.wait import wait_for
from client import kubeconfig

FILE = "examples/web.yaml"
READY_SECONDS = 60.0
ANSWER_SECONDS = 15.0
"""How long the proxies may take to learn of the pods; it is a fraction of a second."""

REQUESTS = 12


def show(config: str, address: str) -> None:
    """Deploy the sample on the cluster of a kubeconfig file, and ask its Service at a node's address."""
    path = next((each / FILE for each in (Path(__file__).parents[1], Path.cwd()) if (each / FILE).is_file()), None)
    if path is None:
        print(f"{FILE} is not here; the sample is left out\n", file=sys.stderr)
        return
    session = Session(kubeconfig.load(config))
    print(f"Deploying {FILE}", flush=True)
    _deploy(session, path)
    service = session.get(session.ref("services", "web"))
    ports = [each["nodePort"] for each in service["spec"].get("ports") or [] if each.get("nodePort")]
    if not ports:
        raise CliError('service "web" has no node port')
    _round_robin(session, f"http://{address}:{ports[0]}/")
    print()


def _deploy(session: Session, path: Path) -> None:
    """Apply the sample and wait until all of its pods are Ready."""
    started, write = time.monotonic(), Write()
    refs = list(manifests.load(session, Chosen(filename=[str(path)])))
    for ref in refs:
        # `up` says how the sample has to be: what somebody scaled or patched since goes back.
        apply_one(session, ref, write.params | {"force": "true"})
        write.say(ref.label, "serverside-applied")
    for ref in refs:
        if ref.kind.qualified == "deployments.apps":
            wait_for(
                session,
                ref,
                lambda obj: obj is not None and rollout.progress(obj)[1],
                ends=time.monotonic() + READY_SECONDS,
                message=f"the sample is not Ready after {READY_SECONDS:.0f} s; see: minikctl describe pods -l app=web",
            )
    print(f"Ready after {time.monotonic() - started:.1f} s", flush=True)


def _round_robin(session: Session, url: str) -> None:
    """Ask the Service some times, each on a new connection, and print who answered how often."""
    pods = session.objects("pods", labelSelector="app=web")
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
    while len(seen) < wanted and time.monotonic() < ends:
        try:
            seen.add(ask(url))
        except OSError as error:
            if time.monotonic() > ends - 1:
                raise CliError(f"no answer from {url}: {getattr(error, 'reason', error)}") from None
            time.sleep(0.05)  # nobody tells a client of a Service when its node is ready to forward


def ask(url: str) -> str:
    """The name of the pod that answered. Raises OSError."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=3) as response:
        lines = response.read().decode(errors="replace").splitlines()
    return lines[0].strip() if lines else ""
