"""What init and join can be told. Plain values, no I/O.

All times are seconds (fractions allowed). The defaults are Kubernetes' own; the lab passes faster ones
(LAB_TIMING in lab/cluster.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

DATA_DIR = Path("/var/lib/minik")
SECURE_PORT = 6443
KUBELET_PORT = 10250
ETCD_CLIENT_PORT = 23790
ETCD_PEER_PORT = 23800
POD_CIDR = "10.244.0.0/16"
SERVICE_CIDR = "10.96.0.0/16"
SERVICE_NODE_PORTS = "30000-32767"
CLUSTER_DNS = "10.96.0.10"
CLUSTER_DOMAIN = "cluster.local"
TOKEN_TTL = 24 * 3600.0


@dataclass(frozen=True, kw_only=True)
class Timing:
    """How soon the cluster notices things, in seconds. Control plane and nodes must agree on the node part."""

    node_status_update_frequency: float = 10
    node_lease_duration: float = 40
    node_monitor_period: float = 5
    node_monitor_grace_period: float = 40
    default_toleration: float = 300
    leader_lease_duration: float = 15
    leader_renew_deadline: float = 10
    leader_retry_period: float = 2


@dataclass(frozen=True, kw_only=True)
class InitOptions:
    """One control plane on this machine.

    advertise_address None: the address of the default route. etcd_servers empty: init runs an etcd of its own.
    kubeconfig None: admin.conf is written but no user's kubeconfig is touched.
    extra_args: component name -> arguments appended to its command line.
    """

    data_dir: Path = DATA_DIR
    advertise_address: str | None = None
    bind_address: str = "0.0.0.0"
    secure_port: int = SECURE_PORT
    extra_sans: tuple[str, ...] = ()
    pod_cidr: str = POD_CIDR
    service_cidr: str = SERVICE_CIDR
    etcd_servers: tuple[str, ...] = ()
    etcd_cafile: Path | None = None
    etcd_certfile: Path | None = None
    etcd_keyfile: Path | None = None
    etcd_client_port: int = ETCD_CLIENT_PORT
    etcd_peer_port: int = ETCD_PEER_PORT
    token: str | None = None
    token_ttl: float = TOKEN_TTL
    kubeconfig: Path | None = None
    context: str = "minik"
    timing: Timing = field(default_factory=Timing)
    timeout: float = 60
    extra_args: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class InitResult:
    """join_command: the line to paste on the next machine. kubeconfig: the administrator's file (admin.conf)."""

    join_command: str
    kubeconfig: Path
    server: str
    token: str
    ca_cert_hash: str


@dataclass(frozen=True, kw_only=True)
class JoinOptions:
    """One node. server is HOST:PORT; ca_cert_hashes are `sha256:<hex>` of the CA's public key, as kubeadm prints them.

    node_name None: the hostname. node_ip None: the address this machine reaches the server from.
    wait: return only when the Node is Ready.
    """

    server: str
    token: str
    ca_cert_hashes: tuple[str, ...] = ()
    unsafe_skip_ca_verification: bool = False
    data_dir: Path = DATA_DIR
    node_name: str | None = None
    node_ip: str | None = None
    docker_host: str = "unix:///var/run/docker.sock"
    sandbox_image: str | None = None
    image_dir: Path | None = None
    cgroup_parent: str | None = None
    node_labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[str, ...] = ()
    pod_cidr: str = POD_CIDR
    service_cidr: str = SERVICE_CIDR
    cluster_dns: str = CLUSTER_DNS
    cluster_domain: str = CLUSTER_DOMAIN
    timing: Timing = field(default_factory=Timing)
    timeout: float = 60
    wait: bool = True
    extra_args: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class JoinResult:
    """The node as it is known to the cluster, and the kubelet's own kubeconfig."""

    node_name: str
    node_ip: str
    kubeconfig: Path
