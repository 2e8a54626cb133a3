"""`minikctl init|join|reset|token`: real machines. The work is bootstrap/'s; this reads the command line."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.command import PlainCommand, group
from cli.errors import CliError
from cli.lab_choice import told
from cli.waiting import seconds

DATA_DIR = "/var/lib/minik"

DataDir = Annotated[str, typer.Option(help="Where this machine keeps its part of the cluster.")]
DockerHost = Annotated[str, typer.Option(help="The node's Docker engine.")]
Timeout = Annotated[str, typer.Option(help="How long to wait for it to work.")]


def init(
    apiserver_advertise_address: Annotated[
        str | None,
        typer.Option(help="The address others reach this machine at; that of the default route if not given."),
    ] = None,
    apiserver_bind_port: Annotated[int, typer.Option(help="The API server's port.")] = 6443,
    apiserver_cert_extra_sans: Annotated[str, typer.Option(help="More names and addresses it is reached by.")] = "",
    pod_network_cidr: Annotated[str, typer.Option(help="The addresses of pods.")] = "10.244.0.0/16",
    service_cidr: Annotated[str, typer.Option(help="The addresses of Services.")] = "10.96.0.0/16",
    etcd_servers: Annotated[str, typer.Option(help="URLs of an existing etcd; without, one is started here.")] = "",
    etcd_cafile: Annotated[str, typer.Option(help="The CA of that etcd.")] = "",
    etcd_certfile: Annotated[str, typer.Option(help="The certificate to show it.")] = "",
    etcd_keyfile: Annotated[str, typer.Option(help="The key of that certificate.")] = "",
    token: Annotated[str | None, typer.Option(help="The token nodes join with; a random one if not given.")] = None,
    token_ttl: Annotated[str, typer.Option(help="How long the token is good for; 0 is for ever.")] = "24h",
    data_dir: DataDir = DATA_DIR,
    context: Annotated[str, typer.Option(help="The name of the context in your kubeconfig.")] = "minik",
    write_kubeconfig: Annotated[bool, typer.Option(help="Put the cluster into your kubeconfig.")] = True,
    timeout: Timeout = "60s",
) -> None:
    """Make this machine a control plane and print the line that makes another machine a node."""
    with told():
        from bootstrap import kubeconfig
        from bootstrap.init import init as start
        from bootstrap.options import InitOptions

        targets = kubeconfig.user_kubeconfigs() if write_kubeconfig else []
        options = InitOptions(
            data_dir=Path(data_dir),
            advertise_address=apiserver_advertise_address,
            secure_port=apiserver_bind_port,
            extra_sans=_words(apiserver_cert_extra_sans),
            pod_cidr=pod_network_cidr,
            service_cidr=service_cidr,
            etcd_servers=_words(etcd_servers),
            etcd_cafile=_path(etcd_cafile),
            etcd_certfile=_path(etcd_certfile),
            etcd_keyfile=_path(etcd_keyfile),
            token=token,
            token_ttl=seconds(token_ttl),
            kubeconfig=targets[0] if targets else None,
            context=context,
            timeout=seconds(timeout),
        )
        result = start(options, _say)
        for target in targets[1:]:
            kubeconfig.merge(result.kubeconfig, target, context=context)


def join(
    server: Annotated[str, typer.Argument(metavar="HOST:PORT")],
    token: Annotated[str, typer.Option(help="The token that `init` or `token create` printed.")],
    discovery_token_ca_cert_hash: Annotated[
        list[str] | None, typer.Option(help="sha256:... of the cluster's CA, as printed beside the token.")
    ] = None,
    discovery_token_unsafe_skip_ca_verification: Annotated[
        bool, typer.Option("--discovery-token-unsafe-skip-ca-verification", help="Trust whoever answers.")
    ] = False,
    node_name: Annotated[str | None, typer.Option(help="The node's name; the host's name if not given.")] = None,
    node_ip: Annotated[str | None, typer.Option(help="The address other nodes reach this one at.")] = None,
    docker_host: DockerHost = "unix:///var/run/docker.sock",
    sandbox_image: Annotated[str | None, typer.Option(help="Another image for pods' sandboxes.")] = None,
    image_dir: Annotated[str, typer.Option(help="A folder of image archives to load at start.")] = "",
    node_labels: Annotated[str, typer.Option(help="Labels of the node: KEY=VALUE,...")] = "",
    register_with_taints: Annotated[str, typer.Option(help="Taints of the node: KEY=VALUE:EFFECT,...")] = "",
    pod_network_cidr: Annotated[str, typer.Option(help="As given to init.")] = "10.244.0.0/16",
    service_cidr: Annotated[str, typer.Option(help="As given to init.")] = "10.96.0.0/16",
    cluster_dns: Annotated[str, typer.Option(help="The address of the cluster's DNS.")] = "10.96.0.10",
    data_dir: DataDir = DATA_DIR,
    wait: Annotated[bool, typer.Option(help="Return when the node is Ready.")] = True,
    timeout: Timeout = "60s",
) -> None:
    """Make this machine a node of a cluster."""
    labels = [each.partition("=") for each in _words(node_labels)]
    with told():
        from bootstrap.join import join as start
        from bootstrap.options import JoinOptions

        options = JoinOptions(
            server=server,
            token=token,
            ca_cert_hashes=tuple(discovery_token_ca_cert_hash or ()),
            unsafe_skip_ca_verification=discovery_token_unsafe_skip_ca_verification,
            data_dir=Path(data_dir),
            node_name=node_name,
            node_ip=node_ip,
            docker_host=docker_host,
            sandbox_image=sandbox_image,
            image_dir=_path(image_dir),
            node_labels={key: value for key, _, value in labels},
            taints=_words(register_with_taints),
            pod_cidr=pod_network_cidr,
            service_cidr=service_cidr,
            cluster_dns=cluster_dns,
            wait=wait,
            timeout=seconds(timeout),
        )
        result = start(options, _say)
    print(f"node {result.node_name} ({result.node_ip}) has joined")


def reset(
    data_dir: DataDir = DATA_DIR,
    docker_host: DockerHost = "unix:///var/run/docker.sock",
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
    ttl: Annotated[str, typer.Option(help="How long it is good for; 0 is for ever.")] = "24h",
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
    from cli.ages import human_duration, now
    from cli.tables import Columns

    admin = _admin_conf(kubeconfig)
    with told():
        from bootstrap import tokens

        found = tokens.list_tokens(admin)
    rows = [["TOKEN", "TTL", "EXPIRES", "DESCRIPTION"]]
    for each in found:
        left = (each.expires - now()).total_seconds() if each.expires else 0.0
        ttl = "<forever>" if not each.expires else human_duration(left) if left > 0 else "<expired>"
        rows.append(
            [each.token, ttl, f"{each.expires:%Y-%m-%dT%H:%M:%SZ}" if each.expires else "<never>", each.description]
        )
    print("\n".join(Columns().render(rows)))


def delete(token: Annotated[str, typer.Argument(metavar="TOKEN | ID")], kubeconfig: AdminConf = "") -> None:
    """Withdraw a token."""
    admin = _admin_conf(kubeconfig)
    with told():
        from bootstrap import tokens

        tokens.delete(admin, token)
    print(f'bootstrap token "{token.partition(".")[0]}" deleted')


def _admin_conf(given: str) -> Path:
    """The administrator's file: as given, of this machine's control plane, or of the lab."""
    if given:
        if not Path(given).exists():
            raise CliError(f"stat {given}: no such file or directory")
        return Path(given)
    from bootstrap.commands import ControlPlane
    from cli.lab_choice import lab

    for path in (ControlPlane(Path(DATA_DIR)).admin_conf, lab("").admin_conf):
        if path.exists():
            return Path(path)
    raise CliError("this machine runs no control plane; name its administrator's file with --kubeconfig")


def TOKEN() -> Any:
    """The `token` commands."""
    functions: dict[str, Callable[..., None]] = {"create": create, "list": list_tokens, "delete": delete}
    return group(functions, name="token", help="Tokens machines join with.", cls=PlainCommand)


def _say(line: str) -> None:
    print(line, flush=True)


def _words(text: str) -> tuple[str, ...]:
    return tuple(each.strip() for each in text.split(",") if each.strip())


def _path(text: str) -> Path | None:
    return Path(text) if text else None
