"""Make this machine a node, as `kubeadm join` does. Read join() top to bottom: it is the boot story.

Trust goes both ways. The machine checks that the server is the cluster whose CA hash it was given, before it shows its
token; the cluster accepts the token only to sign certificates, and from then on the node has a name of its own.

Running it again is harmless: a node that has valid certificates of this cluster keeps them.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx2
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import NameOID
from lightkube import ApiError, Client
from lightkube.models.certificates_v1 import (
    CertificateSigningRequestCondition,
    CertificateSigningRequestSpec,
    CertificateSigningRequestStatus,
)
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.certificates_v1 import CertificateSigningRequest
from lightkube.resources.core_v1 import Node as NodeResource

from bootstrap import (
    apiclient,
    cluster_config,
    commands,
    discovery,
    kubeconfig,
    limits,
    pki,
    preflight,
    supervisor,
    systemd,
    tokens,
)
from bootstrap.commands import ControlPlane, Node
from bootstrap.discovery import Cluster
from bootstrap.errors import BootstrapError
from bootstrap.options import KUBELET_PORT, SECURE_PORT, JoinOptions, JoinResult
from client.files import write_atomic

__all__ = ["JoinOptions", "JoinResult", "join"]

Report = Callable[[str], None]

CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client-kubelet"
SERVING_SIGNER = "kubernetes.io/kubelet-serving"


def join(
    options: JoinOptions, report: Report, *, images: Callable[[Path], Path | None] = lambda directory: None
) -> JoinResult:
    """Join the cluster at options.server. Raises BootstrapError.

    images: puts archives of images into a folder for the node to load, if the options name none.
    """
    deadline = time.monotonic() + options.timeout
    place = Node(options.data_dir)
    name, address = _preflight(options, place)

    report(f"looking for the cluster at {options.server}")
    cluster = discovery.discover(options, deadline=deadline)
    if _has_certificates(place, name, address, cluster):
        report("this machine has certificates of the cluster already")
    else:
        _require_new_name(cluster, options.token, name, address)
        report("asking for certificates")
        _obtain_certificates(options, place, cluster, name=name, address=address, deadline=deadline)

    options = replace(options, image_dir=options.image_dir or images(place.images))
    report("starting kubelet, proxy and ingress")
    with apiclient.connect(place.kubelet_conf) as client, apiclient.one_line_errors():
        shared = cluster_config.fetch(client)
    supervisor.write_config(place.directory, commands.node(options, shared, node_name=name, node_ip=address))
    systemd.run(place.directory)
    if options.wait:
        wait_node_ready(place.kubelet_conf, name, timeout=deadline - time.monotonic())
        report(f"node {name} is Ready")
    return JoinResult(node_name=name, node_ip=address, kubeconfig=place.kubelet_conf)


def _preflight(options: JoinOptions, place: Node) -> tuple[str, str]:
    """Check the machine; returns the node's name and address."""
    preflight.require_root("join")
    tokens.parse(options.token)
    host, port = preflight.split_endpoint(options.server, default_port=SECURE_PORT)
    preflight.require_programs(["nft", "haproxy", "nbdfuse", "mkfs.ext4", "losetup"])
    preflight.require_docker(options.docker_host)
    try:
        address = options.node_ip or preflight.address_towards(host, port)
    except OSError as error:
        raise BootstrapError(f"there is no way to {host}: {error.strerror}") from None
    if supervisor.running(place.directory) is None:
        preflight.require_free_port(KUBELET_PORT, address="0.0.0.0", purpose="kubelet")
    return options.node_name or socket.gethostname().lower(), address


# --- certificates ---------------------------------------------------------------------------------------------------


