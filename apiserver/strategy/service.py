"""Services: their defaults and rules, and the addresses and ports they hold (see allocation.py)."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

from lightkube.models.core_v1 import ClientIPConfig, LoadBalancerStatus, ServiceStatus, SessionAffinityConfig

from api.errors import FieldError, Invalid, duplicate, invalid, not_supported, required
from apiserver import names
from apiserver.strategy.allocation import AllocationError, Allocator
from apiserver.strategy.base import Strategy
from apiserver.strategy.pod_spec import PROTOCOLS, check_port, port_name

if TYPE_CHECKING:
    from apiserver.backend import Backend

TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
WITH_NODE_PORTS = ("NodePort", "LoadBalancer")
HEADLESS = "None"


class ServiceStrategy(Strategy):
    def name_rule(self, text: str) -> list[str]:
        return names.dns_1035_label(text)

    def initial_status(self, obj: Any) -> ServiceStatus:
        return ServiceStatus(loadBalancer=LoadBalancerStatus())

    def set_defaults(self, obj: Any) -> None:
        spec = obj.spec
        if spec is None:
            return
        spec.type = spec.type or "ClusterIP"
        spec.sessionAffinity = spec.sessionAffinity or "None"
        if spec.sessionAffinity == "ClientIP":
            config = spec.sessionAffinityConfig = spec.sessionAffinityConfig or SessionAffinityConfig()
            config.clientIP = config.clientIP or ClientIPConfig()
            config.clientIP.timeoutSeconds = config.clientIP.timeoutSeconds or 10800
        for port in spec.ports or ():
            port.protocol = port.protocol or "TCP"
            if port.targetPort in (None, 0, ""):
                port.targetPort = port.port
        if spec.type in WITH_NODE_PORTS:
            spec.externalTrafficPolicy = spec.externalTrafficPolicy or "Cluster"
        if spec.type == "LoadBalancer" and spec.allocateLoadBalancerNodePorts is None:
            spec.allocateLoadBalancerNodePorts = True
        if spec.type != "ExternalName":
            spec.internalTrafficPolicy = spec.internalTrafficPolicy or "Cluster"
            spec.ipFamilies = spec.ipFamilies or ["IPv4"]
            spec.ipFamilyPolicy = spec.ipFamilyPolicy or "SingleStack"

    def prepare_for_update(self, new: Any, old: Any) -> None:
        """What the server allocated stays, although the client left it out (Kubernetes' patchAllocatedValues)."""
        super().prepare_for_update(new, old)
        if new.spec is None or old.spec is None:
            return
        both = "ExternalName" not in (new.spec.type, old.spec.type)
        if both and not new.spec.clusterIP and not new.spec.clusterIPs:
            new.spec.clusterIP, new.spec.clusterIPs = old.spec.clusterIP, old.spec.clusterIPs
        if new.spec.type in WITH_NODE_PORTS:
            _keep_node_ports(new.spec, old.spec)
        else:
            _drop_node_ports(new.spec, old.spec)
        if new.spec.type == "ExternalName" and old.spec.type != "ExternalName":
            new.spec.clusterIP = new.spec.clusterIPs = new.spec.ipFamilies = new.spec.ipFamilyPolicy = None

    def validate(self, obj: Any) -> list[FieldError]:
        spec = obj.spec
        if spec is None:
            return [required("spec.ports")]
        errors: list[FieldError] = []
        if spec.type not in TYPES:
            errors.append(not_supported("spec.type", spec.type, TYPES))
        if spec.sessionAffinity not in ("None", "ClientIP"):
            errors.append(not_supported("spec.sessionAffinity", spec.sessionAffinity, ["ClientIP", "None"]))
        if spec.type == "ExternalName":
            if not spec.externalName:
                errors.append(required("spec.externalName"))
            else:
                errors += names.check("spec.externalName", spec.externalName.rstrip("."), names.dns_subdomain)
        elif not spec.ports and spec.clusterIP != HEADLESS:
            errors.append(required("spec.ports"))
        errors += names.check_labels(spec.selector, "spec.selector")
        errors += _validate_ports(spec)
        errors += _validate_addresses(spec)
        return errors

    def validate_update(self, new: Any, old: Any) -> list[FieldError]:
        errors = self.validate(new)
        if new.spec is None or old.spec is None or "ExternalName" in (new.spec.type, old.spec.type):
            return errors
        if old.spec.clusterIP and new.spec.clusterIP != old.spec.clusterIP:
            why = "may not change once set" if new.spec.clusterIP else "primary clusterIP can not be unset"
            errors.append(invalid("spec.clusterIPs[0]", new.spec.clusterIP or "", why))
        return errors

    # Addresses and ports

    async def before_create(self, obj: Any, backend: Backend, *, dry_run: bool) -> None:
        await self.before_update(obj, None, backend, dry_run=dry_run)

    async def before_update(self, new: Any, old: Any, backend: Backend, *, dry_run: bool) -> None:
        """Take the ClusterIP and node ports that `new` needs and `old` does not have."""
        allocator = Allocator(backend, dry_run=dry_run)
        errors: list[FieldError] = []
        try:
            await _allocate_address(new, old, allocator, errors)
            await _allocate_node_ports(new, old, allocator, errors)
        except BaseException:
            await allocator.undo()
            raise
        if errors:
            await allocator.undo()
            raise Invalid.of(kind=self.kind.kind, group=self.kind.group, name=new.metadata.name, errors=errors)

    async def release(self, obj: Any, backend: Backend, *, keep: Any = None) -> None:
        kept_addresses, kept_ports = held(keep)
        addresses, ports = held(obj)
        allocator = Allocator(backend)
        for address in addresses - kept_addresses:
            await allocator.free_address(address, obj)
        for port in ports - kept_ports:
            await allocator.free_port(port, obj)


def held(service: Any) -> tuple[set[str], set[int]]:
    """The addresses and node ports of a Service."""
    spec = service.spec if service is not None else None
    if spec is None:
        return set(), set()
    address = spec.clusterIP if spec.type != "ExternalName" else None
    ports = {port.nodePort for port in spec.ports or () if port.nodePort} if spec.type in WITH_NODE_PORTS else set()
    return ({address} if address and address != HEADLESS else set()), ports


async def _allocate_address(new: Any, old: Any, allocator: Allocator, errors: list[FieldError]) -> None:
    spec = new.spec
    if spec.type == "ExternalName":
        return
    if spec.clusterIPs and not spec.clusterIP:
        spec.clusterIP = spec.clusterIPs[0]
    if spec.clusterIP != HEADLESS and spec.clusterIP not in held(old)[0]:
        try:
            spec.clusterIP = await allocator.take_address(spec.clusterIP, new)
        except AllocationError as error:
            errors.append(
                invalid("spec.clusterIPs", spec.clusterIP or "", f"failed to allocate IP {spec.clusterIP}: {error}")
            )
            return
    spec.clusterIPs = [spec.clusterIP]


async def _allocate_node_ports(new: Any, old: Any, allocator: Allocator, errors: list[FieldError]) -> None:
    spec = new.spec
    if spec.type not in WITH_NODE_PORTS or (
        spec.type == "LoadBalancer" and spec.allocateLoadBalancerNodePorts is False
    ):
        return
    mine = held(old)[1]
    for index, port in enumerate(spec.ports or ()):
        if port.nodePort and port.nodePort in mine:
            continue
        try:
            port.nodePort = await allocator.take_port(port.nodePort or 0, new)
            mine.add(port.nodePort)
        except AllocationError as error:
            errors.append(invalid(f"spec.ports[{index}].nodePort", port.nodePort or 0, str(error)))


def _keep_node_ports(new: Any, old: Any) -> None:
    before = {(port.protocol, port.port): port.nodePort for port in old.ports or ()}
    taken = {port.nodePort for port in new.ports or () if port.nodePort}
    for port in new.ports or ():
        candidate = before.get((port.protocol, port.port))
        if not port.nodePort and candidate not in taken:
            port.nodePort = candidate


def _drop_node_ports(new: Any, old: Any) -> None:
    """A Service that becomes a ClusterIP loses the node ports it had, unless the client set them anew."""
    if old.type in WITH_NODE_PORTS:
        before = {port.nodePort for port in old.ports or ()}
        for port in new.ports or ():
            if port.nodePort in before:
                port.nodePort = None


def _validate_ports(spec: Any) -> list[FieldError]:
    errors: list[FieldError] = []
    seen_names: set[str] = set()
    seen: set[tuple[str, int]] = set()
    for index, port in enumerate(spec.ports or ()):
        path = f"spec.ports[{index}]"
        if not port.name and len(spec.ports) > 1:
            errors.append(required(f"{path}.name"))
        elif port.name:
            errors += names.check(f"{path}.name", port.name, names.dns_label)
            if port.name in seen_names:
                errors.append(duplicate(f"{path}.name", port.name))
            seen_names.add(port.name)
        check_port(errors, f"{path}.port", port.port)
        if port.protocol not in PROTOCOLS:
            errors.append(not_supported(f"{path}.protocol", port.protocol, PROTOCOLS))
        if isinstance(port.targetPort, int):
            check_port(errors, f"{path}.targetPort", port.targetPort)
        elif port.targetPort:
            errors += names.check(f"{path}.targetPort", port.targetPort, port_name)
        if (port.protocol, port.port) in seen:
            errors.append(duplicate(path, f"{port.port}/{port.protocol}"))
        seen.add((port.protocol, port.port))
        if port.nodePort and spec.type not in WITH_NODE_PORTS:
            why = f"may not be used when `type` is '{spec.type}'"
            errors.append(FieldError(f"{path}.nodePort", "FieldValueForbidden", why))
    return errors


def _validate_addresses(spec: Any) -> list[FieldError]:
    errors: list[FieldError] = []
    if spec.type == "ExternalName":
        if spec.clusterIP:
            errors.append(
                FieldError("spec.clusterIPs", "FieldValueForbidden", "may not be set when `type` is 'ExternalName'")
            )
        return errors
    if spec.clusterIP == HEADLESS and spec.type in WITH_NODE_PORTS:
        errors.append(invalid("spec.clusterIPs[0]", HEADLESS, f"may not be set to 'None' for {spec.type} services"))
    if spec.clusterIP and spec.clusterIP != HEADLESS and not _is_address(spec.clusterIP):
        errors.append(
            invalid(
                "spec.clusterIPs[0]", spec.clusterIP, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
            )
        )
    if spec.clusterIP and spec.clusterIPs and spec.clusterIPs[0] != spec.clusterIP:
        errors.append(invalid("spec.clusterIPs", spec.clusterIPs[0], "first value must match `clusterIP`"))
    for index, address in enumerate(spec.externalIPs or ()):
        if not _is_address(address):
            errors.append(invalid(f"spec.externalIPs[{index}]", address, "must be a valid IP address"))
    return errors


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
