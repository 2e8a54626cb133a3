"""What the control plane shows and believes: its certificates, and a kubeconfig for each of its users.

Interface: write makes what is missing under DATA_DIR/control-plane; good files are kept, so it can run at every start.
"""

from __future__ import annotations

from pathlib import Path

from cryptography import x509

from bootstrap import commands, kubeconfig, pki
from bootstrap.commands import ControlPlane
from bootstrap.errors import BootstrapError
from bootstrap.options import InitOptions

USERS = {
    "admin_conf": pki.Request(common_name="kubernetes-admin", organizations=("system:masters",)),
    "scheduler_conf": pki.Request(common_name="system:kube-scheduler"),
    "controllers_conf": pki.Request(common_name="system:kube-controller-manager"),
    "storage_conf": pki.Request(common_name="minik:storage"),
}


def write(options: InitOptions, *, address: str, server: str) -> None:
    """Certificates for an API server that advertises `address`, and kubeconfigs that lead to `server` (a URL)."""
    place = ControlPlane(options.data_dir)
    names = pki.apiserver_names(
        advertise_address=address, service_ip=commands.service_ip(options.service_cidr), extra=options.extra_sans
    )
    place.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    pki.ensure_control_plane(place.pki, apiserver_names=names, etcd_names=() if options.etcd_servers else (address,))
    _write_kubeconfigs(place, server)


def server_url(address: str, port: int) -> str:
    return f"https://[{address}]:{port}" if ":" in address else f"https://{address}:{port}"


def _write_kubeconfigs(place: ControlPlane, server: str) -> None:
    ca = pki.Authority.ensure(place.pki, "kubernetes")
    ca_pem = pki.pem(ca.certificate)
    for attribute, request in USERS.items():
        path: Path = getattr(place, attribute)
        if _is_good(path, server, ca):
            continue
        certificate, key = ca.issue(request)
        user = request.common_name
        kubeconfig.write(path, kubeconfig.build(server=server, ca=ca_pem, user=user, certificate=certificate, key=key))


def _is_good(path: Path, server: str, ca: pki.Authority) -> bool:
    try:
        config = kubeconfig.load(path)
        certificate = x509.load_pem_x509_certificate(kubeconfig.user_certificate(config))
        same = kubeconfig.cluster_of(config) == (server, pki.pem(ca.certificate))
    except (ValueError, BootstrapError):
        return False
    return same and ca.signed(certificate) and not pki.expires_soon(certificate)
