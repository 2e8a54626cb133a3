"""Endpoints: the older form of EndpointSlices, one object a Service; some programs still read or write it."""

from __future__ import annotations

from lightkube.resources.core_v1 import Endpoints

from apiserver.registry import names, rules
from apiserver.registry.columns import AGE, NAME, Column, Object, listed
from apiserver.registry.defaults import filled
from apiserver.registry.kind import Kind


def _endpoints(obj: Object) -> str:
    pairs: list[str] = []
    for subset in obj.get("subsets") or ():
        hosts = [each["ip"] for each in subset.get("addresses") or ()]
        ports = subset.get("ports") or ()
        pairs += [f"{host}:{port['port']}" for port in ports for host in hosts] if ports else hosts
    return listed(pairs, 3)


ENDPOINTS = Kind(
    Endpoints,
    short_names=("ep",),
    singular="endpoints",
    columns=(NAME, Column("Endpoints", _endpoints), AGE),
    defaults=filled({"subsets": [{"ports": [{"protocol": "TCP"}]}]}),
    rules=(
        rules.required("subsets[*].addresses[*].ip"),
        rules.address("subsets[*].addresses[*].ip"),
        rules.address("subsets[*].notReadyAddresses[*].ip"),
        rules.named("subsets[*].addresses[*].hostname", names.dns_label),
        rules.named("subsets[*].addresses[*].nodeName", names.dns_subdomain),
        rules.named("subsets[*].ports[*].name", names.dns_label),
        rules.port_number("subsets[*].ports[*].port"),
        rules.one_of("subsets[*].ports[*].protocol", "TCP", "UDP", "SCTP", needed=True),
    ),
)
