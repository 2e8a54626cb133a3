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
from lightkube import ApiError, Client
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import ConfigMap

from bootstrap import apiclient, kubeconfig, limits, pki, preflight
from bootstrap.commands import ControlPlane
from bootstrap.errors import DiscoveryError
from bootstrap.options import SECURE_PORT, JoinOptions

CLUSTER_INFO = "/api/v1/namespaces/kube-public/configmaps/cluster-info"


@dataclass(frozen=True)
class Cluster:
    """A cluster that can be trusted: the URLs of its API servers, and the CA (PEM)."""

    servers: tuple[str, ...]
    ca: bytes

    @property
    def server(self) -> str:
        return self.servers[0]

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


def by_token(cluster: Cluster, token: str) -> kubeconfig.Config:
    """A kubeconfig for the cluster, as whoever holds the token."""
    return kubeconfig.build(server=cluster.server, others=cluster.servers, ca=cluster.ca, user="bootstrap", token=token)


def parse_cluster_info(config_map: object) -> Cluster:
    """The Cluster in the ConfigMap as it came over the wire."""
    try:
        text = config_map["data"]["kubeconfig"]  # type: ignore[index]
        config = yaml.safe_load(text)
        cluster = Cluster(ca=kubeconfig.cluster_of(config)[1], servers=kubeconfig.servers_of(config))
        cluster.certificate  # noqa: B018  must parse
    except (KeyError, TypeError, ValueError, yaml.YAMLError):
        raise DiscoveryError("the server has no usable cluster-info; is it a minik or kubeadm control plane?") from None
    return cluster


def check_hash(cluster: Cluster, expected: Iterable[str]) -> None:
    """Raise DiscoveryError unless the CA is one of the expected."""
    actual = pki.ca_hash(cluster.certificate)
    if actual not in {text.lower() for text in expected}:
        raise DiscoveryError(f"the cluster's CA is not the one of the join line: it has {actual}")


def publish(client: Client, place: ControlPlane, *, add: str = "", remove: str = "") -> None:
    """Let cluster-info, and this control plane's own admin.conf, name the API servers, one more or one fewer."""
    ca = (place.pki / "ca.crt").read_bytes()
    found = _published(client)
    servers = [each for each in (found.servers if found and found.ca == ca else ()) if each != remove]
    servers += [add] if add and add not in servers else []
    if servers:
        content = kubeconfig.dump(kubeconfig.build(server=servers[0], others=servers[1:], ca=ca, cluster=""))
        metadata = ObjectMeta(name="cluster-info", namespace="kube-public")
        apiclient.create_or_replace(client, ConfigMap(metadata=metadata, data={"kubeconfig": content}))
        kubeconfig.set_servers(place.admin_conf, servers)


def _published(client: Client) -> Cluster | None:
    try:
        found = client.get(ConfigMap, "cluster-info", namespace="kube-public")
        return parse_cluster_info({"data": found.data})
    except ApiError as error:
        if error.status.code != 404:
            raise
    except DiscoveryError:
        pass  # of no use to anybody: written anew
    return None


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
