"""What a cluster is made from, in one place: the ConfigMap kube-system/minik-config, as kubeadm's kubeadm-config.

Every machine that joins reads it, so that join lines need only say where the cluster is. `init --config` takes the same
document from a file, and a control plane keeps a copy, so that init without flags changes nothing.

Interface: of, render, read (pure); publish, fetch (I/O).
"""

from __future__ import annotations

import ipaddress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml
from lightkube import ApiError, Client
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import ConfigMap

from bootstrap import apiclient
from bootstrap.errors import BootstrapError
from bootstrap.options import CLUSTER_DOMAIN, POD_CIDR, SERVICE_CIDR, InitOptions, Timing

API_VERSION, KIND = "minik.dev/v1", "ClusterConfig"
NAMESPACE, NAME = "kube-system", "minik-config"
DNS_NUMBER = 10  # the cluster's DNS has this address of the Services' range


@dataclass(frozen=True, kw_only=True)
class ClusterConfig:
    """What all machines must agree on."""

    pod_cidr: str = POD_CIDR
    service_cidr: str = SERVICE_CIDR
    cluster_domain: str = CLUSTER_DOMAIN
    timing: Timing = field(default_factory=Timing)

    @property
    def cluster_dns(self) -> str:
        return str(ipaddress.ip_network(self.service_cidr)[DNS_NUMBER])


def of(options: InitOptions) -> ClusterConfig:
    return ClusterConfig(pod_cidr=options.pod_cidr, service_cidr=options.service_cidr, timing=options.timing)


def render(config: ClusterConfig) -> str:
    document = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "networking": {
            "podSubnet": config.pod_cidr,
            "serviceSubnet": config.service_cidr,
            "dnsDomain": config.cluster_domain,
        },
        "timing": {_camel(name): value for name, value in asdict(config.timing).items()},
    }
    return yaml.safe_dump(document, sort_keys=False)


def read(text: str, *, origin: object) -> ClusterConfig:
    """What a document says; what it does not say is the default. Raises BootstrapError for what it cannot mean."""
    try:
        document = yaml.safe_load(text)
        if not isinstance(document, dict) or (document.get("apiVersion"), document.get("kind")) != (API_VERSION, KIND):
            raise BootstrapError(f"{origin} is no {KIND} of {API_VERSION}")
        networking = dict(document.get("networking") or {})
        times = {name: float(value) for name, value in (document.get("timing") or {}).items()}
        known = {_camel(each.name): each.name for each in fields(Timing)}
        _refuse_unknown(origin, document, {"apiVersion", "kind", "networking", "timing"})
        _refuse_unknown(origin, networking, {"podSubnet", "serviceSubnet", "dnsDomain"})
        _refuse_unknown(origin, times, known)
        given = {
            "pod_cidr": networking.get("podSubnet"),
            "service_cidr": networking.get("serviceSubnet"),
            "cluster_domain": networking.get("dnsDomain"),
        }
        for cidr in (given["pod_cidr"], given["service_cidr"]):
            ipaddress.ip_network(cidr or POD_CIDR)
        timing = Timing(**{known[name]: value for name, value in times.items()})
        return ClusterConfig(timing=timing, **{key: str(value) for key, value in given.items() if value})
    except (yaml.YAMLError, ValueError, TypeError) as error:
        raise BootstrapError(f"{origin} cannot be used: {str(error).splitlines()[0]}") from None


def load(path: Path) -> ClusterConfig:
    try:
        return read(path.read_text(), origin=path)
    except OSError as error:
        raise BootstrapError(f"cannot read {path}: {error.strerror}") from None


def publish(client: Client, config: ClusterConfig) -> None:
    metadata = ObjectMeta(name=NAME, namespace=NAMESPACE)
    apiclient.create_or_replace(client, ConfigMap(metadata=metadata, data={KIND: render(config)}))


def fetch(client: Client) -> ClusterConfig:
    """The cluster's; the defaults for one that was made without."""
    try:
        found = client.get(ConfigMap, NAME, namespace=NAMESPACE)
    except ApiError as error:
        if error.status.code == 404:
            return ClusterConfig()
        raise
    return read((found.data or {}).get(KIND, ""), origin=f"the ConfigMap {NAMESPACE}/{NAME}")


def _refuse_unknown(origin: object, given: dict[str, Any], known: Any) -> None:
    if unknown := sorted(set(given) - set(known)):
        raise BootstrapError(f"{origin} cannot be used: unknown field {unknown[0]!r}")


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)
