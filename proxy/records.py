"""Names of the cluster -> DNS records. Pure.

Kubernetes DNS-Based Service Discovery (https://github.com/kubernetes/dns/blob/master/docs/specification.md):

    web.default.svc.cluster.local               A: the cluster address, or a headless service's ready pods
    _http._tcp.web.default.svc.cluster.local    SRV
    web-0.web.default.svc.cluster.local         A: one pod of a headless service (its hostname, or its dashed address)
    10-244-1-7.default.pod.cluster.local        A: the address in the name
    7.1.244.10.in-addr.arpa                     PTR

Invariants
- A name that exists, or that lies above one that exists, never answers NXDOMAIN: resolvers take that for "nor does
  anything below", and ask no further types.
- Only addresses inside the cluster's ranges are answered in reverse; other reverse names belong to others.
"""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from lightkube.models import core_v1
from lightkube.resources.core_v1 import Service
from lightkube.resources.discovery_v1 import EndpointSlice

from api import meta
from api.endpoints import Endpoint, cluster_ip, is_headless, serving

TTL_SECONDS = 5
"""Short, because pods move; long enough that a page with ten requests asks once."""

SCHEMA_VERSION = "1.1.0"
"""Of the specification; answered to TXT dns-version."""

_REVERSE = "in-addr.arpa"


class Verdict(enum.Enum):
    """What the zone says about a name."""

    FOUND = "the records, or none of this type"
    MISSING = "NXDOMAIN"
    FOREIGN = "not a name of the cluster"


@dataclass(frozen=True)
class Record:
    """One resource record: owner, type and the text of its data."""

    name: str
    type: str
    data: str


@dataclass
class Answer:
    verdict: Verdict
    records: list[Record] = field(default_factory=list)
    extra: list[Record] = field(default_factory=list)
    """For the additional section: the addresses of what the answer names."""
    alias: str = ""
    """The name an ExternalName service stands for; the caller looks it up."""


@dataclass(frozen=True)
class View:
    """How the zone reads the cluster."""

    service: Callable[[str], Service | None]
    """By key."""
    slices: Callable[[str], list[EndpointSlice]]
    """By the key of their service."""
    has_services: Callable[[str], bool]
    """Whether a namespace has any."""
    service_of_ip: Callable[[str], Service | None]
    headless_of_ip: Callable[[str], Iterable[Service]]
    """Headless services one of whose endpoints has the address."""


