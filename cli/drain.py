"""`minikctl cordon|uncordon|drain|taint`: keep pods off nodes."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from cli import completion
from cli.apply import DRY_RUN_NOTES, DryRun
from cli.cluster import MERGE_PATCH, Cluster, Object
from cli.command import cluster as connect
from cli.discovery import Kind
from cli.errors import CliError, StatusError, not_found, raise_failures
from cli.waiting import deadline, until_gone

MIRROR = "kubernetes.io/config.mirror"
RETRY_SECONDS = 5.0
"""How long to wait before asking again for an eviction a disruption budget forbids at the moment."""

EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")

Nodes = Annotated[list[str] | None, typer.Argument(metavar="NODE...", autocompletion=completion.nodes)]
Selector = Annotated[str, typer.Option("--selector", "-l", help="Nodes with these labels.")]


def cordon(nodes: Nodes = None, selector: Selector = "", dry_run: DryRun = "none") -> None:
    """Mark nodes as unschedulable: no new pods go there."""
    _mark_all(nodes, selector, unschedulable=True, dry_run=dry_run)


def uncordon(nodes: Nodes = None, selector: Selector = "", dry_run: DryRun = "none") -> None:
    """Mark nodes as schedulable again."""
    _mark_all(nodes, selector, unschedulable=False, dry_run=dry_run)


def _mark_all(nodes: list[str] | None, selector: str, *, unschedulable: bool, dry_run: str) -> None:
    cluster = connect()
    failures: list[CliError] = []
    for node in _nodes(cluster, nodes, selector, failures):
        _mark(cluster, node, unschedulable=unschedulable, dry_run=dry_run)
    raise_failures(failures)


def _nodes(cluster: Cluster, names: list[str] | None, selector: str, failures: list[CliError]) -> list[Object]:
    kind = cluster.resolve("nodes")
    if not names and not selector:
        raise CliError("requires at least 1 arg(s), only received 0: name a node, or use --selector")
    if names and selector:
        raise CliError("cannot specify both a node name and a --selector option")
    if selector:
        return cluster.objects(kind, labelSelector=selector)
    found: list[Object] = []
    for name in names or []:
        obj = cluster.find(kind, name.removeprefix("node/"))
        if obj is None:
            failures.append(not_found("nodes", name.removeprefix("node/")))
        else:
            found.append(obj)
    return found


def _mark(cluster: Cluster, node: Object, *, unschedulable: bool, dry_run: str) -> None:
    name = node["metadata"]["name"]
    what = "cordoned" if unschedulable else "uncordoned"
    if bool(node.get("spec", {}).get("unschedulable")) == unschedulable:
        print(f"node/{name} already {what}{DRY_RUN_NOTES[dry_run]}", flush=True)
        return
    _patch_node(cluster, name, {"spec": {"unschedulable": unschedulable or None}}, dry_run=dry_run)
    print(f"node/{name} {what}{DRY_RUN_NOTES[dry_run]}", flush=True)


def _patch_node(cluster: Cluster, name: str, body: Any, *, dry_run: str) -> Object | None:
    if dry_run == "client":
        return None
    params = {"dryRun": "All"} if dry_run == "server" else {}
    path = cluster.path(cluster.resolve("nodes"), name)
    return cluster.call("PATCH", path, params=params, body=body, content_type=MERGE_PATCH)  # type: ignore[no-any-return]


# drain


def drain(
    nodes: Nodes = None,
    selector: Selector = "",
    force: Annotated[bool, typer.Option("--force", help="Also pods nobody would replace.")] = False,
    ignore_daemonsets: Annotated[bool, typer.Option("--ignore-daemonsets", help="Leave DaemonSets' pods.")] = False,
    delete_emptydir_data: Annotated[
        bool, typer.Option("--delete-emptydir-data", help="Also pods that keep data in an emptyDir.")
    ] = False,
    grace_period: Annotated[int, typer.Option(help="Seconds pods have to end; -1 is their own.")] = -1,
    timeout: Annotated[str, typer.Option(help="How long to wait at most; 0s waits on.")] = "0s",
    pod_selector: Annotated[str, typer.Option(help="Only pods with these labels.")] = "",
    disable_eviction: Annotated[
        bool, typer.Option("--disable-eviction", help="Delete pods without asking disruption budgets.")
    ] = False,
    dry_run: DryRun = "none",
) -> None:
    """Empty nodes for maintenance: cordon them, evict their pods, wait until the pods are gone."""
    cluster = connect()
    failures: list[CliError] = []
    ends = deadline(timeout)
    for node in _nodes(cluster, nodes, selector, failures):
        name = node["metadata"]["name"]
        _mark(cluster, node, unschedulable=True, dry_run=dry_run)
        fields = f"spec.nodeName={name}"
        pods = cluster.objects(cluster.resolve("pods"), namespace="", fieldSelector=fields, labelSelector=pod_selector)
        leaving, notes, problems = choose(
            pods, force=force, ignore_daemonsets=ignore_daemonsets, delete_emptydir_data=delete_emptydir_data
        )
        if problems:
            failures.append(CliError(f'unable to drain node "{name}" due to error: {"; ".join(problems)}'))
            continue
        for note in notes:
            print(f"Warning: {note}", file=sys.stderr)
        if dry_run == "none":
            evict_all(cluster, leaving, grace=grace_period, evict=not disable_eviction, ends=ends)
        print(f"node/{name} drained{DRY_RUN_NOTES[dry_run]}", flush=True)
    raise_failures(failures)


def choose(
    pods: Sequence[Object], *, force: bool, ignore_daemonsets: bool, delete_emptydir_data: bool
) -> tuple[list[Object], list[str], list[str]]:
    """Which pods must go, what to warn about, and what forbids the drain. Pure."""
    leaving: list[Object] = []
    daemons: list[str] = []
    unmanaged: list[str] = []
    local: list[str] = []
    for pod in pods:
        meta = pod["metadata"]
        name = f"{meta['namespace']}/{meta['name']}"
        if MIRROR in (meta.get("annotations") or {}):
            continue
        ended = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
        owner = next((each for each in meta.get("ownerReferences") or [] if each.get("controller")), None)
        if owner and owner["kind"] == "DaemonSet" and not ended:
            daemons.append(name)
            continue
        if owner is None and not ended:
            unmanaged.append(name)
        if any("emptyDir" in each for each in pod["spec"].get("volumes") or []) and not ended:
            local.append(name)
        leaving.append(pod)
    problems = []
    if daemons and not ignore_daemonsets:
        problems.append(
            f"cannot delete DaemonSet-managed Pods (use --ignore-daemonsets to ignore): {', '.join(daemons)}"
        )
    if local and not delete_emptydir_data:
        problems.append(
            f"cannot delete Pods with local storage (use --delete-emptydir-data to override): {', '.join(local)}"
        )
    if unmanaged and not force:
        problems.append(
            f"cannot delete Pods that declare no controller (use --force to override): {', '.join(unmanaged)}"
        )
    notes = []
    if daemons:
        notes.append(f"ignoring DaemonSet-managed Pods: {', '.join(daemons)}")
    if unmanaged:
        notes.append(f"deleting Pods that declare no controller: {', '.join(unmanaged)}")
    return leaving, notes, problems


def evict_all(cluster: Cluster, pods: Sequence[Object], *, grace: int, evict: bool, ends: float) -> None:
    """Ask for all evictions, then wait for all pods to be gone. Raises CliError when the deadline passes."""
    kind = cluster.resolve("pods")
    for pod in pods:
        meta = pod["metadata"]
        print(f"{'evicting' if evict else 'deleting'} pod {meta['namespace']}/{meta['name']}", flush=True)
        _evict(cluster, kind, meta, grace=grace, evict=evict, ends=ends)
    for pod in pods:
        meta = pod["metadata"]
        until_gone(cluster, kind, meta["name"], namespace=meta["namespace"], uid=meta["uid"], ends=ends)
        print(f"pod/{meta['name']} evicted" if evict else f"pod/{meta['name']} deleted", flush=True)


def _evict(cluster: Cluster, kind: Kind, meta: Object, *, grace: int, evict: bool, ends: float) -> None:
    name, namespace = meta["name"], meta["namespace"]
    options: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": meta["uid"]}}
    if grace >= 0:
        options["gracePeriodSeconds"] = grace
    while True:
        try:
            if not evict:
                cluster.call("DELETE", cluster.path(kind, name, namespace=namespace), body=options)
                return
            eviction = {
                "apiVersion": "policy/v1",
                "kind": "Eviction",
                "metadata": {"name": name, "namespace": namespace},
                "deleteOptions": options,
            }
            path = cluster.path(kind, name, namespace=namespace, subresource="eviction")
            cluster.call("POST", path, body=eviction)
            return
        except StatusError as error:
            if error.reason == "NotFound" or (error.reason == "Conflict" and "uid" in error.message.lower()):
                return
            if error.reason != "TooManyRequests" or time.monotonic() > ends:
                raise
            print(
                f'error when evicting pods/"{name}" -n "{namespace}" (will retry after {RETRY_SECONDS:g}s): '
                f"{error.message}",
                file=sys.stderr,
            )
            time.sleep(RETRY_SECONDS)


# taint


def taint(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="node NODE... KEY[=VALUE]:EFFECT... KEY[:EFFECT]-", autocompletion=completion.resources),
    ] = None,
    selector: Selector = "",
    all_: Annotated[bool, typer.Option("--all", help="All nodes.")] = False,
    overwrite: Annotated[bool, typer.Option(help="Replace taints that are there.")] = False,
    dry_run: DryRun = "none",
) -> None:
    """Set or remove taints: `taint node node-1 key=value:NoSchedule`, `taint node node-1 key-`."""
    args = list(arguments or [])
    if not args or args.pop(0) not in ("node", "nodes", "no"):
        raise CliError("one or more resources must be specified as <resource> <name>: the first word must be node")
    changes = [each for each in args if ":" in each or each.endswith("-") or "=" in each]
    names = [each for each in args if each not in changes]
    added, removed = parse_taints(changes)
    cluster = connect()
    failures: list[CliError] = []
    nodes = cluster.objects(cluster.resolve("nodes")) if all_ else _nodes(cluster, names, selector, failures)
    for node in nodes:
        name = node["metadata"]["name"]
        try:
            present = (node.get("spec") or {}).get("taints") or []
            after = tainted(present, added, removed, overwrite=overwrite, node=name)
            # The list is replaced as a whole, so only if nobody else changed the node meanwhile.
            version = node["metadata"]["resourceVersion"]
            body = {"metadata": {"resourceVersion": version}, "spec": {"taints": after or None}}
            _patch_node(cluster, name, body, dry_run=dry_run)
            print(f"node/{name} {'tainted' if added else 'untainted'}{DRY_RUN_NOTES[dry_run]}", flush=True)
        except CliError as error:
            failures.append(error)
    raise_failures(failures)


def parse_taints(texts: Sequence[str]) -> tuple[list[Object], list[tuple[str, str]]]:
    """Taints to set, and (key, effect or "") of those to remove. Raises CliError. Pure."""
    if not texts:
        raise CliError("at least one taint update is required")
    added: list[Object] = []
    removed: list[tuple[str, str]] = []
    for text in texts:
        key, _, effect = text.removesuffix("-").partition(":")
        key, equals, value = key.partition("=")
        if effect and effect not in EFFECTS:
            raise CliError(f"invalid taint effect: {effect}, unsupported taint effect")
        if text.endswith("-"):
            removed.append((key, effect))
        elif not key or not effect:
            raise CliError(f"invalid taint spec: {text}: expected KEY[=VALUE]:EFFECT")
        else:
            added.append({"key": key, "effect": effect} | ({"value": value} if equals and value else {}))
    return added, removed


def tainted(
    present: Sequence[Object],
    added: Sequence[Object],
    removed: Sequence[tuple[str, str]],
    *,
    overwrite: bool,
    node: str,
) -> list[Object]:
    """The taints a node has afterwards. Raises CliError. Pure."""
    left = list(present)
    for key, effect in removed:
        matching = [each for each in left if each["key"] == key and effect in ("", each["effect"])]
        if not matching:
            raise CliError(f'taint "{key}{":" + effect if effect else ""}" not found')
        left = [each for each in left if each not in matching]
    for taint_ in added:
        same = [each for each in left if (each["key"], each["effect"]) == (taint_["key"], taint_["effect"])]
        if same and not overwrite:
            raise CliError(
                f"node {node} already has {taint_['key']} taint(s) with same effect(s) and --overwrite is false"
            )
        left = [*(each for each in left if each not in same), taint_]
    return left
