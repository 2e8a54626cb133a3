"""The controller manager's boot story.

    python -m controllers --kubeconfig FILE --cluster-cidr 10.244.0.0/16 \\
        --cluster-signing-cert-file CA --cluster-signing-key-file KEY --root-ca-file CA

Durations are seconds (fractions allowed) or Go's notation (`1m30s`).
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from lightkube import ConfigError
from lightkube.resources.core_v1 import ReplicationController

from api.durations import parse_duration
from api.process import configure_logging, run_until_signalled
from client.config import Client, connect
from client.leader import LeaderElector, LeadershipLost, LeaseTiming
from controllers import signing
from controllers.attach_detach import AttachDetachController
from controllers.clusterrole_aggregation import ClusterRoleAggregation
from controllers.cronjob import CronJobController
from controllers.csr import CsrController, Lifetimes
from controllers.daemonset import DaemonSetController
from controllers.deployment import DeploymentController
from controllers.disruption import DisruptionController
from controllers.endpoint import EndpointsController
from controllers.endpointslice import EndpointSliceController
from controllers.endpointslicemirroring import EndpointSliceMirroringController
from controllers.ephemeral_volume import EphemeralVolumeController
from controllers.garbage_collector import GarbageCollector
from controllers.horizontalpodautoscaler import SYNC_SECONDS, HorizontalPodAutoscalerController
from controllers.job import JobController
from controllers.loadbalancer import LoadBalancerController
from controllers.manager import Manager
from controllers.namespace import NamespaceController
from controllers.node_ipam import NodeIpamController
from controllers.node_lifecycle import NodeLifecycleController, Timing
from controllers.pod_gc import Limits, PodGarbageCollector
from controllers.replicaset import ReplicaSetController
from controllers.serviceaccount import ServiceAccountController
from controllers.statefulset import StatefulSetController
from controllers.taint_eviction import TaintEvictionController
from controllers.token_cleaner import TokenCleaner
from controllers.volume_binding import VolumeBindingController
from controllers.volume_protection import VolumeProtectionController
from controllers.zones import EvictionLimits

LEASE_NAME = "kube-controller-manager"


def main(argv: list[str] | None = None) -> None:
    options = parse(argv)
    configure_logging(options.v)
    try:
        run_until_signalled(run(options))
    except (LeadershipLost, ConfigError, OSError, ValueError) as error:
        logging.getLogger("controllers").error("%s", error)
        sys.exit(1)


async def run(options: argparse.Namespace) -> None:
    """Connect, become leader, run every loop."""
    client = connect(options.kubeconfig, agent="kube-controller-manager")
    manager = build(client, options)
    if not options.leader_elect:
        await manager.run()
        return
    timing = LeaseTiming(
        lease=options.leader_elect_lease_duration,
        renew_deadline=options.leader_elect_renew_deadline,
        retry=options.leader_elect_retry_period,
    )
    await LeaderElector(client, name=LEASE_NAME, timing=timing).run(manager.run)


def build(client: Client, options: argparse.Namespace) -> Manager:
    """All the loops, not running yet. Raises OSError and ValueError for files and ranges that cannot be used."""
    manager = Manager(client)
    ClusterRoleAggregation(manager)
    DeploymentController(manager)
    ReplicaSetController(manager)
    ReplicaSetController(manager, ReplicationController)
    StatefulSetController(manager)
    DaemonSetController(manager)
    DisruptionController(manager)
    JobController(manager)
    CronJobController(manager)
    HorizontalPodAutoscalerController(manager, period=options.horizontal_pod_autoscaler_sync_period)
    EndpointSliceController(manager)
    EndpointsController(manager)
    EndpointSliceMirroringController(manager)
    LoadBalancerController(manager)
    NodeLifecycleController(
        manager,
        timing=Timing(
            grace=options.node_monitor_grace_period,
            startup_grace=options.node_startup_grace_period,
            period=options.node_monitor_period,
        ),
        limits=EvictionLimits(
            rate=options.node_eviction_rate,
            secondary_rate=options.secondary_node_eviction_rate,
            large=options.large_cluster_size_threshold,
            threshold=options.unhealthy_zone_threshold,
        ),
    )
    TaintEvictionController(manager)
    VolumeBindingController(manager)
    VolumeProtectionController(manager)
    AttachDetachController(manager)
    EphemeralVolumeController(manager)
    PodGarbageCollector(
        manager,
        limits=Limits(quarantine=options.node_deleted_quarantine, finished=options.terminated_pod_gc_threshold),
    )
    if options.allocate_node_cidrs:
        NodeIpamController(manager, cluster_cidr=options.cluster_cidr, node_mask=options.node_cidr_mask_size)
    GarbageCollector(manager)
    NamespaceController(manager)
    CsrController(
        manager,
        authority=_authority(options),
        lifetimes=Lifetimes(
            certificate=options.cluster_signing_duration,
            settled=options.csr_settled_retention,
            pending=options.csr_pending_retention,
        ),
    )
    root_ca = Path(options.root_ca_file).read_text() if options.root_ca_file else None
    ServiceAccountController(manager, root_ca=root_ca)
    TokenCleaner(manager)
    return manager


def _authority(options: argparse.Namespace) -> signing.Authority | None:
    """What signs; without both files CSRs are not signed here."""
    if not (options.cluster_signing_cert_file and options.cluster_signing_key_file):
        return None
    return signing.load_authority(
        Path(options.cluster_signing_cert_file).read_bytes(), Path(options.cluster_signing_key_file).read_bytes()
    )


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="controllers", description="The controller manager.")
    add = parser.add_argument
    add("--kubeconfig", required=True, help="how to reach the API server")
    add("--leader-elect", type=_boolean, nargs="?", const=True, default=True)
    add("--leader-elect-lease-duration", type=parse_duration, default=15.0)
    add("--leader-elect-renew-deadline", type=parse_duration, default=10.0)
    add("--leader-elect-retry-period", type=parse_duration, default=2.0)
    add("--allocate-node-cidrs", type=_boolean, nargs="?", const=True, default=True)
    add("--cluster-cidr", default="10.244.0.0/16", help="addresses of all pods")
    add("--node-cidr-mask-size", type=int, default=24, help="prefix length of a node's share of them")
    add("--node-monitor-period", type=parse_duration, default=5.0, help="how often silent nodes are looked at")
    add("--node-monitor-grace-period", type=parse_duration, default=40.0, help="silence until a node is lost")
    add("--node-startup-grace-period", type=parse_duration, default=60.0, help="the same before its first word")
    add("--node-eviction-rate", type=float, default=0.1, help="lost nodes given up a second, in a zone")
    add("--secondary-node-eviction-rate", type=float, default=0.01, help="the same when most of a large zone is lost")
    add("--large-cluster-size-threshold", type=int, default=50, help="nodes; a smaller zone then gives none up")
    add("--unhealthy-zone-threshold", type=float, default=0.55, help="the part of a zone's nodes that is most of them")
    add("--node-deleted-quarantine", type=parse_duration, default=5.0, help="until a deleted node's pods go")
    add("--horizontal-pod-autoscaler-sync-period", type=parse_duration, default=SYNC_SECONDS)
    add("--terminated-pod-gc-threshold", type=int, default=12_500, help="finished pods kept")
    add("--cluster-signing-cert-file", help="the CA that signs node certificates")
    add("--cluster-signing-key-file", help="its key")
    add("--cluster-signing-duration", type=parse_duration, default=Lifetimes.certificate)
    add("--csr-settled-retention", type=parse_duration, default=Lifetimes.settled)
    add("--csr-pending-retention", type=parse_duration, default=Lifetimes.pending)
    add("--root-ca-file", help="published to every namespace as ConfigMap kube-root-ca.crt")
    # Tokens are signed by the API server on request; the flag is accepted because Kubernetes' manager has it.
    add("--service-account-private-key-file")
    add("-v", type=int, default=0, help="log verbosity; 4 and up is debug")
    return parser.parse_args(argv)


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError("true or false expected")
    return text.lower() == "true"
