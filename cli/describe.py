"""`minikctl describe`: fetch an object and what belongs to it; how it looks is in describe_*.py and layout.py."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from cli import completion, describe_others, layout
from cli.arguments import Target, targets
from cli.cluster import Cluster, Object
from cli.command import cluster as connect
from cli.discovery import Kind
from cli.errors import CliError, StatusError, not_found, raise_failures

HASH = "pod-template-hash"

Describe = Callable[[Cluster, Object, Sequence[Object]], list[str]]
"""The lines about an object, given its events."""


def describe(
    resources: Annotated[
        list[str] | None,
        typer.Argument(metavar="(KIND [NAME...] | KIND/NAME...)", autocompletion=completion.resources),
    ] = None,
    selector: Annotated[str, typer.Option("--selector", "-l", help="Objects with these labels.")] = "",
    all_namespaces: Annotated[bool, typer.Option("--all-namespaces", "-A", help="In all namespaces.")] = False,
    filename: Annotated[list[str] | None, typer.Option("--filename", "-f", help="The objects of a file.")] = None,
    recursive: Annotated[bool, typer.Option("--recursive", "-R", help="Folders with what is below them.")] = False,
    show_events: Annotated[bool, typer.Option(help="Say what happened to the object.")] = True,
) -> None:
    """Tell all about objects: fields, conditions, what happened to them and why they wait.

    minikctl describe pod web-1; describe node node-1; describe deploy/web; describe pods -l app=web
    """
    cluster = connect()
    if all_namespaces:
        cluster.namespace = ""
    failures: list[CliError] = []
    wanted = _of_files(cluster, filename, recursive) if filename else targets(cluster, resources or [])
    found: list[tuple[Kind, Object]] = []
    for target in wanted:
        found += [(target.kind, obj) for obj in _objects(cluster, target, selector, failures)]
    for index, (kind, obj) in enumerate(found):
        happened = _events(cluster, obj) if show_events else []
        lines = VIEWS.get(kind.qualified, _generic)(cluster, obj, happened)
        if not show_events:
            lines = [line for line in lines if line != "Events:\t<none>"]
        if index:
            print("\n")
        sys.stdout.write(layout.tabulate(lines))
    sys.stdout.flush()
    if not found and not failures:
        place = f" in {cluster.namespace} namespace." if cluster.namespace and wanted[0].kind.namespaced else ""
        print(f"No resources found{place}", file=sys.stderr)
    raise_failures(failures)


def _of_files(cluster: Cluster, filename: list[str], recursive: bool) -> list[Target]:
    from cli import manifests

    return [
        Target(item.kind, (item.name,), item.namespace or None)
        for item in manifests.load(cluster, filename, recursive=recursive)
    ]


def _objects(cluster: Cluster, target: Target, selector: str, failures: list[CliError]) -> list[Object]:
    if not target.names:
        return cluster.objects(target.kind, labelSelector=selector)
    found: list[Object] = []
    for name in target.names:
        try:
            found.append(cluster.get(target.kind, name, namespace=target.namespace))
        except StatusError as error:
            # As kubectl: what is not a name may be the beginning of several.
            similar = _beginning_with(cluster, target.kind, name) if error.reason == "NotFound" else []
            found += similar
            if not similar:
                failures.append(error if error.reason != "NotFound" else not_found(target.kind.qualified, name))
    return found


def _beginning_with(cluster: Cluster, kind: Kind, prefix: str) -> list[Object]:
    return [each for each in cluster.objects(kind) if each["metadata"]["name"].startswith(prefix)]


def _events(cluster: Cluster, obj: Object) -> list[Object]:
    meta = obj["metadata"]
    fields = [f"involvedObject.name={meta['name']}", f"involvedObject.kind={obj['kind']}"]
    namespace = meta.get("namespace") or ""
    if namespace:
        fields.append(f"involvedObject.namespace={namespace}")
    found = cluster.objects(cluster.resolve("events"), namespace=namespace, fieldSelector=",".join(fields))
    # A node's events carry its name for a uid when the kubelet wrote them before it had read its Node.
    return [each for each in found if each["involvedObject"].get("uid") in (meta.get("uid"), meta["name"], "", None)]


def _pod(cluster: Cluster, pod: Object, happened: Sequence[Object]) -> list[str]:
    from cli.describe_pod import pod_lines

    return pod_lines(pod, happened)


def _node(cluster: Cluster, node: Object, happened: Sequence[Object]) -> list[str]:
    from cli.describe_node import node_lines

    name = node["metadata"]["name"]
    lease = cluster.find(cluster.resolve("leases.coordination.k8s.io"), name, namespace="kube-node-lease")
    pods = cluster.objects(cluster.resolve("pods"), namespace="", fieldSelector=f"spec.nodeName={name}")
    return node_lines(node, lease=lease, pods=pods, happened=happened)


def _deployment(cluster: Cluster, deployment: Object, happened: Sequence[Object]) -> list[str]:
    meta = deployment["metadata"]
    sets = cluster.objects(cluster.resolve("replicasets.apps"), namespace=meta["namespace"])
    owned = [each for each in sets if _owned_by(each, meta["uid"])]
    template = _without_hash(deployment)
    new = sorted((each for each in owned if _without_hash(each) == template), key=_created)[:1]
    old = [each for each in owned if each not in new]
    return describe_others.deployment_lines(deployment, new=new, old=old, happened=happened)


def _without_hash(owner: Object) -> Object:
    template: Object = owner["spec"]["template"]
    meta = template.get("metadata") or {}
    labels = {key: value for key, value in (meta.get("labels") or {}).items() if key != HASH}
    return {**template, "metadata": {**meta, "labels": labels}}


def _created(obj: Object) -> str:
    return str(obj["metadata"].get("creationTimestamp"))


def _owned_by(obj: Object, uid: str) -> bool:
    return any(ref.get("uid") == uid and ref.get("controller") for ref in obj["metadata"].get("ownerReferences") or [])


def _replicaset(cluster: Cluster, replicaset: Object, happened: Sequence[Object]) -> list[str]:
    meta = replicaset["metadata"]
    pods = cluster.objects(cluster.resolve("pods"), namespace=meta["namespace"])
    owned = [each for each in pods if _owned_by(each, meta["uid"])]
    return describe_others.replicaset_lines(replicaset, pods=owned, happened=happened)


def _service(cluster: Cluster, service: Object, happened: Sequence[Object]) -> list[str]:
    meta = service["metadata"]
    kind = cluster.resolve("endpointslices.discovery.k8s.io")
    label = f"kubernetes.io/service-name={meta['name']}"
    slices = cluster.objects(kind, namespace=meta["namespace"], labelSelector=label)
    return describe_others.service_lines(service, slices=slices, happened=happened)


def _generic(cluster: Cluster, obj: Object, happened: Sequence[Object]) -> list[str]:
    return describe_others.generic_lines(obj, happened=happened)


VIEWS: dict[str, Describe] = {
    "pods": _pod,
    "nodes": _node,
    "services": _service,
    "deployments.apps": _deployment,
    "replicasets.apps": _replicaset,
    "configmaps": lambda cluster, obj, happened: describe_others.config_map_lines(obj, happened=happened),
    "secrets": lambda cluster, obj, happened: describe_others.secret_lines(obj),
    "namespaces": lambda cluster, obj, happened: describe_others.namespace_lines(obj),
}
"""Kinds with a view of their own; the others are shown field by field."""
