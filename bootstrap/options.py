"""What init and join can be told. Plain values, no I/O. A field with an `Option` is one of `minikctl init|join` too.

All times are seconds (fractions allowed). The defaults are Kubernetes' own; the lab passes faster ones
(LAB_TIMING in lab/cluster.py). What all machines of a cluster must agree on is not told to join: cluster_config.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, NamedTuple

DATA_DIR = Path("/var/lib/minik")
DOCKER_HOST = "unix:///var/run/docker.sock"
SECURE_PORT = 6443
KUBELET_PORT = 10250
ETCD_CLIENT_PORT = 23790
ETCD_PEER_PORT = 23800
POD_CIDR = "10.244.0.0/16"
SERVICE_CIDR = "10.96.0.0/16"
SERVICE_NODE_PORTS = "30000-32767"
CLUSTER_DOMAIN = "cluster.local"
TOKEN_TTL = 24 * 3600.0


class Option(NamedTuple):
    """How the command line calls a field. Without a flag it is a word of its own, and `help` is what it stands for."""

    flag: str
    help: str


@dataclass(frozen=True, kw_only=True)
class Timing:
    """How soon the cluster notices things, in seconds."""

    node_status_update_frequency: float = 10
    node_lease_duration: float = 40
    node_monitor_period: float = 5
    node_monitor_grace_period: float = 40
    default_toleration: float = 300
    leader_lease_duration: float = 15
    leader_renew_deadline: float = 10
    leader_retry_period: float = 2
    identity_lease_duration: float = 15
    etcd_election_timeout: float = 1

    @classmethod
    def evicting_after(cls, seconds: float) -> Timing:
        """Pods of a dead machine are given up after about `seconds`: silence is noticed, then tolerated a while."""
        grace = seconds * 3 / 4
        return cls(
            node_status_update_frequency=min(10, grace / 2.5),
            node_lease_duration=min(40, grace * 4 / 5),
            node_monitor_period=min(5, grace / 10),
            node_monitor_grace_period=grace,
            default_toleration=seconds - grace,
        )


@dataclass(frozen=True, kw_only=True)
class InitOptions:
    """One control plane on this machine.

    advertise_address None: the address of the default route. etcd_servers empty: init runs an etcd of its own.
    kubeconfig None: admin.conf is written but no user's kubeconfig is touched.
    extra_args: component name -> arguments appended to its command line.
    """

    data_dir: Annotated[Path, Option("--data-dir", "Where this machine keeps its part of the cluster.")] = DATA_DIR
    advertise_address: Annotated[
        str | None,
        Option(
            "--apiserver-advertise-address", "The address others reach this machine at; else that of the default route."
        ),
    ] = None
    bind_address: str = "0.0.0.0"
    secure_port: Annotated[int, Option("--apiserver-bind-port", "The API server's port.")] = SECURE_PORT
    extra_sans: Annotated[
        tuple[str, ...], Option("--apiserver-cert-extra-sans", "More names and addresses the API server is reached by.")
    ] = ()
    pod_cidr: Annotated[str, Option("--pod-network-cidr", "The addresses of pods.")] = POD_CIDR
    service_cidr: Annotated[str, Option("--service-cidr", "The addresses of Services.")] = SERVICE_CIDR
    etcd_servers: Annotated[
        tuple[str, ...], Option("--etcd-servers", "URLs of an existing etcd; without, one is started here.")
    ] = ()
    etcd_cafile: Annotated[Path | None, Option("--etcd-cafile", "The CA of that etcd.")] = None
    etcd_certfile: Annotated[Path | None, Option("--etcd-certfile", "The certificate to show it.")] = None
    etcd_keyfile: Annotated[Path | None, Option("--etcd-keyfile", "The key of that certificate.")] = None
    etcd_client_port: int = ETCD_CLIENT_PORT
    etcd_peer_port: int = ETCD_PEER_PORT
    token: Annotated[str | None, Option("--token", "The token nodes join with; a random one if not given.")] = None
    token_ttl: Annotated[float, Option("--token-ttl", "How long the token is good for; 0s is for ever.")] = TOKEN_TTL
    kubeconfig: Path | None = None
    context: Annotated[str, Option("--context", "The name of the context in your kubeconfig.")] = "minik"
    upload_certs: Annotated[
        bool, Option("--upload-certs", "Let other control planes join, for two hours: prints their line, too.")
    ] = False
    timing: Timing = field(default_factory=Timing)
    timeout: Annotated[float, Option("--timeout", "How long to wait for it to work.")] = 60
    extra_args: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class InitResult:
    """join_command: the line to paste on the next machine. kubeconfig: the administrator's file (admin.conf).

    certificate_key: with it a machine may join as a control plane; empty unless upload_certs was asked for.
    """

    join_command: str
    certificate_key: str = ""
    kubeconfig: Path
    server: str
    token: str
    ca_cert_hash: str


@dataclass(frozen=True, kw_only=True)
class JoinOptions:
    """One node. server is HOST:PORT; ca_cert_hashes are `sha256:<hex>` of the CA's public key, as kubeadm prints them.

    node_name None: the hostname. node_ip None: the address this machine reaches the server from.
    wait: Annotated[return only when the Node is Ready., Option("--wait/--no-wait", "Return when the node is Ready.")]
    """

    server: Annotated[str, Option("", "HOST:PORT")]
    token: Annotated[str, Option("--token", "The token that `init` or `token create` printed.")]
    ca_cert_hashes: Annotated[
        tuple[str, ...],
        Option("--discovery-token-ca-cert-hash", "sha256:... of the cluster's CA, as printed beside the token."),
    ] = ()
    unsafe_skip_ca_verification: Annotated[
        bool, Option("--discovery-token-unsafe-skip-ca-verification", "Trust whoever answers.")
    ] = False
    data_dir: Annotated[Path, Option("--data-dir", "Where this machine keeps its part of the cluster.")] = DATA_DIR
    node_name: Annotated[str | None, Option("--node-name", "The node's name; the host's name if not given.")] = None
    node_ip: Annotated[str | None, Option("--node-ip", "The address other nodes reach this one at.")] = None
    docker_host: Annotated[str, Option("--docker-host", "The node's Docker engine.")] = DOCKER_HOST
    sandbox_image: Annotated[str | None, Option("--sandbox-image", "Another image for pods' sandboxes.")] = None
    image_dir: Annotated[Path | None, Option("--image-dir", "A folder of image archives to load at start.")] = None
    cgroup_parent: str | None = None
    node_labels: Annotated[Mapping[str, str], Option("--node-labels", "Labels of the node: KEY=VALUE,...")] = field(
        default_factory=dict
    )
    taints: Annotated[
        tuple[str, ...], Option("--register-with-taints", "Taints of the node: KEY=VALUE:EFFECT,...")
    ] = ()
    control_plane: Annotated[
        bool, Option("--control-plane", "Be another control plane: etcd, API server, scheduler and controllers.")
    ] = False
    certificate_key: Annotated[
        str, Option("--certificate-key", "What `init --upload-certs` printed, for --control-plane.")
    ] = ""
    advertise_address: Annotated[
        str | None, Option("--apiserver-advertise-address", "With --control-plane: the address others reach it at.")
    ] = None
    timeout: Annotated[float, Option("--timeout", "How long to wait for it to work.")] = 60
    wait: bool = True
    extra_args: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class JoinResult:
    """The node as it is known to the cluster, and the kubelet's own kubeconfig."""

    node_name: str
    node_ip: str
    kubeconfig: Path
