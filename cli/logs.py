"""`minikctl logs`: what a pod's containers wrote, of one pod or of all a selector or a Deployment means."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from cli import completion
from cli.cluster import Cluster, Object
from cli.command import cluster as connect
from cli.errors import CliError, StatusError, raise_failures

DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
SELECTOR_TAIL = "10"
"""Lines of each pod when many pods are asked for and no --tail is given, as kubectl does."""


def logs(
    resource: Annotated[
        list[str] | None, typer.Argument(metavar="(POD | KIND/NAME) [CONTAINER]", autocompletion=completion.pods)
    ] = None,
    container: Annotated[str, typer.Option("--container", "-c", help="The container to read.")] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as more is written.")] = False,
    previous: Annotated[bool, typer.Option("--previous", "-p", help="The container's run before this one.")] = False,
    tail: Annotated[int, typer.Option(help="Only so many lines from the end; -1 is all.")] = -1,
    since: Annotated[str, typer.Option(help="Only what is newer, as in 10m.")] = "",
    since_time: Annotated[str, typer.Option(help="Only what is newer than this time (RFC 3339).")] = "",
    timestamps: Annotated[bool, typer.Option("--timestamps", help="Put the time before each line.")] = False,
    limit_bytes: Annotated[int, typer.Option(help="Stop after so many bytes.")] = 0,
    selector: Annotated[str, typer.Option("--selector", "-l", help="All pods with these labels.")] = "",
    all_containers: Annotated[bool, typer.Option("--all-containers", help="All containers of the pod.")] = False,
    all_pods: Annotated[bool, typer.Option("--all-pods", help="All pods of the Deployment or ReplicaSet.")] = False,
    prefix: Annotated[bool, typer.Option("--prefix", help="Put pod and container before each line.")] = False,
    max_log_requests: Annotated[int, typer.Option(help="With -f, how many logs to follow at most.")] = 5,
    ignore_errors: Annotated[bool, typer.Option("--ignore-errors", help="Go on when a log cannot be read.")] = False,
) -> None:
    """Show what containers wrote to standard output and error.

    minikctl logs web-1; logs -f deploy/web; logs -p web-1 -c app; logs -l app=web --prefix --tail 5
    """
    cluster = connect()
    named, container = _split(resource or [], container)
    if selector and named:
        raise CliError("only a selector (-l) or a POD name is allowed")
    if not selector and not named:
        raise CliError("expected 'logs [-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]': POD or TYPE/NAME is required")
    if all_containers and container:
        raise CliError("--all-containers=true should not be specified with container name")
    lines = str(tail) if tail >= 0 else SELECTOR_TAIL if selector else ""
    params = {"tailLines": lines} if lines else {}
    params |= _flags(follow=follow, previous=previous, timestamps=timestamps)
    if limit_bytes:
        params["limitBytes"] = str(limit_bytes)
    params |= _since(since, since_time)
    pods = _pods(cluster, named, selector, every=all_pods)
    sources = [each for pod in pods for each in _sources(pod, container, every=all_containers)]
    if follow and len(sources) > max_log_requests:
        raise CliError(
            f"you are attempting to follow {len(sources)} log streams, but maximum allowed concurrency is "
            f"{max_log_requests}, use --max-log-requests to increase the limit"
        )
    _print(
        cluster, sources, params, prefix=prefix or (all_pods and len(sources) > 1), together=follow, quiet=ignore_errors
    )


@dataclass(frozen=True)
class Source:
    """One container's log."""

    pod: str
    namespace: str
    container: str


def _split(args: Sequence[str], container: str) -> tuple[str, str]:
    """POD [CONTAINER] or KIND/NAME [CONTAINER]."""
    if len(args) > 2:
        raise CliError("expected 'logs [-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]'")
    if len(args) == 2 and container:
        raise CliError("only one of -c or an inline [CONTAINER] arg is allowed")
    return (args[0] if args else ""), (args[1] if len(args) == 2 else container)


def _flags(**flags: bool) -> dict[str, str]:
    return {name: "true" for name, value in flags.items() if value}


def _since(since: str, since_time: str) -> dict[str, str]:
    if since and since_time:
        raise CliError("at most one of `sinceTime` or `sinceSeconds` may be specified")
    if since_time:
        return {"sinceTime": since_time}
    if since and since not in ("0", "0s"):
        import math

        from cli.waiting import seconds

        return {"sinceSeconds": str(max(1, math.ceil(seconds(since))))}
    return {}


