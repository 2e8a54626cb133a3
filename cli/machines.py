"""`minikctl init|join|reset|token|kubeconfig`: real machines. The work and most options are bootstrap/'s."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from bootstrap.options import DATA_DIR, DOCKER_HOST, TOKEN_TTL, InitOptions, JoinOptions, Option, Timing
from cli.command import group
from cli.errors import CliError
from cli.labs import lab, told
from cli.options import takes
from cli.session import GIVEN
from cli.tables import Columns
from cli.wait import seconds
from client.errors import ConfigError
from client.kubeconfig import Access
from client.kubeconfig import load as read

MIN_EVICTION_SECONDS = 4.0
"""Below, a node is taken for dead because it was busy."""


@dataclass(frozen=True, kw_only=True)
class InitFlags(InitOptions):
    """What `init` can be told on the command line: its options, and shorter words for some."""

    config: Annotated[Path | None, Option("--config", "A file with the cluster's ClusterConfig.")] = None
    pod_eviction_timeout: Annotated[
        float | None, Option("--pod-eviction-timeout", "How soon the pods of a dead machine are given up [340s]")
    ] = None


def _init_options(
    *, config: Path | None = None, pod_eviction_timeout: float | None = None, **given: Any
) -> InitOptions:
    """Flags first, then the file, then what this control plane was made from before, then the defaults."""
    from bootstrap import cluster_config
    from bootstrap.commands import ControlPlane

    earlier = ControlPlane(given.get("data_dir", DATA_DIR)).cluster_config
    if config or earlier.exists():
        with told():
            known = cluster_config.load(config or earlier)
        given = {"pod_cidr": known.pod_cidr, "service_cidr": known.service_cidr, "timing": known.timing} | given
    if pod_eviction_timeout is not None:
        if pod_eviction_timeout < MIN_EVICTION_SECONDS:
            raise CliError(f"--pod-eviction-timeout must be at least {MIN_EVICTION_SECONDS:g}s")
        given["timing"] = Timing.evicting_after(pod_eviction_timeout)
    return InitOptions(**given)


@takes(InitFlags, _init_options)
def init(
    options: InitOptions,
    *,
    write_kubeconfig: Annotated[bool, typer.Option(help="Put the cluster into your kubeconfig.")] = True,
) -> None:
    """Make this machine a control plane and print the line that makes another machine a node."""
    with told():
        from bootstrap import kubeconfig
        from bootstrap.init import init as start

        targets = kubeconfig.user_kubeconfigs() if write_kubeconfig else []
        result = start(replace(options, kubeconfig=targets[0] if targets else None), _say)
        for target in targets[1:]:
            kubeconfig.merge(result.kubeconfig, target, context=options.context)


@takes(JoinOptions)
def join(options: JoinOptions) -> None:
    """Make this machine a node of a cluster; with --control-plane, one of its control planes."""
    with told():
        if options.control_plane:
            _join_control_plane(options)
            return
        from bootstrap.join import join as start

        result = start(options, _say, images=_sample_images)
    print(f"node {result.node_name} ({result.node_ip}) has joined")


def _sample_images(directory: Path) -> Path | None:
    """What examples/ names is on every node, as no registry has it. Without a static busybox it is left out."""
    from bootstrap.errors import PreflightError
    from lab import images

    try:
        return images.ensure(directory).parent
    except PreflightError as error:
        _say(f"the images of the examples are left out: {error}")
        return None


def _join_control_plane(options: JoinOptions) -> None:
    from bootstrap import kubeconfig
    from bootstrap.commands import ControlPlane
    from bootstrap.join_control_plane import join_control_plane

    server = join_control_plane(options, _say)
    for target in kubeconfig.user_kubeconfigs():
        kubeconfig.merge(ControlPlane(options.data_dir).admin_conf, target, context=InitOptions.context)
    print(f"control plane {server} has joined")


def reset(
    data_dir: Annotated[str, typer.Option(help="Where this machine keeps its part of the cluster.")] = str(DATA_DIR),
    docker_host: Annotated[str, typer.Option(help="The node's Docker engine.")] = DOCKER_HOST,
    force: Annotated[bool, typer.Option("--force", "-f", help="Do not ask.")] = False,
) -> None:
    """Undo init or join on this machine: stop its processes, remove its pods and files."""
    if not force:
        if not sys.stdin.isatty():
            raise CliError("reset removes this machine's part of the cluster; say --force to mean it")
        if input("This removes this machine's part of the cluster, etcd's data included. Go on? [y/N] ").lower() != "y":
            raise CliError("nothing was changed")
    with told():
        from bootstrap.reset import reset as undo

        undo(Path(data_dir), _say, docker_host=docker_host)


# Tokens

AdminConf = Annotated[
    str, typer.Option("--kubeconfig", help="The administrator's kubeconfig; that of `init` if not given.")
]


def create(
    token: Annotated[str | None, typer.Argument(metavar="[TOKEN]")] = None,
    ttl: Annotated[str, typer.Option(help="How long it is good for; 0s is for ever.")] = f"{TOKEN_TTL:g}s",
    description: Annotated[str, typer.Option(help="What it is for.")] = "",
    print_join_command: Annotated[bool, typer.Option("--print-join-command", help="Print the whole line.")] = False,
    kubeconfig: AdminConf = "",
) -> None:
    """Make a token a machine can join with."""
    admin = _admin_conf(kubeconfig)
    with told():
        from bootstrap import tokens

        made = tokens.create(admin, ttl=seconds(ttl), token=token, description=description)
        print(tokens.join_command(admin, made) if print_join_command else made)


def list_tokens(kubeconfig: AdminConf = "") -> None:
    """List the tokens."""
    from datetime import UTC, datetime

    from api.durations import human_duration

    admin = _admin_conf(kubeconfig)
    with told():
        from bootstrap import tokens

        found = tokens.list_tokens(admin)
    rows = [["TOKEN", "TTL", "EXPIRES", "DESCRIPTION"]]
    for each in found:
        left = (each.expires - datetime.now(UTC)).total_seconds() if each.expires else 0.0
        ttl = "<forever>" if not each.expires else human_duration(left) if left > 0 else "<expired>"
        expires = f"{each.expires:%Y-%m-%dT%H:%M:%SZ}" if each.expires else "<never>"
        rows.append([each.token, ttl, expires, each.description])
    print("\n".join(Columns().render(rows)))


def delete(token: Annotated[str, typer.Argument(metavar="TOKEN | ID")], kubeconfig: AdminConf = "") -> None:
    """Withdraw a token."""
    admin = _admin_conf(kubeconfig)
    with told():
        from bootstrap import tokens

        tokens.delete(admin, token)
    print(f'bootstrap token "{token.partition(".")[0]}" deleted')


def TOKEN() -> Any:
    """The `token` commands."""
    functions: dict[str, Callable[..., None]] = {"create": create, "list": list_tokens, "delete": delete}
    return group(functions, name="token", help="Tokens machines join with.")


def _admin_conf(given: str = "") -> Path:
    """The administrator's file: as given, of this machine's control plane, or of the lab."""
    if given:
        if not Path(given).exists():
            raise CliError(f"stat {given}: no such file or directory")
        return Path(given)
    from bootstrap.commands import ControlPlane

    for path in (ControlPlane(DATA_DIR).admin_conf, lab("").admin_conf):
        if path.exists():
            return Path(path)
    raise CliError("this machine runs no control plane; name its administrator's file with --kubeconfig")


# The kubeconfig


def kubeconfig(access: Callable[[], Access]) -> None:
    """Print the kubeconfig of the current context, complete with its credentials, for use elsewhere.

    minikctl kubeconfig > ~/lab.kubeconfig
    """
    from bootstrap import kubeconfig as files

    try:
        found = access()
    except ConfigError:
        if GIVEN.get("kubeconfig") or GIVEN.get("context"):
            raise
        found = read(str(_admin_conf()))
    config = files.build(
        server=found.server,
        others=found.others,
        ca=found.ca or b"",
        user=found.context,
        certificate=found.certificate,
        key=found.key,
        token=found.token,
    )
    config = files.renamed(config, found.context)
    cluster, context = config["clusters"][0]["cluster"], config["contexts"][0]["context"]
    if not found.ca:
        del cluster["certificate-authority-data"]
    cluster |= {} if found.verify else {"insecure-skip-tls-verify": True}
    cluster |= {"tls-server-name": found.server_name} if found.server_name else {}
    context |= {} if found.namespace == "default" else {"namespace": found.namespace}
    sys.stdout.write(files.dump(config))


def _say(line: str) -> None:
    print(line, flush=True)
