"""Certificates: who signs what, for which names, and what running again keeps."""

import ssl
import stat
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from bootstrap import pki
from bootstrap.pki import Authority, Request

NAMES = pki.apiserver_names(advertise_address="10.1.2.3", service_ip="10.96.0.1", extra=["api.example"])


def build(directory: Path, names: list[str] = NAMES) -> dict[str, bytes]:
    pki.ensure_control_plane(directory, apiserver_names=names, etcd_names=("10.1.2.3",))
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def subject(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> list[str]:
    return [str(attribute.value) for attribute in certificate.subject.get_attributes_for_oid(oid)]


def test_writes_kubeadms_file_names(tmp_path: Path) -> None:
    leaves = ["apiserver", "apiserver-kubelet-client", "apiserver-etcd-client", "etcd/server", "etcd/peer"]
    pairs = {f"{stem}.{ending}" for stem in [*leaves, "ca", "etcd/ca"] for ending in ("crt", "key")}
    assert set(build(tmp_path)) == pairs | {"sa.key", "sa.pub"}


def test_without_own_etcd_there_are_no_etcd_files(tmp_path: Path) -> None:
    pki.ensure_control_plane(tmp_path, apiserver_names=NAMES, etcd_names=())
    assert not list(tmp_path.rglob("*etcd*"))


def test_only_root_reads_keys(tmp_path: Path) -> None:
    build(tmp_path)
    for key in tmp_path.rglob("*.key"):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600, key


def test_running_again_keeps_every_file(tmp_path: Path) -> None:
    assert build(tmp_path) == build(tmp_path)


def test_a_new_name_renews_only_the_certificate_that_lacks_it(tmp_path: Path) -> None:
    before, after = build(tmp_path), build(tmp_path, [*NAMES, "10.9.9.9"])
    assert {name for name in before if before[name] != after[name]} == {"apiserver.crt", "apiserver.key"}


def test_a_certificate_about_to_expire_is_renewed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ca = Authority.ensure(tmp_path, "kubernetes")
    monkeypatch.setattr(pki, "LEAF_LIFETIME", timedelta(days=10))
    assert pki.ensure_leaf(ca, tmp_path / "leaf", Request(common_name="one"))
    monkeypatch.setattr(pki, "LEAF_LIFETIME", timedelta(days=365))
    assert pki.ensure_leaf(ca, tmp_path / "leaf", Request(common_name="one"))
    assert not pki.ensure_leaf(ca, tmp_path / "leaf", Request(common_name="one"))


def test_a_certificate_of_another_authority_is_replaced(tmp_path: Path) -> None:
    other = Authority.ensure(tmp_path / "other", "kubernetes")
    mine = Authority.ensure(tmp_path / "mine", "kubernetes")
    pki.ensure_leaf(other, tmp_path / "leaf", Request(common_name="one"))
    assert pki.ensure_leaf(mine, tmp_path / "leaf", Request(common_name="one"))
    assert mine.signed(pki.load_certificate(tmp_path / "leaf.crt"))


def test_the_api_server_is_known_by_all_its_names(tmp_path: Path) -> None:
    build(tmp_path)
    certificate = pki.load_certificate(tmp_path / "apiserver.crt")
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    dns = set(names.get_values_for_type(x509.DNSName))
    services = {"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"}
    assert services | {"api.example", "localhost"} <= dns
    addresses = {str(address) for address in names.get_values_for_type(x509.IPAddress)}
    assert {"10.96.0.1", "127.0.0.1", "10.1.2.3"} <= addresses


def test_clients_are_who_kubernetes_expects(tmp_path: Path) -> None:
    build(tmp_path)
    certificate = pki.load_certificate(tmp_path / "apiserver-kubelet-client.crt")
    assert subject(certificate, NameOID.COMMON_NAME) == ["kube-apiserver-kubelet-client"]
    assert subject(certificate, NameOID.ORGANIZATION_NAME) == []  # its rights are the role system:kubelet-api-admin
    assert Authority.ensure(tmp_path, "kubernetes").signed(certificate)
    etcd_client = pki.load_certificate(tmp_path / "apiserver-etcd-client.crt")
    assert Authority.ensure(tmp_path / "etcd", "etcd-ca").signed(etcd_client)
    assert not Authority.ensure(tmp_path, "kubernetes").signed(etcd_client)


def test_openssl_can_use_what_is_written(tmp_path: Path) -> None:
    build(tmp_path)
    for stem in ("apiserver", "etcd/server"):
        ssl.create_default_context(cafile=str(tmp_path / "ca.crt")).load_cert_chain(
            tmp_path / f"{stem}.crt", tmp_path / f"{stem}.key"
        )


def test_the_ca_hash_is_of_the_public_key(tmp_path: Path) -> None:
    ca = Authority.ensure(tmp_path, "kubernetes")
    renewed = pki._self_signed(ca.key, "kubernetes")
    assert renewed.serial_number != ca.certificate.serial_number
    assert pki.ca_hash(renewed) == pki.ca_hash(ca.certificate)
    assert pki.ca_hash(renewed) != pki.ca_hash(Authority.ensure(tmp_path / "other", "kubernetes").certificate)
    assert pki.ca_hash(renewed).startswith("sha256:") and len(pki.ca_hash(renewed)) == 71


def test_a_request_carries_subject_and_names() -> None:
    key = pki.new_key()
    identity = Request(common_name="system:node:n1", organizations=("system:nodes",), names=("n1", "10.0.0.1"))
    request = x509.load_pem_x509_csr(pki.certificate_request(key, identity))
    assert request.is_signature_valid
    assert request.subject.rfc4514_string() == "CN=system:node:n1,O=system:nodes"
    names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["n1"]
