"""`minikctl create|run|expose`: new objects from files or from a few words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from cli import completion, manifests, threeway
from cli.apply import DryRun, Filename, Output, Recursive, Validate, Write, options
from cli.arguments import one
from cli.cluster import Cluster, Object
from cli.command import Command, settings
from cli.command import cluster as connect
from cli.discovery import Kind
from cli.errors import CliError, StatusError, raise_failures
from cli.quick import Quick

Name = Annotated[str, typer.Argument(metavar="NAME")]
Image = Annotated[list[str], typer.Option("--image", help="The image to run.")]


def from_files(
    filename: list[str],
    *,
    recursive: bool,
    dry_run: str,
    validate: str,
    output: str | None,
    save_config: bool,
) -> None:
    """Create the objects of files; one that is there already is an error."""
    write = options(dry_run=dry_run, validate=validate, output=output, manager="kubectl-create")
    cluster = connect()
    failures: list[CliError] = []
    for item in manifests.load(
        cluster, filename, recursive=recursive, explicit_namespace=settings.namespace, failures=failures
    ):
        obj = threeway.annotated(item.obj) if save_config else item.obj
        try:
            _create(cluster, item.kind, obj, write)
        except StatusError as error:
            failures.append(error.within(f'error when creating "{item.source}"'))
    raise_failures(failures)


def _create(cluster: Cluster, kind: Kind, obj: Object, write: Write) -> None:
    if write.dry_run != "client":
        namespace = obj["metadata"].get("namespace") or cluster.namespace
        obj = cluster.call("POST", kind.path(namespace), params=write.params, body=obj)
    write.report(f"{kind.qualified_kind}/{obj['metadata'].get('name', '')}", "created", obj)


def _create_new(obj: Object, *, dry_run: str, output: str | None, manager: str = "kubectl-create") -> None:
    """Create an object this CLI made up."""
    cluster = connect()
    kind = cluster.kind_of(obj)
    if kind is None:
        raise CliError(f'no matches for kind "{obj["kind"]}" in version "{obj["apiVersion"]}"')
    if kind.namespaced and (dry_run != "client" or settings.namespace):
        obj["metadata"]["namespace"] = cluster.namespace
    try:
        _create(cluster, kind, obj, options(dry_run=dry_run, validate="strict", output=output, manager=manager))
    except StatusError as error:
        if error.reason == "Invalid" or manager != "kubectl-create" or kind.singular == "namespace":
            raise
        raise CliError(f"failed to create {kind.singular}: {error}") from None


def deployment(
    name: Name,
    image: Image,
    command: Annotated[list[str] | None, typer.Argument(metavar="-- COMMAND [ARG...]")] = None,
    replicas: Annotated[int, typer.Option("--replicas", "-r", help="How many pods.")] = 1,
    port: Annotated[int, typer.Option(help="The port its containers listen on.")] = -1,
    dry_run: DryRun = "none",
    output: Output = None,
) -> None:
    """Create a Deployment of one container per image."""
    if not image:
        raise CliError('required flag(s) "image" not set')
    containers = [{"name": container_name(each), "image": each} for each in image]
    for each in containers:
        each |= {"command": command} if command else {}  # type: ignore[dict-item]
        each |= {"ports": [{"containerPort": port}]} if port >= 0 else {}  # type: ignore[dict-item]
    labels = {"app": name}
    obj = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}},
        },
    }
    _create_new(obj, dry_run=dry_run, output=output)


def container_name(image: str) -> str:
    """The container's name kubectl would choose: the image's last part without its tag. Pure."""
    import re

    last = image.rpartition("/")[2].partition("@")[0].partition(":")[0]
    return re.sub(r"[^a-z0-9-]", "-", last.lower())[:63].strip("-") or "container"


def namespace(name: Name, dry_run: DryRun = "none", output: Output = None) -> None:
    """Create a Namespace."""
    _create_new({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}, dry_run=dry_run, output=output)


Literal = Annotated[list[str] | None, typer.Option("--from-literal", help="KEY=VALUE.")]
FromFile = Annotated[list[str] | None, typer.Option("--from-file", help="[KEY=]FILE.")]


def configmap(
    name: Name,
    from_literal: Literal = None,
    from_file: FromFile = None,
    dry_run: DryRun = "none",
    output: Output = None,
) -> None:
    """Create a ConfigMap from words or files."""
    data = {key: value.decode(errors="replace") for key, value in _data(from_literal, from_file).items()}
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, **({"data": data} if data else {})}
    _create_new(obj, dry_run=dry_run, output=output)


def secret(
    type_: Annotated[str, typer.Argument(metavar="generic")],
    name: Name,
    from_literal: Literal = None,
    from_file: FromFile = None,
    secret_type: Annotated[str, typer.Option("--type", help="The Secret's type.")] = "Opaque",
    dry_run: DryRun = "none",
    output: Output = None,
) -> None:
    """Create a Secret from words or files: `create secret generic NAME --from-literal KEY=VALUE`."""
    import base64

    if type_ != "generic":
        raise CliError(f'unknown kind of secret "{type_}": only generic is supported')
    data = {key: base64.b64encode(value).decode() for key, value in _data(from_literal, from_file).items()}
    obj = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": secret_type, "data": data}
    _create_new(obj, dry_run=dry_run, output=output)


def _data(literals: list[str] | None, files: list[str] | None) -> dict[str, bytes]:
    from pathlib import Path

    data: dict[str, bytes] = {}
    for each in literals or []:
        key, equals, value = each.partition("=")
        if not equals or not key:
            raise CliError(f"invalid literal source {each}, expected key=value")
        data[key] = value.encode()
    for each in files or []:
        key, equals, path = each.partition("=")
        source = Path(path if equals else each)
        try:
            data[key if equals else source.name] = source.read_bytes()
        except OSError as error:
            raise CliError(f"error reading {source}: {error.strerror}") from None
    return data


def run(
    name: Name,
    image: Annotated[str, typer.Option(help="The image to run.")],
    args: Annotated[list[str] | None, typer.Argument(metavar="[-- ARG...]")] = None,
    command: Annotated[bool, typer.Option("--command", help="The arguments are the command.")] = False,
    env: Annotated[list[str] | None, typer.Option(help="NAME=VALUE of the environment.")] = None,
    labels: Annotated[str, typer.Option("--labels", "-l", help="Labels, as in app=web,tier=front.")] = "",
    port: Annotated[int, typer.Option(help="The port the container listens on.")] = -1,
    restart: Annotated[str, typer.Option(help="Always, OnFailure or Never.")] = "Always",
    image_pull_policy: Annotated[str, typer.Option(help="Always, IfNotPresent or Never.")] = "",
    dry_run: DryRun = "none",
    output: Output = None,
) -> None:
    """Run one pod: `run web --image=minik/web:1 --port=8080`; `run job --image=minik/busybox:1 -- echo hello`."""
    container: Object = {"name": name, "image": image}
    if args:
        container["command" if command else "args"] = args
    if env:
        container["env"] = [_variable(each) for each in env]
    if port >= 0:
        container["ports"] = [{"containerPort": port}]
    if image_pull_policy:
        container["imagePullPolicy"] = image_pull_policy
    wanted = dict(each.split("=", 1) for each in labels.split(",") if "=" in each) if labels else {"run": name}
    obj = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": wanted},
        "spec": {"containers": [container], "restartPolicy": restart},
    }
    _create_new(obj, dry_run=dry_run, output=output, manager="kubectl-run")


def _variable(text: str) -> dict[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise CliError(f"invalid env: {text}, expected NAME=VALUE")
    return {"name": name, "value": value}


def expose(
    resource: Annotated[
        list[str], typer.Argument(metavar="(KIND NAME | KIND/NAME)", autocompletion=completion.scalable)
    ],
    port: Annotated[int | None, typer.Option(help="The Service's port.")] = None,
    target_port: Annotated[str, typer.Option(help="The port, or its name, in the pods.")] = "",
    name: Annotated[str, typer.Option(help="The Service's name; that of the object if not given.")] = "",
    type_: Annotated[str, typer.Option("--type", help="ClusterIP, NodePort or LoadBalancer.")] = "ClusterIP",
    protocol: Annotated[str, typer.Option(help="TCP or UDP.")] = "TCP",
    dry_run: DryRun = "none",
    output: Output = None,
) -> None:
    """Put a Service before a Deployment, ReplicaSet or Pod: `expose deploy web --port 80 --target-port 8080`."""
    cluster = connect()
    kind, owner_name = one(cluster, resource, default="deployments.apps")
    owner = cluster.get(kind, owner_name)
    spec = owner.get("spec") or {}
    selector = (
        (spec.get("selector") or {}).get("matchLabels") or spec.get("selector") or owner["metadata"].get("labels")
    )
    if not selector or "matchExpressions" in (spec.get("selector") or {}):
        raise CliError(
            f"couldn't retrieve selectors via --selector flag or introspection: {kind.qualified_kind}/{owner_name}"
        )
    ports = [port] if port is not None else _container_ports(owner)
    if not ports:
        raise CliError("couldn't find port via --port flag or introspection")
    rows = []
    for index, each in enumerate(ports):
        target: int | str = int(target_port) if target_port.isdigit() else target_port or each
        row: Object = {"port": each, "targetPort": target, "protocol": protocol}
        rows.append(row | ({"name": f"port-{index + 1}"} if len(ports) > 1 else {}))
    obj: Object = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name or owner_name},
        "spec": {"type": type_, "selector": selector, "ports": rows},
    }
    if owner["metadata"].get("labels"):
        obj["metadata"]["labels"] = owner["metadata"]["labels"]
    service = cluster.resolve("services")
    obj["metadata"]["namespace"] = cluster.namespace
    write = options(dry_run=dry_run, validate="strict", output=output, manager="kubectl-expose")
    if dry_run != "client":
        obj = cluster.call("POST", service.path(cluster.namespace), params=write.params, body=obj)
    write.report(f"service/{obj['metadata']['name']}", "exposed", obj)


def _container_ports(owner: Object) -> list[int]:
    spec = (owner["spec"].get("template") or {}).get("spec") or owner["spec"]
    return [port["containerPort"] for each in spec.get("containers") or [] for port in each.get("ports") or []]


FUNCTIONS: dict[str, Callable[..., None]] = {
    "deployment": deployment,
    "namespace": namespace,
    "configmap": configmap,
    "secret": secret,
}
ALIASES = {"deploy": "deployment", "ns": "namespace", "cm": "configmap"}


def GROUP() -> Any:
    """`create`: with -f from files, or followed by what to create."""
    from typer.core import TyperGroup

    class CreateGroup(Quick, TyperGroup):
        def get_command(self, ctx: typer.Context, cmd_name: str) -> Any:  # type: ignore[override]
            return super().get_command(ctx, ALIASES.get(cmd_name, cmd_name))

        def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
            from cli.command import normalise, remember

            rest = super().parse_args(ctx, normalise(args, self.params))
            remember(ctx.params)
            return rest

    from cli.command import add_shared

    app = typer.Typer(cls=CreateGroup, add_completion=False, rich_markup_mode=None, invoke_without_command=True)
    app.callback()(_create_files)
    for each, function in FUNCTIONS.items():
        app.command(each, cls=Command)(function)
    made: Any = typer.main.get_command(app)
    made.name, made.help = "create", "Create objects from files (-f) or from a few words."
    return add_shared(made)


def _create_files(
    context: typer.Context,
    filename: Filename = None,
    recursive: Recursive = False,
    dry_run: DryRun = "none",
    validate: Validate = "strict",
    output: Output = None,
    save_config: Annotated[bool, typer.Option("--save-config", help="Remember the file for a later apply.")] = False,
) -> None:
    if context.invoked_subcommand:
        return
    if not filename:
        raise CliError("must specify one of -f and -k")
    from_files(
        filename, recursive=recursive, dry_run=dry_run, validate=validate, output=output, save_config=save_config
    )