def _pods(cluster: Cluster, named: str, selector: str, *, every: bool) -> list[Object]:
    """The pods whose logs are wanted."""
    kind = cluster.resolve("pods")
    if selector:
        found = cluster.objects(kind, labelSelector=selector)
        if not found:
            print(f"No resources found in {cluster.namespace} namespace.", file=sys.stderr)
        return found
    type_, slash, name = named.partition("/")
    owner_kind = cluster.resolve(type_) if slash else kind
    if not slash:
        name = named
    owner = cluster.find(owner_kind, name)
    if owner is None:
        missing = f'{owner_kind.qualified} "{name}" not found in namespace "{cluster.namespace}"'
        raise CliError(f"error from server (NotFound): {missing}")
    if owner_kind.plural == "pods":
        return [owner]
    pods = cluster.objects(kind, labelSelector=_selector_of(owner, owner_kind.qualified_kind))
    if not pods:
        raise CliError(f"timed out waiting for the condition: {owner_kind.qualified_kind}/{name} has no pods")
    if every:
        return pods
    best = max(pods, key=_worth_reading)
    if len(pods) > 1:
        print(f"Found {len(pods)} pods, using pod/{best['metadata']['name']}", file=sys.stderr)
    return [best]


def _selector_of(owner: Object, kind: str) -> str:
    """The labels by which an object finds its pods, as selector text."""
    selector = (owner.get("spec") or {}).get("selector") or {}
    labels = selector.get("matchLabels", {} if "matchExpressions" in selector else selector)
    parts = [f"{key}={value}" for key, value in labels.items()]
    for each in selector.get("matchExpressions") or []:
        operator = each["operator"]
        if operator in ("In", "NotIn"):
            parts.append(f"{each['key']} {operator.lower()} ({','.join(each['values'])})")
        else:
            parts.append(each["key"] if operator == "Exists" else f"!{each['key']}")
    if not parts:
        raise CliError(f"cannot get the logs from {kind}: it selects no pods")
    return ",".join(parts)


def _worth_reading(pod: Object) -> tuple[bool, bool, str]:
    """Ready before running before the rest, and the newest of equals."""
    status = pod.get("status") or {}
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions") or [])
    return ready, status.get("phase") == "Running", pod["metadata"].get("creationTimestamp") or ""


def _sources(pod: Object, container: str, *, every: bool) -> list[Source]:
    meta, spec = pod["metadata"], pod["spec"]
    names = [each["name"] for each in spec.get("containers") or []]
    init = [each["name"] for each in spec.get("initContainers") or []]
    if every:
        chosen = [*init, *names]
    elif container:
        if container not in [*names, *init]:
            raise CliError(f"container {container} is not valid for pod {meta['name']}")
        chosen = [container]
    else:
        chosen = [_default_container(pod, names, init)]
    return [Source(meta["name"], meta["namespace"], each) for each in chosen]


def _default_container(pod: Object, names: Sequence[str], init: Sequence[str]) -> str:
    wished = (pod["metadata"].get("annotations") or {}).get(DEFAULT_CONTAINER)
    if wished in names:
        return str(wished)
    if len(names) + len(init) > 1:
        others = ", ".join([*names, *(f"{each} (init)" for each in init)])
        print(f'Defaulted container "{names[0]}" out of: {others}', file=sys.stderr)
    return names[0]


def _print(
    cluster: Cluster, sources: Sequence[Source], params: dict[str, str], *, prefix: bool, together: bool, quiet: bool
) -> None:
    """One log after the other, or, when following, all at once, line by line."""
    failures: list[CliError] = []
    lock = threading.Lock()

    def copy(source: Source) -> None:
        try:
            _copy(cluster, source, params, prefix=prefix, lock=lock)
        except CliError as error:
            with lock:
                if quiet:
                    print(f"error: {error}", file=sys.stderr)
                else:
                    failures.append(error)

    if not together or len(sources) == 1:
        for source in sources:
            copy(source)
    else:
        threads = [threading.Thread(target=copy, args=(source,), daemon=True) for source in sources]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    raise_failures(failures)


def _copy(cluster: Cluster, source: Source, params: dict[str, str], *, prefix: bool, lock: Any) -> None:
    path = cluster.path(cluster.resolve("pods"), source.pod, namespace=source.namespace, subresource="log")
    head = f"[pod/{source.pod}/{source.container}] ".encode() if prefix else b""
    out = sys.stdout.buffer
    try:
        for line in cluster.lines(path, params={**params, "container": source.container}):
            with lock:
                out.write(head + line)
                if params.get("follow"):
                    out.flush()
        out.flush()
    except StatusError as error:
        out.flush()
        raise error
