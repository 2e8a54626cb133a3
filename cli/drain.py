"""`minikctl cordon|uncordon|drain`: keep pods off nodes."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Annotated

import typer

from cli import objects
from cli.command import Chosen, Write
from cli.errors import CliError, Collected, StatusError, collected
from cli.session import MERGE_PATCH, Object, Ref, Session
from cli.wait import deadline, until_gone

MIRROR = "kubernetes.io/config.mirror"
RETRY_SECONDS = 5.0
"""How long to wait before asking again for an eviction a disruption budget forbids at the moment."""


def cordon(session: Session, chosen: Chosen, write: Write) -> None:
    """Mark nodes as unschedulable: no new pods go there."""
    _mark_all(session, chosen, write, unschedulable=True)


def uncordon(session: Session, chosen: Chosen, write: Write) -> None:
    """Mark nodes as schedulable again."""
    _mark_all(session, chosen, write, unschedulable=False)


def _mark_all(session: Session, chosen: Chosen, write: Write, *, unschedulable: bool) -> None:
    with collected() as failures:
        for ref, node in _nodes(session, chosen, failures):
            with failures:
                _mark(session, ref, node, write, unschedulable=unschedulable)


def _nodes(session: Session, chosen: Chosen, failures: Collected) -> Iterator[tuple[Ref, Object]]:
    """The nodes named: `node-1 node-2`, `node/node-1`, or those with certain labels."""
    if chosen.resources and chosen.selector:
        raise CliError("cannot specify both a node name and a --selector option")
    named = [each if "/" in each else f"nodes/{each}" for each in chosen.resources]
    for ref in objects.refs(session, replace(chosen, resources=named), alone="nodes"):
        with failures:
            if ref.kind.plural != "nodes":
                raise CliError(f"{ref.label} is no node")
            yield ref, ref.obj or session.get(ref)


def _mark(session: Session, ref: Ref, node: Object, write: Write, *, unschedulable: bool) -> None:
    what = "cordoned" if unschedulable else "uncordoned"
    if bool((node.get("spec") or {}).get("unschedulable")) == unschedulable:
        what = f"already {what}"
    else:
        body = {"spec": {"unschedulable": unschedulable or None}}
        write.send(session, "PATCH", ref.path(), body, content_type=MERGE_PATCH)
    write.say(ref.label, what)


def drain(
    session: Session,
    chosen: Chosen,
    write: Write,
    force: Annotated[bool, typer.Option("--force", help="Also pods nobody would replace.")] = False,
    ignore_daemonsets: Annotated[bool, typer.Option("--ignore-daemonsets", help="Leave DaemonSets' pods.")] = False,
    delete_emptydir_data: Annotated[
        bool, typer.Option("--delete-emptydir-data", help="Also pods that keep data in an emptyDir.")
    ] = False,
    grace_period: Annotated[int, typer.Option(help="Seconds pods have to end; -1 is their own.")] = -1,
    timeout: Annotated[str, typer.Option(help="How long to wait at most; 0s waits on.")] = "0s",
) -> None:
    """Empty nodes for maintenance: cordon them, evict their pods, wait until the pods are gone."""
    ends = deadline(timeout)
    with collected() as failures:
        for ref, node in _nodes(session, chosen, failures):
            with failures:
                _mark(session, ref, node, write, unschedulable=True)
                fields = f"spec.nodeName={ref.name}"
                pods = session.objects("pods", namespace="", fieldSelector=fields)
                leaving, notes, problems = choose(
                    pods, force=force, ignore_daemonsets=ignore_daemonsets, delete_emptydir_data=delete_emptydir_data
                )
                if problems:
                    raise CliError(f'unable to drain node "{ref.name}" due to error: {"; ".join(problems)}')
                for note in notes:
                    print(f"Warning: {note}", file=sys.stderr)
                if write.real:
                    evict_all(session, leaving, grace=grace_period, ends=ends)
                write.say(ref.label, "drained")


def choose(
    pods: Sequence[Object], *, force: bool, ignore_daemonsets: bool, delete_emptydir_data: bool
) -> tuple[list[Object], list[str], list[str]]:
    """Which pods must go, what to warn about, and what forbids the drain. Pure."""
    leaving: list[Object] = []
    daemons, unmanaged, local = [], [], []
    for pod in pods:
        meta = pod["metadata"]
        if MIRROR in (meta.get("annotations") or {}):
            continue
        name = f"{meta['namespace']}/{meta['name']}"
        owner = next((each["kind"] for each in meta.get("ownerReferences") or [] if each.get("controller")), "")
        if (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed"):
            if owner == "DaemonSet":
                daemons.append(name)
                continue
            unmanaged += [] if owner else [name]
            local += [name] if any("emptyDir" in each for each in pod["spec"].get("volumes") or []) else []
        leaving.append(pod)
    rules = (
        (daemons, ignore_daemonsets, "DaemonSet-managed Pods (use --ignore-daemonsets to ignore)"),
        (local, delete_emptydir_data, "Pods with local storage (use --delete-emptydir-data to override)"),
        (unmanaged, force, "Pods that declare no controller (use --force to override)"),
    )
    problems = [f"cannot delete {what}: {', '.join(names)}" for names, allowed, what in rules if names and not allowed]
    notes = [f"ignoring DaemonSet-managed Pods: {', '.join(daemons)}"] if daemons else []
    notes += [f"deleting Pods that declare no controller: {', '.join(unmanaged)}"] if unmanaged else []
    return leaving, notes, problems


def evict_all(session: Session, pods: Sequence[Object], *, grace: int, ends: float) -> None:
    """Ask for all evictions, then wait for all pods to be gone. Raises CliError when the deadline passes."""
    leaving = [(session.ref("pods", each["metadata"]["name"], each["metadata"]["namespace"]), each) for each in pods]
    for ref, pod in leaving:
        print(f"evicting pod {ref.namespace}/{ref.name}", flush=True)
        _evict(session, ref, pod["metadata"]["uid"], grace=grace, ends=ends)
    for ref, pod in leaving:
        until_gone(session, ref, uid=pod["metadata"]["uid"], ends=ends)
        print(f"pod/{ref.name} evicted", flush=True)


def _evict(session: Session, ref: Ref, uid: str, *, grace: int, ends: float) -> None:
    options: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}}
    options |= {"gracePeriodSeconds": grace} if grace >= 0 else {}
    metadata = {"name": ref.name, "namespace": ref.namespace}
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata, "deleteOptions": options}
    while True:
        try:
            session.call("POST", ref.path("eviction"), body=eviction)
            return
        except StatusError as error:
            if error.reason == "NotFound" or (error.reason == "Conflict" and "uid" in error.message.lower()):
                return
            if error.reason != "TooManyRequests" or time.monotonic() > ends:
                raise
            what = f'error when evicting pods/"{ref.name}" -n "{ref.namespace}" (will retry after {RETRY_SECONDS:g}s)'
            print(f"{what}: {error.message}", file=sys.stderr)
            time.sleep(RETRY_SECONDS)
