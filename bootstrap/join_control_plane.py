"""Make this machine one more control plane, as `kubeadm join --control-plane` does. The function is the story.

The machine gets the cluster's keys from the cluster itself, sealed with the certificate key of the join line, makes
certificates of its own from them, and adds its etcd as a learner, which gets a vote when it has caught up: at no time
does a majority need a member that is not there yet. Running it again goes on where it stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from urllib.parse import urlsplit

from bootstrap import (
    apiclient,
    cluster_config,
    credentials,
    discovery,
    preflight,
    supervisor,
    tokens,
    upload_certs,
)
from bootstrap.commands import ControlPlane
from bootstrap.errors import PreflightError
from bootstrap.etcd import Membership
from bootstrap.init import start, wait_ready
from bootstrap.options import ETCD_CLIENT_PORT, ETCD_PEER_PORT, SECURE_PORT, InitOptions, JoinOptions
from client.files import write_atomic

Report = Callable[[str], None]


def join_control_plane(options: JoinOptions, report: Report) -> str:
    """Join the cluster at options.server as a control plane; returns this API server's URL. Raises BootstrapError."""
    deadline = time.monotonic() + options.timeout
    place = ControlPlane(options.data_dir)
    address = _preflight(options, place)
    server = credentials.server_url(address, SECURE_PORT)

    report(f"looking for the cluster at {options.server}")
    cluster = discovery.discover(options, deadline=deadline)
    by_token = discovery.by_token(cluster, options.token)
    with apiclient.connect_with(by_token) as client, apiclient.one_line_errors():
        upload_certs.download(client, options.certificate_key, place.pki)
        shared = cluster_config.fetch(client)

    report("writing certificates")
    own = InitOptions(
        data_dir=options.data_dir,
        advertise_address=address,
        pod_cidr=shared.pod_cidr,
        service_cidr=shared.service_cidr,
        timing=shared.timing,
        extra_args=options.extra_args,
    )
    credentials.write(own, address=address, server=server)

    report("joining etcd")
    others = [urlsplit(each).hostname or "" for each in cluster.servers if each != server]
    etcd = Membership.at(place.pki, others)
    known = etcd.enlist(address, has_data=(place.etcd_data / "member").exists(), deadline=deadline)
    write_atomic(place.etcd_initial_cluster, known)
    start(own, place, address=address)
    votes = etcd.promote(address, deadline=deadline)
    report(f"etcd has {votes} members")
    if votes == 2:
        report("two members are worse than one, as both must be up: add a third")

    wait_ready(place, server, deadline - time.monotonic())
    with apiclient.connect(place.admin_conf) as client, apiclient.one_line_errors():
        discovery.publish(client, place, add=server)
    report(f"the API server is ready at {server}")
    return server


def _preflight(options: JoinOptions, place: ControlPlane) -> str:
    """Check the machine; returns the address to advertise."""
    preflight.require_root("join")
    tokens.parse(options.token)
    preflight.require_programs(["etcd", "nbdkit"])
    if not options.certificate_key:
        raise PreflightError("--control-plane needs --certificate-key, which minikctl init --upload-certs prints")
    host, port = preflight.split_endpoint(options.server, default_port=SECURE_PORT)
    address = options.advertise_address or preflight.address_towards(host, port)
    if supervisor.running(place.directory) is None:
        preflight.require_free_port(SECURE_PORT, address="0.0.0.0", purpose="API server")
        preflight.require_free_port(ETCD_CLIENT_PORT, address=address, purpose="etcd clients")
        preflight.require_free_port(ETCD_PEER_PORT, address=address, purpose="etcd peers")
    return address
