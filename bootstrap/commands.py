"""The command line of every process init and join start: options in, argument lists out.

Layout of a data directory:

    control-plane/   pki/ admin.conf scheduler.conf controller-manager.conf storage.conf etcd/ etcd-initial-cluster
                     cluster.yaml storage/
                     supervisor.json run/ logs/
    node/            pki/ kubelet.conf volumes and other state of the kubelet, supervisor.json run/ logs/
"""

from __future__ import annotations

import ipaddress
import sys
from dataclasses import dataclass
from pathlib import Path

from bootstrap.cluster_config import ClusterConfig
from bootstrap.etcd import member_url
from bootstrap.options import SERVICE_NODE_PORTS, InitOptions, JoinOptions
from bootstrap.supervisor import Child


@dataclass(frozen=True)
class ControlPlane:
    """Where a control plane keeps its files."""

    data_dir: Path

    @property
    def directory(self) -> Path:
        return self.data_dir / "control-plane"

    @property
    def pki(self) -> Path:
        return self.directory / "pki"

    @property
    def admin_conf(self) -> Path:
        return self.directory / "admin.conf"

    @property
    def scheduler_conf(self) -> Path:
        return self.directory / "scheduler.conf"

    @property
    def controllers_conf(self) -> Path:
        return self.directory / "controller-manager.conf"

    @property
    def storage_conf(self) -> Path:
        return self.directory / "storage.conf"

    @property
    def disks(self) -> Path:
        return self.directory / "storage"

    @property
    def etcd_data(self) -> Path:
        return self.directory / "etcd"

    @property
    def etcd_initial_cluster(self) -> Path:
        """What this machine's member was told of the others when it was made."""
        return self.directory / "etcd-initial-cluster"

    @property
    def cluster_config(self) -> Path:
        return self.directory / "cluster.yaml"


@dataclass(frozen=True)
class Node:
    """Where a node keeps its files."""

    data_dir: Path

    @property
    def directory(self) -> Path:
        return self.data_dir / "node"

    @property
    def pki(self) -> Path:
        return self.directory / "pki"

    @property
    def kubelet_conf(self) -> Path:
        return self.directory / "kubelet.conf"

    @property
    def state(self) -> Path:
        return self.directory / "kubelet"

    @property
    def images(self) -> Path:
        return self.directory / "images"


def service_ip(service_cidr: str) -> str:
    """The first address of the service range: the Service `kubernetes`."""
    return str(ipaddress.ip_network(service_cidr)[1])


def control_plane(options: InitOptions, *, advertise_address: str) -> list[Child]:
    """etcd (unless an existing one is used), API server, scheduler, controllers, storage: in starting order."""
    place = ControlPlane(options.data_dir)
    children = [] if options.etcd_servers else [Child("etcd", tuple(_etcd(options, place, advertise_address)))]
    lines = {
        "apiserver": _apiserver(options, place, advertise_address),
        "scheduler": _scheduler(options, place),
        "controllers": _controllers(options, place),
        "storage": _storage(place, advertise_address),
    }
    return children + [
        _component(name, arguments, options.extra_args.get(name, ())) for name, arguments in lines.items()
    ]


def node(options: JoinOptions, cluster: ClusterConfig, *, node_name: str, node_ip: str) -> list[Child]:
    """Kubelet, proxy and ingress."""
    place = Node(options.data_dir)
    lines = {
        "kubelet": [*_kubelet(options, place, node_name, node_ip), *_of_cluster(cluster)],
        "proxy": _proxy(cluster, place, node_name),
        "ingress": _ingress(place, node_name),
    }
    return [_component(name, arguments, options.extra_args.get(name, ())) for name, arguments in lines.items()]


def _component(name: str, arguments: list[str], extra: tuple[str, ...]) -> Child:
    # -P: the current directory is not searched for modules, whatever folders happen to be in it.
    return Child(name, (sys.executable, "-P", "-m", name, *arguments, *extra))


def _etcd(options: InitOptions, place: ControlPlane, address: str) -> list[str]:
    """The local member. Its name is its address; --initial-... count only before it has data."""
    client, local = (member_url(each, options.etcd_client_port) for each in (address, "127.0.0.1"))
    peer = member_url(address, options.etcd_peer_port)
    pki = place.pki / "etcd"
    known = place.etcd_initial_cluster.read_text() if place.etcd_initial_cluster.exists() else f"{address}={peer}"
    election = round(options.timing.etcd_election_timeout * 1000)
    return [
        "etcd",
        f"--name={address}",
        f"--data-dir={place.etcd_data}",
        f"--listen-client-urls={','.join(dict.fromkeys([local, client]))}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster={known}",
        f"--initial-cluster-state={'existing' if ',' in known else 'new'}",
        f"--cert-file={pki / 'server.crt'}",
        f"--key-file={pki / 'server.key'}",
        f"--trusted-ca-file={pki / 'ca.crt'}",
        "--client-cert-auth",
        f"--peer-cert-file={pki / 'peer.crt'}",
        f"--peer-key-file={pki / 'peer.key'}",
        f"--peer-trusted-ca-file={pki / 'ca.crt'}",
        "--peer-client-cert-auth",
        f"--heartbeat-interval={election // 10}",
        f"--election-timeout={election}",
        "--pre-vote=true",  # a member that was away does not depose a leader the others hear
        "--max-txn-ops=4096",  # the API server puts many writes into one transaction
        "--auto-compaction-mode=periodic",
        "--auto-compaction-retention=10m",
        "--log-level=warn",
        "--logger=zap",
    ]


