from __future__ import annotations

import base64
import ipaddress
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from lightkube.models.certificates_v1 import CertificateSigningRequestSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Secret

from controllers import signing, token_cleaner

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = ec.generate_private_key(ec.SECP256R1())
SERVE = ["digital signature", "key encipherment", "server auth"]
CLIENT = ["digital signature", "client auth"]


def request(name: str = "system:node:n", *groups: str, names: tuple[str, ...] = ()) -> x509.CertificateSigningRequest:
    subject = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, each) for each in groups or ("system:nodes",)]
    subject.append(x509.NameAttribute(NameOID.COMMON_NAME, name))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([general(each) for each in names]), critical=False)
    return builder.sign(KEY, hashes.SHA256())


def general(name: str) -> x509.GeneralName:
    if "@" in name:
        return x509.RFC822Name(name)
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


@pytest.mark.parametrize(
    ("given", "signer", "usages", "fault"),
    [
        (request(), signing.KUBELET_CLIENT, CLIENT, None),
        (request(), signing.KUBELET_CLIENT, [*CLIENT, "key encipherment"], None),
        (request(), signing.KUBELET_CLIENT, SERVE, "client auth"),
        (request(), signing.KUBELET_CLIENT, [*CLIENT, "server auth"], "must only contain"),
        (request("admin"), signing.KUBELET_CLIENT, CLIENT, "common name"),
        (request("system:node:"), signing.KUBELET_CLIENT, CLIENT, "name of a node"),
        (request("system:node:N 1"), signing.KUBELET_CLIENT, CLIENT, "name of a node"),
        (request("system:node:n", "system:masters"), signing.KUBELET_CLIENT, CLIENT, "organization"),
        (request("system:node:n", "system:nodes", "system:masters"), signing.KUBELET_CLIENT, CLIENT, "organization"),
        (request(names=("n",)), signing.KUBELET_CLIENT, CLIENT, "not allowed"),
        (request(names=("n", "192.0.2.1")), signing.KUBELET_SERVING, SERVE, None),
        (request(), signing.KUBELET_SERVING, SERVE, "at least one"),
        (request(names=("a@b",)), signing.KUBELET_SERVING, SERVE, "only DNS names"),
        (request("someone", "devs"), signing.CLIENT, CLIENT, None),
        (request("someone", "system:masters"), signing.CLIENT, CLIENT, "system:masters"),
    ],
)
def test_check(given: x509.CertificateSigningRequest, signer: str, usages: list[str], fault: str | None) -> None:
    if fault is None:
        signing.check(given, signer=signer, usages=usages)
        return
    with pytest.raises(signing.NotAllowed, match=fault):
        signing.check(given, signer=signer, usages=usages)


BOOTSTRAP = ("system:bootstrap:abcdef", ["system:bootstrappers"])
ITSELF = ("system:node:n", ["system:nodes"])
OTHER = ("system:node:other", ["system:nodes"])
PERSON = ("someone", ["devs"])


NEW = signing.World()
KNOWN = signing.World(addresses={"n", "192.0.2.1"})
CROWDED = signing.World(foreign={"192.0.2.2", "10.96.0.1", "other"}, networks=[ipaddress.ip_network("10.244.0.0/24")])


@pytest.mark.parametrize(
    ("caller", "signer", "given", "world", "fault"),
    [
        (BOOTSTRAP, signing.KUBELET_CLIENT, request(), NEW, None),
        (BOOTSTRAP, signing.KUBELET_CLIENT, request(), KNOWN, None),
        (BOOTSTRAP, signing.KUBELET_CLIENT, request(), signing.World(is_ready=True), "nobody may take its name"),
        (ITSELF, signing.KUBELET_CLIENT, request(), signing.World(is_ready=True), None),
        (OTHER, signing.KUBELET_CLIENT, request(), NEW, "neither the node"),
        (PERSON, signing.KUBELET_CLIENT, request(), NEW, "neither the node"),
        (("system:node:n", ["devs"]), signing.KUBELET_CLIENT, request(), NEW, "neither the node"),
        (ITSELF, signing.KUBELET_SERVING, request(names=("n", "192.0.2.1")), NEW, None),
        (ITSELF, signing.KUBELET_SERVING, request(names=("n", "192.0.2.1")), KNOWN, None),
        (ITSELF, signing.KUBELET_SERVING, request(names=("n", "192.0.2.9")), KNOWN, "not among the addresses"),
        (ITSELF, signing.KUBELET_SERVING, request(names=("n", "192.0.2.1")), CROWDED, None),
        (ITSELF, signing.KUBELET_SERVING, request(names=("n", "192.0.2.2")), CROWDED, "belongs to somebody else"),
        (ITSELF, signing.KUBELET_SERVING, request(names=("n", "10.96.0.1")), CROWDED, "belongs to somebody else"),
        (ITSELF, signing.KUBELET_SERVING, request(names=("n", "10.244.0.9")), CROWDED, "belongs to somebody else"),
        (ITSELF, signing.KUBELET_SERVING, request(names=("kubernetes",)), NEW, "not a name of its own"),
        (ITSELF, signing.KUBELET_SERVING, request(names=("other",)), KNOWN, "not a name of its own"),
        (ITSELF, signing.KUBELET_SERVING, request(names=("127.0.0.1",)), NEW, "no node's address"),
        (ITSELF, signing.KUBELET_SERVING, request(names=("0.0.0.0",)), NEW, "no node's address"),
        (OTHER, signing.KUBELET_SERVING, request(names=("n",)), NEW, "asks for itself"),
        (BOOTSTRAP, signing.KUBELET_SERVING, request(names=("n",)), NEW, "asks for itself"),
        (ITSELF, signing.CLIENT, request("someone", "devs"), NEW, "asks for itself"),
    ],
)
def test_may_approve(caller, signer: str, given, world: signing.World, fault: str | None) -> None:
    spec = CertificateSigningRequestSpec(request="", signerName=signer, username=caller[0], groups=caller[1])
    if fault is None:
        assert signing.may_approve(spec, given, world).startswith("Auto approving")
        return
    with pytest.raises(signing.NotAllowed, match=fault):
        signing.may_approve(spec, given, world)


