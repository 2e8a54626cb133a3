"""Certificate requests of joining nodes: which may be approved without a person, and signing them. No I/O.

Kubernetes: pkg/controller/certificates/approver and /signer. Two signers are ours to approve:

    kubernetes.io/kube-apiserver-client-kubelet   who a node is: CN=system:node:NAME, O=system:nodes, no names
    kubernetes.io/kubelet-serving                 the kubelet's server: the same subject, its host name and address

A third, kubernetes.io/kube-apiserver-client, is signed once a person approved it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from lightkube.models.certificates_v1 import CertificateSigningRequestSpec

CLIENT = "kubernetes.io/kube-apiserver-client"
KUBELET_CLIENT = "kubernetes.io/kube-apiserver-client-kubelet"
KUBELET_SERVING = "kubernetes.io/kubelet-serving"
SIGNERS = (CLIENT, KUBELET_CLIENT, KUBELET_SERVING)

BOOTSTRAPPERS = "system:bootstrappers"
NODES = "system:nodes"
NODE_PREFIX = "system:node:"

BACKDATE = timedelta(minutes=5)
"""Certificates are valid from a little earlier, for clocks that are behind."""
SHORTEST_SECONDS = 600

_OPTIONAL = {"digital signature", "key encipherment"}
_PURPOSE = {CLIENT: "client auth", KUBELET_CLIENT: "client auth", KUBELET_SERVING: "server auth"}
_EXTENDED = {
    "client auth": ExtendedKeyUsageOID.CLIENT_AUTH,
    "server auth": ExtendedKeyUsageOID.SERVER_AUTH,
}

_NODE_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*")

SignerKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


class NotAllowed(ValueError):
    """The request asks for something its signer does not sign; the text says what."""


@dataclass(frozen=True)
class Authority:
    """The certificate and key that sign."""

    certificate: x509.Certificate
    key: SignerKey


def load_authority(certificate: bytes, key: bytes) -> Authority:
    """Raises ValueError for anything that is no PEM certificate with its key."""
    loaded = serialization.load_pem_private_key(key, password=None)
    if not isinstance(loaded, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise ValueError("the signing key must be RSA or EC")
    return Authority(x509.load_pem_x509_certificate(certificate), loaded)


def parse(pem: bytes) -> x509.CertificateSigningRequest:
    """The request inside a CertificateSigningRequest. Raises NotAllowed."""
    try:
        request = x509.load_pem_x509_csr(pem)
        signed = request.is_signature_valid
    except ValueError as error:
        raise NotAllowed(f"unable to parse the request: {error}") from None
    if not signed:
        raise NotAllowed("the request is not signed by its own key")
    return request


def check(request: x509.CertificateSigningRequest, *, signer: str, usages: Collection[str]) -> None:
    """Whether the signer signs such a request at all, whoever asks. Raises NotAllowed."""
    purpose = _PURPOSE[signer]
    wanted = set(usages)
    if purpose not in wanted:
        raise NotAllowed(f"usages did not contain {purpose}")
    if wanted - _OPTIONAL - {purpose}:
        raise NotAllowed(f"usages must only contain digital signature, key encipherment and {purpose}")
    if signer == CLIENT:
        if organizations(request) and "system:masters" in organizations(request):
            raise NotAllowed("use of system:masters is not allowed")
        return
    if organizations(request) != [NODES]:
        raise NotAllowed(f"subject organization is not {NODES}")
    if not common_name(request).startswith(NODE_PREFIX):
        raise NotAllowed(f"subject common name does not begin with {NODE_PREFIX}")
    if not _NODE_NAME.fullmatch(common_name(request).removeprefix(NODE_PREFIX)):
        raise NotAllowed("subject common name does not end with the name of a node")
    names = subject_names(request)
    if signer == KUBELET_CLIENT and names:
        raise NotAllowed("subject alternative names are not allowed")
    if signer == KUBELET_SERVING:
        if any(not isinstance(name, x509.DNSName | x509.IPAddress) for name in names):
            raise NotAllowed("only DNS names and IP addresses are allowed as subject alternative names")
        if not names:
            raise NotAllowed("at least one DNS name or IP address is required")


@dataclass(frozen=True)
class World:
    """What is known about the one that asks, and what belongs to others.

    is_ready: a Node of that name is there and Ready. addresses: its own, None while there is no such Node.
    foreign: names and addresses of the API server, of Services and of other nodes. networks: whose addresses are pods'.
    """

    is_ready: bool = False
    addresses: Collection[str] | None = None
    foreign: Collection[str] = ()
    networks: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network] = ()


def may_approve(spec: CertificateSigningRequestSpec, request: x509.CertificateSigningRequest, world: World) -> str:
    """The message of an automatic approval. Raises NotAllowed to leave the request to a person, and says why."""
    groups = set(spec.groups or ())
    subject = common_name(request)
    is_itself = spec.username == subject and NODES in groups
    if spec.signerName == KUBELET_CLIENT:
        if is_itself:
            return "Auto approving self kubelet client certificate: the node renews its own."
        if BOOTSTRAPPERS not in groups:
            raise NotAllowed("neither the node itself nor a bootstrap token asks")
        if world.is_ready:
            raise NotAllowed(f"{subject.removeprefix(NODE_PREFIX)} is a node that is Ready: nobody may take its name")
        return "Auto approving kubelet client certificate: asked for with a bootstrap token."
    if spec.signerName != KUBELET_SERVING or not is_itself:
        raise NotAllowed("only a node that asks for itself needs no person's approval")
    for name in subject_names(request):
        _check_serving(name, subject.removeprefix(NODE_PREFIX), world)
    return "Auto approving kubelet serving certificate: the node asked for its own name and addresses."


def _check_serving(name: x509.GeneralName, node: str, world: World) -> None:
    """A node serves under its own name and addresses. It says itself which they are, so others' count for more."""
    if isinstance(name, x509.DNSName):
        if name.value != node or _is_reserved(node) or node in world.foreign:
            raise NotAllowed(f"{name.value} is not a name of its own")
        return
    address = name.value
    if not isinstance(address, ipaddress.IPv4Address | ipaddress.IPv6Address):
        raise NotAllowed("a network is no address")
    if address.is_loopback or address.is_unspecified or address.is_multicast:
        raise NotAllowed(f"{address} is no node's address")
    if str(address) in world.foreign or any(address in network for network in world.networks):
        raise NotAllowed(f"{address} belongs to somebody else")
    if world.addresses is not None and str(address) not in world.addresses:
        raise NotAllowed(f"{address} is not among the addresses of its Node")


