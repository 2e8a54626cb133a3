"""Find a cluster and decide to trust it, before any secret is shown to it.

The ConfigMap kube-public/cluster-info is readable by everybody. Its CA is believed only if the SHA-256 of its public
key is the hash the join line carries; the server must then prove, by TLS, that it holds a certificate of that CA.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

import httpx2
import yaml
from cryptography import x509

from bootstrap import apiclient, kubeconfig, limits, pki, preflight
from bootstrap.errors import DiscoveryError
from bootstrap.options import SECURE_PORT, JoinOptions

CLUSTER_INFO = "/api/v1/namespaces/kube-public/configmaps/cluster-info"


@dataclass(frozen=True)
class Cluster:
    """A cluster that can be trusted: the API server's URL and the CA (PEM)."""

    server: str
    ca: bytes

    @property
    def certificate(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self.ca)


def discover(options: JoinOptions, *, deadline: float) -> Cluster:
    """The cluster behind options.server, checked against options.ca_cert_hashes. Raises DiscoveryError."""
    if not options.ca_cert_hashes and not options.unsafe_skip_ca_verification:
        raise DiscoveryError("joining needs --discovery-token-ca-cert-hash: who is the cluster?")
    for text in options.ca_cert_hashes:
        if not text.startswith("sha256:") or len(text) != len("sha256:") + 64:
            raise DiscoveryError(f"{text!r} is not a CA hash; it must look like sha256:<64 hex digits>")
    host, port = preflight.split_endpoint(options.server, default_port=SECURE_PORT)
    netloc = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    cluster = parse_cluster_info(_fetch(f"https://{netloc}{CLUSTER_INFO}", deadline=deadline))
    if not options.unsafe_skip_ca_verification:
        check_hash(cluster, options.ca_cert_hashes)
    return cluster


def parse_cluster_info(config_map: object) -> Cluster:
    """The Cluster in the ConfigMap as it came over the wire."""
    try:
        text = config_map["data"]["kubeconfig"]  # type: ignore[index]
        server, ca = kubeconfig.cluster_of(yaml.safe_load(text))
        cluster = Cluster(server, ca)
        cluster.certificate  # noqa: B018  must parse
    except (KeyError, TypeError, ValueError, yaml.YAMLError):
        raise DiscoveryError("the server has no usable cluster-info; is it a minik or kubeadm control plane?") from None
    return cluster


def check_hash(cluster: Cluster, expected: Iterable[str]) -> None:
    """Raise DiscoveryError unless the CA is one of the expected."""
    actual = pki.ca_hash(cluster.certificate)
    if actual not in {text.lower() for text in expected}:
        raise DiscoveryError(f"the cluster's CA is not the one of the join line: it has {actual}")


def _fetch(url: str, *, deadline: float) -> object:
    """GET without trust. While nothing answers, the control plane may still be starting: try until the deadline."""
    with httpx2.Client(verify=False, trust_env=False, timeout=limits.ANSWER_TIMEOUT) as http:
        while True:
            try:
                response = http.get(url)
                if response.status_code == 200:
                    return response.json()
                problem = f"it answered {response.status_code} to the question for cluster-info"
            except ValueError:
                problem = "it does not speak JSON"
            except httpx2.HTTPError as error:
                problem = apiclient.reason(error)
            if time.monotonic() >= deadline:
                raise DiscoveryError(f"no cluster at {url.removesuffix(CLUSTER_INFO)}: {problem}")
            time.sleep(limits.RETRY_EVERY)