@pytest.mark.parametrize(
    "name", ["kubernetes", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "localhost", "a.svc"]
)
def test_a_node_that_is_called_like_the_api_server_does_not_serve_as_it(name: str) -> None:
    subject = f"system:node:{name}"
    spec = CertificateSigningRequestSpec(
        request="", signerName=signing.KUBELET_SERVING, username=subject, groups=["system:nodes"]
    )
    with pytest.raises(signing.NotAllowed, match="not a name of its own"):
        signing.may_approve(spec, request(subject, names=(name,)), NEW)


def authority() -> signing.Authority:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")])
    builder = x509.CertificateBuilder(subject_name=name, issuer_name=name, public_key=KEY.public_key())
    builder = builder.serial_number(1).not_valid_before(NOW).not_valid_after(NOW + timedelta(days=10))
    certificate = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(
        KEY, hashes.SHA256()
    )
    pem = serialization.Encoding.PEM
    key = KEY.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return signing.load_authority(certificate.public_bytes(pem), key)


def test_a_signed_certificate_is_what_was_asked_for_and_never_outlives_its_authority() -> None:
    given = request(names=("n", "192.0.2.1"))
    pem = signing.sign(given, authority(), usages=SERVE, seconds=3600, now=NOW)
    made = x509.load_pem_x509_certificate(pem)
    made.verify_directly_issued_by(authority().certificate)
    assert made.subject == given.subject
    assert made.not_valid_after_utc == NOW + timedelta(hours=1)
    assert made.not_valid_before_utc == NOW - timedelta(minutes=5)
    assert made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    assert [each.value for each in made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value] == [
        "n",
        ipaddress.ip_address("192.0.2.1"),
    ]
    long = x509.load_pem_x509_certificate(signing.sign(given, authority(), usages=SERVE, seconds=10**9, now=NOW))
    assert long.not_valid_after_utc == NOW + timedelta(days=10)


@pytest.mark.parametrize(
    "pem", [b"", b"nonsense", b"-----BEGIN CERTIFICATE REQUEST-----\nAA==\n-----END CERTIFICATE REQUEST-----\n"]
)
def test_what_is_no_request_is_refused(pem: bytes) -> None:
    with pytest.raises(signing.NotAllowed):
        signing.parse(pem)


@pytest.mark.parametrize(("wanted", "seconds"), [(None, 1000), (700, 700), (5, 600), (10**9, 1000)])
def test_lifetime(wanted: int | None, seconds: float) -> None:
    spec = CertificateSigningRequestSpec(request="", signerName="x", expirationSeconds=wanted)
    assert signing.lifetime(spec, 1000) == seconds


@pytest.mark.parametrize(
    ("expiration", "left"),
    [
        (None, None),
        ("2026-01-01T00:00:10Z", 10),
        ("2025-12-31T23:59:59Z", 0),
        ("2026-01-01T01:00:00+01:00", 0),
        ("soon", 0),
        ("2026-02-02T00:00:00", 0),
    ],
)
def test_a_tokens_time(expiration: str | None, left: float | None) -> None:
    data = {"expiration": base64.b64encode(expiration.encode()).decode()} if expiration else {}
    secret = Secret(metadata=ObjectMeta(name="t"), data=data)
    assert token_cleaner.seconds_left(secret, NOW) == left
