"""`minikctl run|expose`: a pod or a Service from a few words."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from cli import objects, output
from cli.command import Chosen, Write
from cli.errors import CliError
from cli.session import Object, Session

Output = Annotated[str | None, typer.Option("--output", "-o", help="Print the object: name, json, yaml, jsonpath=...")]


def _create(session: Session, write: Write, obj: Object, *, output_: str | None, what: str) -> None:
    """Create an object this CLI made up, and say so or print it."""
    form = output.parse(output_)
    kind = session.kind_of(obj)
    if kind is None:
        raise CliError(f'no matches for kind "{obj["kind"]}" in version "{obj["apiVersion"]}"')
    obj = write.send(session, "POST", kind.path(session.namespace), obj) or obj
    if form.is_table:
        write.say(session.ref(kind, obj["metadata"]["name"]).label, what)
    else:
        sys.stdout.write(output.render(form, [obj], as_list=False))


def run(
    session: Session,
    write: Write,
    name: Annotated[str, typer.Argument(metavar="NAME")],
    image: Annotated[str, typer.Option(help="The image to run.")],
    args: Annotated[list[str] | None, typer.Argument(metavar="[-- ARG...]")] = None,
    command: Annotated[bool, typer.Option("--command", help="The arguments are the command.")] = False,
    env: Annotated[list[str] | None, typer.Option(help="NAME=VALUE of the environment.")] = None,
    labels: Annotated[str, typer.Option("--labels", "-l", help="Labels, as in app=web,tier=front.")] = "",
    port: Annotated[int, typer.Option(help="The port the container listens on.")] = -1,
    restart: Annotated[str, typer.Option(help="Always, OnFailure or Never.")] = "Always",
    image_pull_policy: Annotated[str, typer.Option(help="Always, IfNotPresent or Never.")] = "",
    output_: Output = None,
) -> None:
    """Run one pod: `run web --image=minik/web:1 --port=8080`; `run job --image=minik/busybox:1 -- echo hello`."""
    container: Object = {
        "name": name,
        "image": image,
        "command" if command else "args": args or [],
        "env": [dict(zip(("name", "value"), _pair(each, "env"), strict=True)) for each in env or []],
        "ports": [{"containerPort": port}] if port >= 0 else [],
        "imagePullPolicy": image_pull_policy,
    }
    wanted = dict(_pair(each, "label") for each in labels.split(",")) if labels else {"run": name}
    obj = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": wanted},
        "spec": {"containers": [{key: value for key, value in container.items() if value}], "restartPolicy": restart},
    }
    _create(session, write, obj, output_=output_, what="created")


def _pair(text: str, what: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise CliError(f"invalid {what}: {text}, expected NAME=VALUE")
    return name, value


def expose(
    session: Session,
    chosen: Chosen,
    write: Write,
    port: Annotated[int | None, typer.Option(help="The Service's port; that of the containers if not given.")] = None,
    target_port: Annotated[str, typer.Option(help="The port, or its name, in the pods.")] = "",
    name: Annotated[str, typer.Option(help="The Service's name; that of the object if not given.")] = "",
    type_: Annotated[str, typer.Option("--type", help="ClusterIP, NodePort or LoadBalancer.")] = "ClusterIP",
    protocol: Annotated[str, typer.Option(help="TCP or UDP.")] = "TCP",
    output_: Output = None,
) -> None:
    """Put a Service before a Deployment, ReplicaSet or Pod: `expose deploy web --port 80 --target-port 8080`."""
    ref = objects.one(session, chosen, alone="deployments.apps")
    owner = session.get(ref)
    spec = owner.get("spec") or {}
    selector = spec.get("selector") or {}
    selector = selector.get("matchLabels", {} if "matchExpressions" in selector else selector)
    selector = selector or (owner["metadata"].get("labels") if ref.kind.plural == "pods" else None)
    if not selector:
        raise CliError(f"couldn't retrieve selectors via --selector flag or introspection: {ref.label}")
    found = [port] if port is not None else container_ports(spec)
    if not found:
        raise CliError("couldn't find port via --port flag or introspection")
    ports = [
        _service_port(each, target_port, protocol, name=f"port-{n}" if len(found) > 1 else "")
        for n, each in enumerate(found, 1)
    ]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name or ref.name, "labels": owner["metadata"].get("labels") or {}},
        "spec": {"selector": selector, "ports": ports, "type": type_},
    }
    session.namespace = ref.namespace
    _create(session, write, service, output_=output_, what="exposed")


def _service_port(port: int, target: str, protocol: str, *, name: str) -> Object:
    made: Object = {
        "port": port,
        "protocol": protocol,
        "targetPort": int(target) if target.isdigit() else target or port,
    }
    return {"name": name, **made} if name else made


def container_ports(spec: dict[str, Any]) -> list[int]:
    """The ports the containers of a pod or pod template say they listen on. Pure."""
    pod = (spec.get("template") or {}).get("spec") or spec
    return [port["containerPort"] for each in pod.get("containers") or [] for port in each.get("ports") or []]