def _has_certificates(place: Node, name: str, address: str, cluster: Cluster) -> bool:
    """Whether an earlier join left certificates that are still good for this cluster, name and address."""
    ca = cluster.certificate
    try:
        config = kubeconfig.load(place.kubelet_conf)
        client = x509.load_pem_x509_certificate(kubeconfig.user_certificate(config))
        serving = pki.load_certificate(place.pki / "kubelet.crt")
        if kubeconfig.cluster_of(config) != (cluster.server, cluster.ca):
            return False
        for certificate in (client, serving):
            certificate.verify_directly_issued_by(ca)
        names = serving.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, TypeError, x509.ExtensionNotFound, InvalidSignature):
        return False
    common_names = [attribute.value for attribute in client.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    right_name = common_names == [_node_identity(name).common_name]
    right_address = address in [str(each) for each in names.get_values_for_type(x509.IPAddress)]
    return right_name and right_address and not pki.expires_soon(client) and not pki.expires_soon(serving)


def _require_new_name(cluster: Cluster, token: str, name: str, address: str) -> None:
    """Two machines of one name would take each other's pods. One that died gives its name to another."""
    with apiclient.connect_with(discovery.by_token(cluster, token)) as client, apiclient.one_line_errors():
        try:
            node = client.get(NodeResource, name)
        except ApiError as error:
            if error.status.code == 404:
                return
            raise
    addresses = [each.address for each in (node.status.addresses if node.status else None) or []]
    if address not in addresses and _is_ready(node):
        raise BootstrapError(
            f"the cluster has a node {name} at {', '.join(addresses)}; give this machine another name (--node-name)"
        )


def _node_identity(name: str) -> pki.Request:
    return pki.Request(common_name=f"system:node:{name}", organizations=("system:nodes",))


def _obtain_certificates(
    options: JoinOptions, place: Node, cluster: Cluster, *, name: str, address: str, deadline: float
) -> None:
    """Show the token to become system:node:NAME, then ask in that name for the kubelet's server certificate."""
    place.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    _write_ca(place, cluster)
    identity = _node_identity(name)
    key = pki.new_key()
    with apiclient.connect_with(discovery.by_token(cluster, options.token)) as client, apiclient.one_line_errors():
        request = pki.certificate_request(key, identity)
        certificate = _sign(client, request, signer=CLIENT_SIGNER, usage="client auth", deadline=deadline)
    config = kubeconfig.build(
        server=cluster.server,
        others=cluster.servers,
        ca=cluster.ca,
        user=identity.common_name,
        certificate=certificate,
        key=pki.key_pem(key),
    )
    serving_key = pki.new_key()
    serving = pki.Request(common_name=identity.common_name, organizations=identity.organizations, names=(name, address))
    with apiclient.connect_with(config) as client, apiclient.one_line_errors():
        request = pki.certificate_request(serving_key, serving)
        serving_certificate = _sign(
            client,
            request,
            signer=SERVING_SIGNER,
            usage="server auth",
            deadline=deadline,
            approver=ControlPlane(options.data_dir).admin_conf,
        )
    pki.write_key(place.pki / "kubelet.key", serving_key)
    write_atomic(place.pki / "kubelet.crt", serving_certificate, mode=0o644)
    kubeconfig.write(place.kubelet_conf, config)  # last: with it the join is complete


def _write_ca(place: Node, cluster: Cluster) -> None:
    path = place.pki / "ca.crt"
    if path.exists() and path.read_bytes() != cluster.ca:
        shutil.rmtree(place.pki)  # of another cluster, which this machine is leaving
    write_atomic(path, cluster.ca, mode=0o644)


def _sign(
    client: Client, request: bytes, *, signer: str, usage: str, deadline: float, approver: Path | None = None
) -> bytes:
    """Submit a certificate request and wait for the certificate (PEM). `approver`: whose kubeconfig approves it."""
    name = f"node-csr-{secrets.token_hex(8)}"
    spec = CertificateSigningRequestSpec(
        request=_base64(request), signerName=signer, usages=["digital signature", usage]
    )
    created = client.create(CertificateSigningRequest(metadata=ObjectMeta(name=name), spec=spec))
    current = created
    if approver is not None and approver.exists():
        _approve(created, approver)
    while True:
        if certificate := _issued(current):
            return certificate
        if time.monotonic() > deadline:
            raise BootstrapError(
                f"certificate request {name} was not signed in time: approve it (kubectl certificate approve {name}) "
                "and join again, or look whether the controllers run"
            )
        time.sleep(limits.ASK_EVERY)
        with contextlib.suppress(httpx2.HTTPError):  # the server went away for a moment
            current = client.get(CertificateSigningRequest, name)


def _approve(request: CertificateSigningRequest, approver: Path) -> None:
    """On the control plane's own machine the administrator asks: its address is nobody else's to serve on."""
    condition = CertificateSigningRequestCondition(
        type="Approved", status="True", reason="Join", message="a control plane machine joins as a node"
    )
    approved = CertificateSigningRequest.Approval(
        metadata=request.metadata, spec=request.spec, status=CertificateSigningRequestStatus(conditions=[condition])
    )
    with apiclient.connect(approver) as admin:
        try:
            admin.replace(approved, request.metadata.name if request.metadata and request.metadata.name else "")
        except ApiError as error:
            if error.status.code != 409:  # it needed no approval of ours
                raise


def _issued(current: CertificateSigningRequest) -> bytes | None:
    if refusal := _refused(current):
        raise BootstrapError(f"the certificate request was {refusal}")
    text = current.status.certificate if current.status else None
    return apiclient.from_base64(text).encode() if text else None


def _refused(current: CertificateSigningRequest) -> str | None:
    for condition in (current.status.conditions if current.status else None) or []:
        if condition.type in ("Denied", "Failed"):
            return f"{condition.type.lower()}: {condition.message or condition.reason or 'no reason given'}"
    return None


def _base64(data: bytes) -> str:
    return apiclient.base64_text(data.decode())


# --- the node appears -----------------------------------------------------------------------------------------------


def wait_node_ready(config: Path, name: str, *, timeout: float) -> None:
    """Ask, with the credentials in `config`, until the node is Ready. Raises BootstrapError."""
    deadline = time.monotonic() + timeout
    with apiclient.connect(config) as client:
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx2.HTTPError, ApiError):
                if _is_ready(client.get(NodeResource, name)):
                    return
            time.sleep(limits.ASK_EVERY)
    raise BootstrapError(f"node {name} did not become Ready within {timeout:g} s; its kubelet's log may say why")


def _is_ready(node: NodeResource) -> bool:
    conditions = (node.status.conditions if node.status else None) or []
    return any(condition.type == "Ready" and condition.status == "True" for condition in conditions)
