"""A joining machine trusts nobody before the hash has matched."""

import time
from pathlib import Path

import pytest

from bootstrap import discovery, kubeconfig, pki
from bootstrap.discovery import Cluster
from bootstrap.errors import DiscoveryError
from bootstrap.options import JoinOptions

TOKEN = "abcdef.0123456789abcdef"


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    ca = pki.Authority.ensure(tmp_path, "kubernetes")
    return Cluster(("https://10.0.0.1:6443", "https://10.0.0.2:6443"), pki.pem(ca.certificate))


def config_map(cluster: Cluster) -> dict[str, object]:
    text = kubeconfig.dump(kubeconfig.build(server=cluster.server, others=cluster.servers, ca=cluster.ca, cluster=""))
    return {"kind": "ConfigMap", "data": {"kubeconfig": text}}


def test_reads_what_init_publishes(cluster: Cluster) -> None:
    assert discovery.parse_cluster_info(config_map(cluster)) == cluster


@pytest.mark.parametrize(
    "wrong", [None, [], {}, {"data": {}}, {"data": {"kubeconfig": ": ["}}, {"data": {"kubeconfig": "clusters: []"}}]
)
def test_anything_else_is_no_cluster(wrong: object) -> None:
    with pytest.raises(DiscoveryError, match="no usable cluster-info"):
        discovery.parse_cluster_info(wrong)


def test_the_hash_decides(cluster: Cluster) -> None:
    right = pki.ca_hash(cluster.certificate)
    discovery.check_hash(cluster, [right])
    discovery.check_hash(cluster, ["sha256:" + "0" * 64, right.upper().replace("SHA", "sha")])
    with pytest.raises(DiscoveryError, match=f"it has {right}"):
        discovery.check_hash(cluster, ["sha256:" + "0" * 64])


@pytest.mark.parametrize("text", ["", "sha256:12", "md5:" + "0" * 64])
def test_a_malformed_hash_is_refused_before_any_connection(text: str) -> None:
    options = JoinOptions(server="127.0.0.1:1", token=TOKEN, ca_cert_hashes=(text,))
    with pytest.raises(DiscoveryError, match="not a CA hash"):
        discovery.discover(options, deadline=time.monotonic())


def test_without_a_hash_somebody_must_say_so() -> None:
    with pytest.raises(DiscoveryError, match="discovery-token-ca-cert-hash"):
        discovery.discover(JoinOptions(server="127.0.0.1:1", token=TOKEN), deadline=time.monotonic())


def test_nobody_there(cluster: Cluster) -> None:
    options = JoinOptions(server="127.0.0.1:1", token=TOKEN, ca_cert_hashes=(pki.ca_hash(cluster.certificate),))
    with pytest.raises(DiscoveryError, match=r"no cluster at https://127\.0\.0\.1:1: .*refused") as raised:
        discovery.discover(options, deadline=time.monotonic())
    assert "\n" not in str(raised.value)
