"""`minikctl logs`: what a pod's containers wrote, of one pod or of all a selector or a Deployment means."""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import typer

from cli import objects
from cli.command import Chosen
from cli.errors import CliError, Collected, collected
from cli.session import Object, Ref, Session
from cli.wait import seconds

DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
SELECTOR_TAIL = 10
"""Lines of each pod when many pods are asked for and no --tail is given, as kubectl does."""

Source = tuple[Ref, str]
"""A pod and the name of one of its containers."""


def logs(
    session: Session,
    chosen: Chosen,
    container: Annotated[str, typer.Option("--container", "-c", help="The container to read.")] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as more is written.")] = False,
    previous: Annotated[bool, typer.Option("--previous", "-p", help="The container's run before this one.")] = False,
    tail: Annotated[int, typer.Option(help="Only so many lines from the end; -1 is all.")] = -1,
    since: Annotated[str, typer.Option(help="Only what is newer, as in 10m.")] = "",
    timestamps: Annotated[bool, typer.Option("--timestamps", help="Put the time before each line.")] = False,
    all_containers: Annotated[bool, typer.Option("--all-containers", help="All containers of the pod.")] = False,
    prefix: Annotated[bool, typer.Option("--prefix", help="Put pod and container before each line.")] = False,
    max_log_requests: Annotated[int, typer.Option(help="With -f, how many logs to follow at most.")] = 5,
) -> None:
    """Show what containers wrote to standard output and error.

    minikctl logs web-1; logs -f deploy/web; logs -p web-1 -c app; logs -l app=web --prefix --tail 5
    """
    named, inline = chosen.resources[:1], chosen.resources[1:]
    if len(inline) + bool(container) > 1 or bool(chosen.selector) == bool(named):
        usage = "expected 'logs [-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]'"
        raise CliError(f"{usage}: a POD or TYPE/NAME, or a selector (-l)")
    container = inline[0] if inline else container
    if all_containers and container:
        raise CliError("--all-containers=true should not be specified with container name")
    tail = SELECTOR_TAIL if tail < 0 and chosen.selector else tail
    params = {"tailLines": str(tail)} if tail >= 0 else {}
    params |= {"sinceSeconds": str(max(1, math.ceil(seconds(since))))} if since not in ("", "0", "0s") else {}
    flags = (("follow", follow), ("previous", previous), ("timestamps", timestamps))
    params |= {name: "true" for name, on in flags if on}
    pods = _pods(session, replace(chosen, resources=named))
    sources = [each for pod in pods for each in sources_of(pod, container, every=all_containers)]
    if follow and len(sources) > max_log_requests:
        raise CliError(
            f"you are attempting to follow {len(sources)} log streams, but maximum allowed concurrency is "
            f"{max_log_requests}, use --max-log-requests to increase the limit"
        )
    show(session, sources, params, prefix=prefix)


def _pods(session: Session, chosen: Chosen) -> list[Ref]:
    """The pods whose logs are wanted, each with its object."""
    if chosen.selector:
        found = list(objects.refs(session, chosen, alone="pods"))
        if not found:
            print(f"No resources found in {session.namespace} namespace.", file=sys.stderr)
        return found
    ref = objects.one(session, chosen, alone="pods")
    owner = session.find(ref)
    if owner is None:
        missing = f'{ref.kind.qualified} "{ref.name}" not found in namespace "{ref.namespace}"'
        raise CliError(f"error from server (NotFound): {missing}")
    if ref.kind.plural == "pods":
        return [replace(ref, obj=owner)]
    labels = selector_text((owner.get("spec") or {}).get("selector") or {})
    if not labels:
        raise CliError(f"cannot get the logs from {ref.label}: it selects no pods")
    pods = session.objects("pods", namespace=ref.namespace, labelSelector=labels)
    if not pods:
        raise CliError(f"timed out waiting for the condition: {ref.label} has no pods")
    best = max(pods, key=_worth_reading)
    name = best["metadata"]["name"]
    if len(pods) > 1:
        print(f"Found {len(pods)} pods, using pod/{name}", file=sys.stderr)
    return [replace(session.ref("pods", name, ref.namespace), obj=best)]


def selector_text(selector: Object) -> str:
    """The labels by which an object finds its pods, as selector text. Pure."""
    labels = selector.get("matchLabels", {} if "matchExpressions" in selector else selector)
    parts = [f"{key}={value}" for key, value in labels.items()]
    for each in selector.get("matchExpressions") or []:
        key, operator = each["key"], each["operator"]
        if operator in ("In", "NotIn"):
            parts.append(f"{key} {operator.lower()} ({','.join(each['values'])})")
        else:
            parts.append(key if operator == "Exists" else f"!{key}")
    return ",".join(parts)


def _worth_reading(pod: Object) -> tuple[bool, bool, str]:
    """Ready before running before the rest, and the newest of equals."""
    status = pod.get("status") or {}
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions") or [])
    return ready, status.get("phase") == "Running", pod["metadata"].get("creationTimestamp") or ""


def sources_of(pod: Ref, container: str, *, every: bool) -> list[Source]:
    obj = pod.obj or {}
    names = [each["name"] for each in obj["spec"].get("containers") or []]
    init = [each["name"] for each in obj["spec"].get("initContainers") or []]
    if every:
        return [(pod, each) for each in (*init, *names)]
    if container:
        if container not in [*names, *init]:
            raise CliError(f"container {container} is not valid for pod {pod.name}")
        return [(pod, container)]
    wished = (obj["metadata"].get("annotations") or {}).get(DEFAULT_CONTAINER)
    if wished in names:
        return [(pod, str(wished))]
    if len(names) + len(init) > 1:
        others = ", ".join([*names, *(f"{each} (init)" for each in init)])
        print(f'Defaulted container "{names[0]}" out of: {others}', file=sys.stderr)
    return [(pod, names[0])]


def show(session: Session, sources: Sequence[Source], params: dict[str, str], *, prefix: bool) -> None:
    """One log after the other, or, when following, all at once, line by line."""
    lock = threading.Lock()

    def copy(source: Source, failures: Collected) -> None:
        pod, container = source
        head = f"[pod/{pod.name}/{container}] ".encode() if prefix else b""
        out = sys.stdout.buffer
        with failures:
            for line in session.lines(pod.path("log"), params={**params, "container": container}):
                with lock:
                    out.write(head + line)
                    if "follow" in params:
                        out.flush()
        out.flush()

    with collected() as failures:
        if "follow" not in params or len(sources) == 1:
            for source in sources:
                copy(source, failures)
            return
        threads = [threading.Thread(target=copy, args=(each, failures), daemon=True) for each in sources]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
