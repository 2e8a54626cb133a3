"""The cluster's certificates, with kubeadm's file names.

    ca.crt ca.key                              signs everything below except etcd's
    apiserver.crt apiserver.key                what clients of the API server see
    apiserver-kubelet-client.crt .key          the API server towards kubelets
    apiserver-etcd-client.crt .key             the API server towards etcd
    etcd/ca.crt etcd/ca.key etcd/server.crt etcd/server.key etcd/peer.crt etcd/peer.key
    sa.key sa.pub                              sign and check service account tokens

Interface: ensure_control_plane writes what is missing; Authority issues more (kubeconfigs, tests); ca_hash names a CA.

Invariants:
- A CA and sa.key are never replaced. A leaf is kept unless it misses a name, is about to expire, or was signed by
  another CA; so init run again changes nothing.
- Private keys are EC P-256 and readable by root only (0600).
"""

from __future__ import annotations

import hashlib
import ipaddress
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from client.files import write_atomic

CA_LIFETIME = timedelta(days=3650)
LEAF_LIFETIME = timedelta(days=365)
RENEW_BEFORE = timedelta(days=30)  # a leaf this close to its end is issued anew
CLOCK_SKEW = timedelta(minutes=5)  # certificates are valid from a little earlier, for machines whose clock is behind

CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH
SERVER = ExtendedKeyUsageOID.SERVER_AUTH


@dataclass(frozen=True, kw_only=True)
class Request:
    """A leaf to issue: who it names and what it may be used for. names: DNS names and IP addresses, mixed."""

    common_name: str
    organizations: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    usages: tuple[x509.ObjectIdentifier, ...] = (CLIENT,)


@dataclass(frozen=True)
class Authority:
    """A CA that can sign."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def ensure(cls, directory: Path, common_name: str) -> Authority:
        """Load ca.crt and ca.key of `directory`, or make them."""
        certificate_path, key_path = directory / "ca.crt", directory / "ca.key"
        if certificate_path.exists() and key_path.exists():
            return cls(load_certificate(certificate_path), load_key(key_path))
        key = ec.generate_private_key(ec.SECP256R1())
        authority = cls(_self_signed(key, common_name), key)
        write_key(key_path, key)
        write_atomic(certificate_path, pem(authority.certificate), mode=0o644)
        return authority

    def issue(self, request: Request) -> tuple[bytes, bytes]:
        """A new key pair: (certificate, key) as PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        return pem(self.sign(request, key.public_key())), key_pem(key)

    def sign(self, request: Request, public_key: ec.EllipticCurvePublicKey) -> x509.Certificate:
        builder = (
            _builder(_subject(request), self.certificate.subject, public_key, LEAF_LIFETIME)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(list(request.usages)), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        if request.names:
            builder = builder.add_extension(x509.SubjectAlternativeName(_general_names(request.names)), critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def signed(self, certificate: x509.Certificate) -> bool:
        try:
            certificate.verify_directly_issued_by(self.certificate)
        except (ValueError, TypeError, InvalidSignature):
            return False
        return True


def ensure_control_plane(directory: Path, *, apiserver_names: Iterable[str], etcd_names: Sequence[str]) -> None:
    """Make every file a control plane needs that is not there yet. etcd_names: of its own etcd, if it has one."""
    ca = Authority.ensure(directory, "kubernetes")
    server = Request(common_name="kube-apiserver", names=tuple(apiserver_names), usages=(SERVER,))
    ensure_leaf(ca, directory / "apiserver", server)
    kubelet_client = Request(common_name="kube-apiserver-kubelet-client")
    ensure_leaf(ca, directory / "apiserver-kubelet-client", kubelet_client)
    _ensure_service_account_key(directory)
    if etcd_names:
        etcd_ca = Authority.ensure(directory / "etcd", "etcd-ca")
        local = ("localhost", "127.0.0.1", *etcd_names)
        both = (SERVER, CLIENT)  # etcd dials itself: its gateway with the server certificate, peers with theirs
        ensure_leaf(etcd_ca, directory / "etcd/server", Request(common_name="etcd", names=local, usages=both))
        ensure_leaf(etcd_ca, directory / "etcd/peer", Request(common_name="etcd", names=local, usages=both))
        ensure_leaf(etcd_ca, directory / "apiserver-etcd-client", Request(common_name="kube-apiserver-etcd-client"))


def apiserver_names(*, advertise_address: str, service_ip: str, extra: Iterable[str] = ()) -> list[str]:
    """Every name and address under which the API server may be reached, without repetition."""
    services = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"]
    return list(
        dict.fromkeys(
            [*services, "localhost", socket.gethostname(), service_ip, "127.0.0.1", advertise_address, *extra]
        )
    )


def ensure_leaf(authority: Authority, stem: Path, request: Request) -> bool:
    """Write `stem`.crt and .key unless good ones are there. Returns whether they were written."""
    certificate_path, key_path = stem.with_name(f"{stem.name}.crt"), stem.with_name(f"{stem.name}.key")
    if certificate_path.exists() and key_path.exists() and _is_good(authority, certificate_path, request):
        return False
    certificate, key = authority.issue(request)
    write_atomic(key_path, key)
    write_atomic(certificate_path, certificate, mode=0o644)
    return True


def certificate_request(key: ec.EllipticCurvePrivateKey, request: Request) -> bytes:
    """A PEM certificate signing request, as a kubelet sends it."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(_subject(request))
    if request.names:
        builder = builder.add_extension(x509.SubjectAlternativeName(_general_names(request.names)), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def ca_hash(certificate: x509.Certificate) -> str:
    """kubeadm's discovery-token-ca-cert-hash: SHA-256 of the public key in DER, so a renewed CA keeps its name."""
    spki = certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return f"sha256:{hashlib.sha256(spki).hexdigest()}"


def expires_soon(certificate: x509.Certificate) -> bool:
    return certificate.not_valid_after_utc - datetime.now(UTC) < RENEW_BEFORE


def load_certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{path} does not hold an EC key")
    return key


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    write_atomic(path, key_pem(key))


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


def _ensure_service_account_key(directory: Path) -> None:
    private, public = directory / "sa.key", directory / "sa.pub"
    if not private.exists():
        write_key(private, new_key())
        public.unlink(missing_ok=True)
    if not public.exists():
        data = load_key(private).public_key()
        encoded = data.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        write_atomic(public, encoded, mode=0o644)


def _is_good(authority: Authority, path: Path, request: Request) -> bool:
    try:
        certificate = load_certificate(path)
    except ValueError:
        return False
    if expires_soon(certificate) or not authority.signed(certificate):
        return False
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return not request.names
    return all(name in names for name in _general_names(request.names))


def _subject(request: Request) -> x509.Name:
    organizations = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, name) for name in request.organizations]
    return x509.Name([*organizations, x509.NameAttribute(NameOID.COMMON_NAME, request.common_name)])


def _general_names(names: Sequence[str]) -> list[x509.GeneralName]:
    return [_general_name(name) for name in names]


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _self_signed(key: ec.EllipticCurvePrivateKey, common_name: str) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    return (
        _builder(name, name, key.public_key(), CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
        .sign(key, hashes.SHA256())
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, lifetime: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
