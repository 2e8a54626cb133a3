"""Make this machine a control plane, as `kubeadm init` does. Read init() top to bottom: it is the boot story.

Running it again is harmless: certificates and the etcd data are kept, only processes whose command line changed are
restarted, and a fresh join line is printed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from lightkube.models.meta_v1 import ObjectMeta
from lightkube.models.networking_v1 import IngressClassSpec
from lightkube.resources.networking_v1 import IngressClass

from api.ingress import CONTROLLER
from bootstrap import (
    apiclient,
    cluster_config,
    commands,
    credentials,
    discovery,
    kubeconfig,
    pki,
    preflight,
    supervisor,
    systemd,
    tokens,
    upload_certs,
)
from bootstrap.commands import ControlPlane
from bootstrap.errors import BootstrapError, PreflightError
from bootstrap.etcd import Membership
from bootstrap.options import InitOptions, InitResult
from client.files import write_atomic

__all__ = ["InitOptions", "InitResult", "init"]

Report = Callable[[str], None]


def init(options: InitOptions, report: Report) -> InitResult:
    """Start a control plane and wait until it answers. Raises BootstrapError."""
    place = ControlPlane(options.data_dir)
    address = _preflight(options, place)
    server = credentials.server_url(address, options.secure_port)

    report("writing certificates")
    credentials.write(options, address=address, server=server)

    report(f"starting {'the' if options.etcd_servers else 'etcd,'} API server, scheduler, controllers and storage")
    start(options, place, address=address)
    wait_ready(place, server, options.timeout)
    report(f"the API server is ready at {server}")

    result = invite(options, place, server)
    if not options.etcd_servers:
        Membership.at(place.pki, ["127.0.0.1"]).correct(address)
    if options.kubeconfig:
        kubeconfig.merge(place.admin_conf, options.kubeconfig, context=options.context)
        report(f"context {options.context} is in {options.kubeconfig}")

    line = result.join_command
    if result.certificate_key:
        report("to add a control plane, run within two hours on it, as root (two are worse than one: both must be up):")
        report(f"  {line} --control-plane --certificate-key {result.certificate_key}")
    report("to add a node, run on it, as root:")
    report(f"  {line}")
    return result


def invite(options: InitOptions, place: ControlPlane, server: str) -> InitResult:
    """Put into a running API server what machines need to join, and make the line that does it."""
    ca_hash = pki.ca_hash(pki.load_certificate(place.pki / "ca.crt"))
    token = options.token or tokens.generate()
    tokens.create(place.admin_conf, token=token, ttl=options.token_ttl, description="made by init", replace=True)
    with apiclient.connect(place.admin_conf) as client, apiclient.one_line_errors():
        cluster_config.publish(client, cluster_config.of(options))
        discovery.publish(client, place, add=server)
        apiclient.create_or_replace(client, _ingress_class(), keep=True)
        certificate_key = upload_certs.upload(client, place.pki) if options.upload_certs else ""
    return InitResult(
        join_command=tokens.command(server, token=token, ca_cert_hash=ca_hash),
        certificate_key=certificate_key,
        kubeconfig=place.admin_conf,
        server=server,
        token=token,
        ca_cert_hash=ca_hash,
    )


def start(options: InitOptions, place: ControlPlane, *, address: str) -> None:
    """Let the processes of a control plane run, as the options say."""
    write_atomic(place.cluster_config, cluster_config.render(cluster_config.of(options)))
    supervisor.write_config(place.directory, commands.control_plane(options, advertise_address=address))
    systemd.run(place.directory)


def _preflight(options: InitOptions, place: ControlPlane) -> str:
    """Check the machine; returns the address to advertise."""
    preflight.require_root("init")
    if options.token:
        tokens.parse(options.token)
    address = options.advertise_address or preflight.default_address()
    preflight.require_separate({"pods": options.pod_cidr, "Services": options.service_cidr, "this machine": address})
    preflight.require_free_range(options.pod_cidr, purpose="pods", flag="--pod-network-cidr")
    preflight.require_free_range(options.service_cidr, purpose="Services", flag="--service-cidr")
    preflight.require_programs(["nbdkit", *([] if options.etcd_servers else ["etcd"])])
    if supervisor.running(place.directory) is None:
        bind = options.bind_address
        preflight.require_free_port(options.secure_port, address=bind, purpose="API server")
        if not options.etcd_servers:
            preflight.require_free_port(options.etcd_client_port, address="127.0.0.1", purpose="etcd clients")
            preflight.require_free_port(options.etcd_peer_port, address=address, purpose="etcd peers")
    for path in (options.etcd_cafile, options.etcd_certfile, options.etcd_keyfile):
        if path and not path.is_file():
            raise PreflightError(f"{path} is not a file")
    return address


def wait_ready(place: ControlPlane, server: str, timeout: float) -> None:
    """Until the API server answers. Raises BootstrapError, naming what does not stay up."""
    if not apiclient.wait_ready(server, place.pki / "ca.crt", timeout=timeout):
        troubled = _troubled(supervisor.status(place.directory))
        hint = f"{troubled} keeps exiting; " if troubled else ""
        name = troubled or "apiserver"
        raise BootstrapError(
            f"the API server was not ready within {timeout:g} s; {hint}see {place.directory}/logs/{name}.log"
        )


def _troubled(children: Iterable[supervisor.ChildStatus]) -> str | None:
    """The first child that does not stay up: what it needs stands before it in the list."""
    return next((child.name for child in children if child.restarts or child.state != "running"), None)


def _ingress_class() -> IngressClass:
    """The class of every node's ingress, and so of a manifest that names none; the administrator may change it."""
    metadata = ObjectMeta(name="minik", annotations={"ingressclass.kubernetes.io/is-default-class": "true"})
    return IngressClass(metadata=metadata, spec=IngressClassSpec(controller=CONTROLLER))