def _is_reserved(name: str) -> bool:
    """Names by which clients in the cluster reach the API server or themselves."""
    return name == "localhost" or name.endswith((".svc", ".local")) or name.partition(".")[0] == "kubernetes"


def sign(
    request: x509.CertificateSigningRequest,
    authority: Authority,
    *,
    usages: Collection[str],
    seconds: float,
    now: datetime,
) -> bytes:
    """A PEM certificate for the request's subject, names and key; it never outlives the authority's own."""
    until = min(now + timedelta(seconds=seconds), authority.certificate.not_valid_after_utc)
    issuer_key = authority.key.public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(request.subject)
        .issuer_name(authority.certificate.subject)
        .public_key(request.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(usages), critical=True)
        .add_extension(x509.ExtendedKeyUsage([_EXTENDED[each] for each in usages if each in _EXTENDED]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
    )
    names = subject_names(request)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(authority.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def lifetime(spec: CertificateSigningRequestSpec, longest: float) -> float:
    """Seconds: what the request wants, within reason."""
    wanted = spec.expirationSeconds
    return longest if wanted is None else max(SHORTEST_SECONDS, min(wanted, longest))


def expires(certificate: bytes) -> datetime:
    return x509.load_pem_x509_certificate(certificate).not_valid_after_utc.astimezone(UTC)


def common_name(request: x509.CertificateSigningRequest) -> str:
    values = request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(values[0].value) if len(values) == 1 else ""


def organizations(request: x509.CertificateSigningRequest) -> list[str]:
    return [str(each.value) for each in request.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]


def subject_names(request: x509.CertificateSigningRequest) -> list[x509.GeneralName]:
    try:
        return list(request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return []
    except ValueError as error:
        raise NotAllowed(f"unable to read the subject alternative names: {error}") from None


def _key_usage(usages: Collection[str]) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature="digital signature" in usages,
        key_encipherment="key encipherment" in usages,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
