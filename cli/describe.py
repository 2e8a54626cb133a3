"""`minikctl describe`: an object's fields, and what happened to it. Pods and nodes have views of their own
(describe_pod.py, describe_node.py); any other kind is shown field by field, under the names a manifest has."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer

from cli import layout, objects
from cli.command import Chosen
from cli.errors import Collected, StatusError, collected, not_found
from cli.layout import rfc1123
from cli.objects import Target
from cli.session import Object, Ref, Session

HEAD = ("name", "namespace", "labels", "annotations", "creationTimestamp", "ownerReferences", "managedFields")
"""What the first lines say already, or nobody reads."""


def describe(
    session: Session,
    chosen: Chosen,
    show_events: Annotated[bool, typer.Option(help="Say what happened to the object.")] = True,
) -> None:
    """Tell all about objects: fields, conditions, what happened to them and why they wait.

    minikctl describe pod web-1; describe node node-1; describe deploy/web; describe pods -l app=web
    """
    with collected() as failures:
        wanted = objects.targets(session, chosen)
        found = [obj for target in wanted for obj in _objects(session, target, chosen, failures)]
        for index, obj in enumerate(found):
            if index:
                print("\n")
            happened = _events(session, obj) if show_events else None
            sys.stdout.write(layout.tabulate(_lines(session, obj, happened)))
        sys.stdout.flush()
        if not found and not failures:
            print(objects.nothing_found(session, wanted), file=sys.stderr)


def _objects(session: Session, target: Target, chosen: Chosen, failures: Collected) -> Iterator[Object]:
    if not target.names:
        yield from (ref.obj for ref in objects.matching(session, target, chosen) if ref.obj)
    for name in target.names:
        with failures:
            try:
                yield session.get(Ref(target.kind, name, target.namespace))
            except StatusError as error:
                if error.reason != "NotFound":
                    raise
                # As kubectl: what is not a name may be the beginning of several.
                listed = session.objects(target.kind, namespace=target.namespace)
                similar = [each for each in listed if each["metadata"]["name"].startswith(name)]
                if not similar:
                    raise not_found(target.kind.qualified, name) from None
                yield from similar


def _events(session: Session, obj: Object) -> list[Object]:
    meta = obj["metadata"]
    fields = f"involvedObject.name={meta['name']},involvedObject.kind={obj['kind']}"
    found = session.objects("events", namespace=meta.get("namespace") or "", fieldSelector=fields)
    # A node's events carry its name for a uid when the kubelet wrote them before it had read its Node.
    return [each for each in found if each["involvedObject"].get("uid") in (meta.get("uid"), meta["name"], "", None)]


def _lines(session: Session, obj: Object, happened: Sequence[Object] | None) -> list[str]:
    if obj["kind"] == "Pod":
        from cli.describe_pod import pod_lines

        lines = pod_lines(obj)
    elif obj["kind"] == "Node":
        from cli.describe_node import node_lines

        name = obj["metadata"]["name"]
        lease = session.find(session.ref("leases.coordination.k8s.io", name, "kube-node-lease"))
        pods = session.objects("pods", namespace="", fieldSelector=f"spec.nodeName={name}")
        lines = node_lines(obj, lease=lease, pods=pods)
    else:
        lines = generic_lines(obj)
    return lines if happened is None else [*lines, *layout.events(happened)]


def generic_lines(obj: Object) -> list[str]:
    """Any object: who it is, its conditions as a table, and every other field. Pure."""
    meta = obj["metadata"]
    status = dict(obj.get("status") or {})
    conditions = status.pop("conditions", None) or []
    rest = {key: value for key, value in meta.items() if key not in HEAD}
    sections = {key: value for key, value in obj.items() if key not in ("apiVersion", "kind", "metadata", "status")}
    if obj["kind"] == "Secret":
        # Sizes only: a secret is not shown to whoever looks over a shoulder.
        sections["data"] = {key: _size(value) for key, value in (obj.get("data") or {}).items()}
    return [
        f"Name:\t{meta['name']}",
        *([f"Namespace:\t{meta['namespace']}"] if meta.get("namespace") else []),
        *layout.labels("Labels", meta.get("labels")),
        *layout.annotation_lines("Annotations", meta.get("annotations")),
        f"CreationTimestamp:\t{rfc1123(meta.get('creationTimestamp'))}",
        *layout.controlled_by(obj),
        f"API Version:\t{obj['apiVersion']}",
        f"Kind:\t{obj['kind']}",
        *_section("Metadata", rest),
        *(line for key, value in sections.items() for line in _section(key[0].upper() + key[1:], value)),
        *_section("Status", status),
        *_conditions(conditions),
    ]


def _section(title: str, value: Any) -> list[str]:
    """A field and what is below it, as a manifest has it."""
    from cli.documents import to_yaml

    if not isinstance(value, dict | list):
        return [f"{title}:\t{value}"]
    return [f"{title}:", *(f"  {line}" for line in to_yaml(value).splitlines())] if value else []


def _size(value: str) -> str:
    import base64

    return f"{len(base64.b64decode(value))} bytes"


def _conditions(conditions: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [
        f"  {each.get('type')}\t{each.get('status')}\t{each.get('reason') or ''}\t{each.get('message') or ''}"
        for each in conditions
    ]
    return ["Conditions:", "  Type\tStatus\tReason\tMessage", "  ----\t------\t------\t-------", *rows] if rows else []
