"""EndpointSlices: where the pods of a Service are. Everything but its metadata is what a slice specifies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lightkube.resources.discovery_v1 import EndpointSlice

from api.errors import FieldError, invalid
from apiserver.registry import names, rules
from apiserver.registry.columns import AGE, NAME, Column, Object, at, listed
from apiserver.registry.kind import Kind

MAX_ENDPOINTS = 1000


def defaults(obj: Any) -> None:
    obj.endpoints = obj.endpoints or []
    for port in obj.ports or ():
        port.name = port.name if port.name is not None else ""
        port.protocol = port.protocol or "TCP"


def right_addresses(obj: Any) -> Iterator[FieldError]:
    kind = obj.addressType
    for index, endpoint in enumerate(obj.endpoints):
        for place, address in enumerate(endpoint.addresses or ()):
            path = f"endpoints[{index}].addresses[{place}]"
            if kind == "FQDN":
                yield from names.check(path, address, names.dns_subdomain)
            elif not rules.is_address(address, 4 if kind == "IPv4" else 6):
                yield invalid(path, address, f"must be a valid {kind} address")


def _ports(obj: Object) -> str:
    ports = [str(each["port"]) if each.get("port") else "*" for each in obj.get("ports") or []]
    return listed(ports, 3) if ports else "<unset>"


def _addresses(obj: Object) -> str:
    addresses = [address for each in obj.get("endpoints") or [] for address in each.get("addresses") or []]
    return listed(addresses, 3) if addresses else "<unset>"


ENDPOINT_SLICE = Kind(
    EndpointSlice,
    columns=(
        NAME,
        Column("AddressType", at("addressType", "")),
        Column("Ports", _ports),
        Column("Endpoints", _addresses),
        AGE,
    ),
    counts_generations=True,
    specification=lambda obj: (obj.addressType, obj.endpoints, obj.ports),
    defaults=defaults,
    rules=(
        rules.one_of("addressType", "FQDN", "IPv4", "IPv6", needed=True),
        rules.limit("endpoints", MAX_ENDPOINTS),
        rules.required("endpoints[*].addresses", "must contain at least 1 address"),
        right_addresses,
        rules.distinct("ports", lambda port: port.name, ".name"),
        rules.one_of("ports[*].protocol", "TCP", "UDP", "SCTP", needed=True),
        rules.port_number("ports[*].port"),
    ),
    immutable=("addressType",),
)