class Zone:
    """The cluster's names, answered from a view of its objects."""

    def __init__(self, view: View, *, domain: str, networks: Iterable[str], dns_ip: str) -> None:
        self.domain = domain.strip(".").lower()
        self._view = view
        self._networks = [ipaddress.IPv4Network(each) for each in networks if each]
        self._dns_ip = dns_ip

    def lookup(self, name: str, type_: str) -> Answer:
        """What the zone has for a name (lower case, no final dot) and a record type such as A."""
        if name == self.domain or name.endswith(f".{self.domain}"):
            labels = name.removesuffix(self.domain).rstrip(".").split(".")
            answer = self._forward(name, [label for label in labels if label])
        else:
            answer = self._backward(name)
        answer.records = [each for each in answer.records if type_ in (each.type, "ANY")]
        if not any(each.type == "SRV" for each in answer.records):
            answer.extra = []
        return answer

    # Names

    def _forward(self, name: str, labels: list[str]) -> Answer:
        match labels:
            case [] | ["svc"] | ["pod"] | ["dns"]:
                return self._apex(name) if not labels else Answer(Verdict.FOUND)
            case ["dns-version"]:
                return Answer(Verdict.FOUND, [Record(name, "TXT", f'"{SCHEMA_VERSION}"')])
            case ["ns", "dns"]:
                return Answer(Verdict.FOUND, [Record(name, "A", self._dns_ip)])
            case [namespace, "svc" | "pod"]:
                return Answer(Verdict.FOUND if self._view.has_services(namespace) else Verdict.MISSING)
            case [dashed, _, "pod"]:
                return _pod(name, dashed)
            case [*inner, service, namespace, "svc"]:
                return self._service(name, inner, f"{namespace}/{service}")
        return Answer(Verdict.MISSING)

    def _apex(self, name: str) -> Answer:
        server = f"ns.dns.{self.domain}"
        soa = f"{server}. hostmaster.{self.domain}. 1 7200 1800 86400 {TTL_SECONDS}"
        return Answer(Verdict.FOUND, [Record(name, "NS", f"{server}."), Record(name, "SOA", soa)])

    def _service(self, name: str, inner: list[str], key: str) -> Answer:
        service = self._view.service(key)
        if service is None or service.spec is None:
            return Answer(Verdict.MISSING)
        if service.spec.type == "ExternalName":
            alias = (service.spec.externalName or "").rstrip(".").lower()
            if inner or not alias:
                return Answer(Verdict.MISSING if inner else Verdict.FOUND)
            return Answer(Verdict.FOUND, [Record(name, "CNAME", f"{alias}.")], alias=alias)
        match inner:
            case []:
                return Answer(Verdict.FOUND, _addresses(name, self._ips(service)))
            case [transport] if transport in {
                f"_{port.protocol or 'TCP'}".lower() for port in service.spec.ports or []
            }:
                return Answer(Verdict.FOUND)
            case [port, transport] if port.startswith("_"):
                return self._srv(name, service, port[1:], transport[1:].upper())
            case [host] if is_headless(service):
                ips = {each.ip for each in self._endpoints(service) if host in (each.hostname, _dashed(each.ip))}
                return Answer(Verdict.FOUND if ips else Verdict.MISSING, _addresses(name, ips))
        return Answer(Verdict.MISSING)

    def _srv(self, name: str, service: Service, port_name: str, protocol: str) -> Answer:
        assert service.spec is not None
        for port in service.spec.ports or []:
            if (port.name or "") == port_name and (port.protocol or "TCP") == protocol:
                targets = list(self._targets(service, port))
                share = max(1, 100 // max(1, len(targets)))
                records = [Record(name, "SRV", f"0 {share} {number} {target}.") for target, _, number in targets]
                return Answer(Verdict.FOUND, records, [Record(target, "A", ip) for target, ip, _ in targets])
        return Answer(Verdict.MISSING)

    def _targets(self, service: Service, port: core_v1.ServicePort) -> Iterator[tuple[str, str, int]]:
        """(name, address, port) of what a service port leads to."""
        own = self.name_of(service)
        if address := cluster_ip(service):
            yield own, address, port.port
        elif is_headless(service):
            for each in self._of_port(service, port):
                yield f"{each.hostname or _dashed(each.ip)}.{own}", each.ip, each.port

    # Addresses

    def _backward(self, name: str) -> Answer:
        if name == _REVERSE or not name.endswith(f".{_REVERSE}"):
            return Answer(Verdict.FOREIGN)
        octets = name.removesuffix(f".{_REVERSE}").split(".")[::-1]
        if not all(each.isascii() and each.isdigit() and int(each) < 256 for each in octets) or len(octets) > 4:
            return Answer(Verdict.FOREIGN)
        if len(octets) < 4:
            prefix = ipaddress.IPv4Network((".".join(octets + ["0"] * (4 - len(octets))), 8 * len(octets)))
            inside = any(prefix.subnet_of(network) for network in self._networks)
            return Answer(Verdict.FOUND if inside else Verdict.FOREIGN)
        address = ipaddress.IPv4Address(".".join(str(int(each)) for each in octets))
        if not any(address in network for network in self._networks):
            return Answer(Verdict.FOREIGN)
        records = [Record(name, "PTR", f"{target}.") for target in self._names_of(str(address))]
        return Answer(Verdict.FOUND if records else Verdict.MISSING, records)

    def _names_of(self, ip: str) -> Iterator[str]:
        if ip == self._dns_ip:
            yield f"ns.dns.{self.domain}"
        elif service := self._view.service_of_ip(ip):
            yield self.name_of(service)
        for service in self._view.headless_of_ip(ip):
            hosts = {each.hostname or _dashed(ip) for each in self._endpoints(service) if each.ip == ip}
            yield from (f"{host}.{self.name_of(service)}" for host in sorted(hosts))

    def name_of(self, service: Service) -> str:
        return f"{meta.name(service)}.{meta.namespace(service)}.svc.{self.domain}"

    def _ips(self, service: Service) -> Iterable[str]:
        if address := cluster_ip(service):
            return [address]
        return {each.ip for each in self._endpoints(service)} if is_headless(service) else []

    def _endpoints(self, service: Service) -> list[Endpoint]:
        """All ready endpoints of a headless service; one without ports has addresses all the same."""
        assert service.spec is not None
        ports: list[core_v1.ServicePort | None] = [*(service.spec.ports or [])]
        return sorted({each for port in ports or [None] for each in self._of_port(service, port)})

    def _of_port(self, service: Service, port: core_v1.ServicePort | None) -> list[Endpoint]:
        return serving(service, port, self._view.slices(meta.key(service)), leaving_too=False)


def _addresses(name: str, ips: Iterable[str]) -> list[Record]:
    return [Record(name, "A", ip) for ip in sorted(ips, key=ipaddress.IPv4Address)]


def _dashed(ip: str) -> str:
    return ip.replace(".", "-")


def _pod(name: str, dashed: str) -> Answer:
    """Answered from the name alone, as CoreDNS' `pods insecure` does: it proves nothing about a pod."""
    try:
        address = ipaddress.IPv4Address(dashed.replace("-", "."))
    except ValueError:
        return Answer(Verdict.MISSING)
    return Answer(Verdict.FOUND, [Record(name, "A", str(address))])