def _apiserver(options: InitOptions, place: ControlPlane, advertise_address: str) -> list[str]:
    pki = place.pki
    own = ([f"https://127.0.0.1:{options.etcd_client_port}"], pki / "etcd/ca.crt", pki / "apiserver-etcd-client")
    servers = list(options.etcd_servers) or own[0]
    files = {
        "--etcd-cafile": options.etcd_cafile if options.etcd_servers else own[1],
        "--etcd-certfile": options.etcd_certfile if options.etcd_servers else own[2].with_suffix(".crt"),
        "--etcd-keyfile": options.etcd_keyfile if options.etcd_servers else own[2].with_suffix(".key"),
        "--tls-cert-file": pki / "apiserver.crt",
        "--tls-private-key-file": pki / "apiserver.key",
        "--client-ca-file": pki / "ca.crt",
        "--kubelet-client-certificate": pki / "apiserver-kubelet-client.crt",
        "--kubelet-client-key": pki / "apiserver-kubelet-client.key",
        "--kubelet-certificate-authority": pki / "ca.crt",
        "--service-account-key-file": pki / "sa.pub",
        "--service-account-signing-key-file": pki / "sa.key",
    }
    return [
        f"--etcd-servers={','.join(servers)}",
        "--etcd-prefix=/registry",
        f"--bind-address={options.bind_address}",
        f"--secure-port={options.secure_port}",
        f"--advertise-address={advertise_address}",
        *(f"{flag}={path}" for flag, path in files.items() if path),
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-cluster-ip-range={options.service_cidr}",
        f"--service-node-port-range={SERVICE_NODE_PORTS}",
        "--enable-bootstrap-token-auth=true",
        "--anonymous-auth=true",
        f"--default-not-ready-toleration-seconds={options.timing.default_toleration:g}",
        f"--default-unreachable-toleration-seconds={options.timing.default_toleration:g}",
        f"--identity-lease-duration-seconds={options.timing.identity_lease_duration:g}",
    ]


def _leader_election(options: InitOptions) -> list[str]:
    return [
        "--leader-elect=true",
        f"--leader-elect-lease-duration={options.timing.leader_lease_duration:g}",
        f"--leader-elect-renew-deadline={options.timing.leader_renew_deadline:g}",
        f"--leader-elect-retry-period={options.timing.leader_retry_period:g}",
    ]


def _scheduler(options: InitOptions, place: ControlPlane) -> list[str]:
    return [f"--kubeconfig={place.scheduler_conf}", *_leader_election(options)]


def _controllers(options: InitOptions, place: ControlPlane) -> list[str]:
    return [
        f"--kubeconfig={place.controllers_conf}",
        *_leader_election(options),
        f"--cluster-cidr={options.pod_cidr}",
        "--node-cidr-mask-size=24",
        f"--node-monitor-grace-period={options.timing.node_monitor_grace_period:g}",
        f"--node-monitor-period={options.timing.node_monitor_period:g}",
        f"--cluster-signing-cert-file={place.pki / 'ca.crt'}",
        f"--cluster-signing-key-file={place.pki / 'ca.key'}",
        f"--service-account-private-key-file={place.pki / 'sa.key'}",
        f"--root-ca-file={place.pki / 'ca.crt'}",
    ]


def _storage(place: ControlPlane, address: str) -> list[str]:
    return [f"--kubeconfig={place.storage_conf}", f"--data-dir={place.disks}", f"--address={address}"]


def _kubelet(options: JoinOptions, place: Node, node_name: str, node_ip: str) -> list[str]:
    arguments = [
        f"--kubeconfig={place.kubelet_conf}",
        f"--hostname-override={node_name}",
        f"--node-ip={node_ip}",
        f"--docker-host={options.docker_host}",
        f"--data-dir={place.state}",
        f"--tls-cert-file={place.pki / 'kubelet.crt'}",
        f"--tls-private-key-file={place.pki / 'kubelet.key'}",
        f"--client-ca-file={place.pki / 'ca.crt'}",
    ]
    if options.sandbox_image:
        arguments.append(f"--sandbox-image={options.sandbox_image}")
    if options.image_dir:
        arguments.append(f"--image-dir={options.image_dir}")
    if options.cgroup_parent:
        arguments.append(f"--cgroup-parent={options.cgroup_parent}")
    if options.node_labels:
        labels = ",".join(f"{key}={value}" for key, value in options.node_labels.items())
        arguments.append(f"--node-labels={labels}")
    if options.taints:
        arguments.append(f"--register-with-taints={','.join(options.taints)}")
    return arguments


def _of_cluster(cluster: ClusterConfig) -> list[str]:
    """What a kubelet is told of the cluster."""
    return [
        f"--cluster-dns={cluster.cluster_dns}",
        f"--cluster-domain={cluster.cluster_domain}",
        f"--cluster-cidr={cluster.pod_cidr}",
        f"--node-status-update-frequency={cluster.timing.node_status_update_frequency:g}",
        f"--node-lease-duration-seconds={cluster.timing.node_lease_duration:g}",
    ]


def _proxy(cluster: ClusterConfig, place: Node, node_name: str) -> list[str]:
    return [
        f"--kubeconfig={place.kubelet_conf}",
        f"--hostname-override={node_name}",
        f"--cluster-cidr={cluster.pod_cidr}",
        f"--service-cluster-ip-range={cluster.service_cidr}",
        f"--cluster-dns={cluster.cluster_dns}",
        f"--cluster-domain={cluster.cluster_domain}",
    ]


def _ingress(place: Node, node_name: str) -> list[str]:
    return [
        f"--kubeconfig={place.kubelet_conf}",
        f"--hostname-override={node_name}",
        f"--data-dir={place.directory / 'ingress'}",
    ]
