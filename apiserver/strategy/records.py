"""Events, leases and endpoint slices: what components write for each other."""

from __future__ import annotations

import ipaddress
from datetime import datetime
from typing import Any

from api.errors import FieldError, invalid, not_supported, required
from apiserver import names
from apiserver.strategy.base import Strategy
from apiserver.strategy.pod_spec import PROTOCOLS, check_port

MAX_ENDPOINTS = 1000


def micro(moment: datetime | None) -> datetime | None:
    """A MicroTime as Go reads it: it demands the fraction, which a whole second would be written without."""
    return moment.replace(microsecond=1) if moment is not None and not moment.microsecond else moment


class EventStrategy(Strategy):
    create_on_update = True

    def set_defaults(self, obj: Any) -> None:
        obj.eventTime = micro(obj.eventTime)
        if obj.series is not None:
            obj.series.lastObservedTime = micro(obj.series.lastObservedTime)

    def validate(self, obj: Any) -> list[FieldError]:
        about = obj.involvedObject.namespace or ""
        namespace = obj.metadata.namespace
        if (about and about != namespace) or (not about and namespace not in ("default", "kube-system")):
            return [invalid("involvedObject.namespace", about, "does not match event.namespace")]
        return []


class LeaseStrategy(Strategy):
    create_on_update = True

    def set_defaults(self, obj: Any) -> None:
        if obj.spec is not None:
            obj.spec.renewTime, obj.spec.acquireTime = micro(obj.spec.renewTime), micro(obj.spec.acquireTime)

    def validate(self, obj: Any) -> list[FieldError]:
        errors: list[FieldError] = []
        spec = obj.spec
        if spec is None:
            return errors
        if spec.leaseDurationSeconds is not None and spec.leaseDurationSeconds <= 0:
            errors.append(invalid("spec.leaseDurationSeconds", spec.leaseDurationSeconds, "must be greater than 0"))
        if spec.leaseTransitions is not None and spec.leaseTransitions < 0:
            errors.append(invalid("spec.leaseTransitions", spec.leaseTransitions, "must be greater than or equal to 0"))
        return errors


class EndpointSliceStrategy(Strategy):
    """Everything but its metadata is what it specifies."""

    counts_generations = True

    def specification(self, obj: Any) -> Any:
        return (obj.addressType, obj.endpoints, obj.ports)

    def set_defaults(self, obj: Any) -> None:
        obj.endpoints = obj.endpoints or []
        for port in obj.ports or ():
            port.name = port.name if port.name is not None else ""
            port.protocol = port.protocol or "TCP"

    def validate(self, obj: Any) -> list[FieldError]:
        errors: list[FieldError] = []
        if obj.addressType not in ("IPv4", "IPv6", "FQDN"):
            wrong = not_supported("addressType", obj.addressType, ["FQDN", "IPv4", "IPv6"])
            errors.append(wrong if obj.addressType else required("addressType"))
        if len(obj.endpoints) > MAX_ENDPOINTS:
            errors.append(FieldError("endpoints", "FieldValueTooLong", f"must have at most {MAX_ENDPOINTS} items"))
        for index, endpoint in enumerate(obj.endpoints):
            path = f"endpoints[{index}].addresses"
            if not endpoint.addresses:
                errors.append(required(path, "must contain at least 1 address"))
            for place, address in enumerate(endpoint.addresses or ()):
                errors += _check_address(f"{path}[{place}]", address, obj.addressType)
        seen = set()
        for index, port in enumerate(obj.ports or ()):
            if port.name in seen:
                errors.append(FieldError(f"ports[{index}].name", "FieldValueDuplicate", "", port.name))
            seen.add(port.name)
            if port.protocol not in PROTOCOLS:
                errors.append(not_supported(f"ports[{index}].protocol", port.protocol, PROTOCOLS))
            if port.port is not None:
                check_port(errors, f"ports[{index}].port", port.port)
        return errors

    def validate_update(self, new: Any, old: Any) -> list[FieldError]:
        errors = self.validate(new)
        if new.addressType != old.addressType:
            errors.append(invalid("addressType", new.addressType, "field is immutable"))
        return errors


def _check_address(path: str, address: str, kind: str) -> list[FieldError]:
    if kind == "FQDN":
        return names.check(path, address, names.dns_subdomain)
    try:
        right = ipaddress.ip_address(address).version == (4 if kind == "IPv4" else 6)
    except ValueError:
        right = False
    return [] if right else [invalid(path, address, f"must be a valid {kind} address")]


__all__ = ["EndpointSliceStrategy", "EventStrategy", "LeaseStrategy", "micro"]
