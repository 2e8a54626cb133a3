"""Services: their defaults and rules, and the addresses and ports they hold (see allocation.py)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lightkube.models.core_v1 import ClientIPConfig, LoadBalancerStatus, ServiceStatus, SessionAffinityConfig
from lightkube.resources.core_v1 import Service

from api.errors import FieldError, Invalid, forbidden, invalid, required
from apiserver.backend import Backend
from apiserver.kinds.allocation import AllocationError, Allocator, repair
from apiserver.kinds.pod_spec import PROTOCOLS, target_port
from apiserver.registry import names, rules
from apiserver.registry.columns import AGE, NAME, NONE, SELECTOR, Column, Object, at, listed
from apiserver.registry.kind import Kind
from apiserver.verbs.status import STATUS

TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
WITH_NODE_PORTS = ("NodePort", "LoadBalancer")
HEADLESS = "None"
OF_TYPES = {
    "externalTrafficPolicy": WITH_NODE_PORTS,
    "allocateLoadBalancerNodePorts": ("LoadBalancer",),
    "loadBalancerClass": ("LoadBalancer",),
    "loadBalancerSourceRanges": ("LoadBalancer",),
}
"""Fields that only Services of some types may have."""
LONGEST_AFFINITY_SECONDS = 86400


def defaults(obj: Any) -> None:
    spec = obj.spec
    if spec is None:
        return
    spec.type = spec.type or "ClusterIP"
    spec.sessionAffinity = spec.sessionAffinity or "None"
    if spec.sessionAffinity == "ClientIP":
        config = spec.sessionAffinityConfig = spec.sessionAffinityConfig or SessionAffinityConfig()
        config.clientIP = config.clientIP or ClientIPConfig()
        if config.clientIP.timeoutSeconds is None:
            config.clientIP.timeoutSeconds = 10800
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


def keep_allocated(new: Any, old: Any) -> None:
    """What the server allocated stays, although the client left it out (Kubernetes' patchAllocatedValues)."""
    if new.spec is None or old.spec is None:
        return
    both = "ExternalName" not in (new.spec.type, old.spec.type)
    if both and not new.spec.clusterIP and not new.spec.clusterIPs:
        new.spec.clusterIP, new.spec.clusterIPs = old.spec.clusterIP, old.spec.clusterIPs
    if new.spec.type in WITH_NODE_PORTS:
        _keep_node_ports(new.spec, old.spec)
    else:
        _drop_node_ports(new.spec, old.spec)
    for field, types in OF_TYPES.items():
        if new.spec.type not in types and getattr(new.spec, field) == getattr(old.spec, field):
            setattr(new.spec, field, None)  # what only the type before had (Kubernetes' dropTypeDependentFields)
    if new.spec.type == "ExternalName" and old.spec.type != "ExternalName":
        new.spec.clusterIP = new.spec.clusterIPs = new.spec.ipFamilies = new.spec.ipFamilyPolicy = None


# --- addresses and ports ----------------------------------------------------------------------------------------


async def allocate(new: Any, old: Any, backend: Backend, *, dry_run: bool) -> None:
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
        raise Invalid.of(kind="Service", group="", name=new.metadata.name, errors=errors)


async def release(obj: Any, backend: Backend, keep: Any = None) -> None:
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


# --- rules ------------------------------------------------------------------------------------------------------


def ports(obj: Any) -> Iterator[FieldError]:
    """Names are needed as soon as there are two, and no port is there twice."""
    spec = obj.spec
    if spec is None:
        yield required("spec.ports")
        return
    if spec.type != "ExternalName" and not spec.ports and spec.clusterIP != HEADLESS:
        yield required("spec.ports")
    for index, port in enumerate(spec.ports or ()):
        path = f"spec.ports[{index}]"
        if not port.name and len(spec.ports) > 1:
            yield required(f"{path}.name")
        if port.nodePort and spec.type not in WITH_NODE_PORTS:
            yield forbidden(f"{path}.nodePort", f"may not be used when `type` is '{spec.type}'")


def traffic(obj: Any) -> Iterator[FieldError]:
    """Who may come from outside, to which pods, and how long to the same one."""
    spec = obj.spec
    if spec is None:
        return
    is_external = spec.type in WITH_NODE_PORTS or bool(spec.externalIPs)
    if spec.externalTrafficPolicy and not is_external:
        why = "may only be set for externally-accessible services"
        yield invalid("spec.externalTrafficPolicy", spec.externalTrafficPolicy, why)
    for field in ("allocateLoadBalancerNodePorts", "loadBalancerClass", "loadBalancerSourceRanges"):
        if getattr(spec, field) not in (None, [], "") and spec.type != "LoadBalancer":
            yield forbidden(f"spec.{field}", "may only be used when `type` is 'LoadBalancer'")
    client = spec.sessionAffinityConfig and spec.sessionAffinityConfig.clientIP
    if spec.sessionAffinity == "None" and spec.sessionAffinityConfig is not None:
        yield forbidden("spec.sessionAffinityConfig", "must not be set when session affinity is None")
    elif client and not 0 < (client.timeoutSeconds or 0) <= LONGEST_AFFINITY_SECONDS:
        path = "spec.sessionAffinityConfig.clientIP.timeoutSeconds"
        yield invalid(path, client.timeoutSeconds, f"must be greater than 0 and less than {LONGEST_AFFINITY_SECONDS}")


def addresses(obj: Any) -> Iterator[FieldError]:
    spec = obj.spec
    if spec is None:
        return
    if spec.type == "ExternalName":
        if spec.clusterIP:
            yield forbidden("spec.clusterIPs", "may not be set when `type` is 'ExternalName'")
        if not spec.externalName:
            yield required("spec.externalName")
        else:
            yield from names.check("spec.externalName", spec.externalName.rstrip("."), names.dns_subdomain)
        return
    if spec.clusterIP == HEADLESS and spec.type in WITH_NODE_PORTS:
        yield invalid("spec.clusterIPs[0]", HEADLESS, f"may not be set to 'None' for {spec.type} services")
    given = spec.clusterIPs or [spec.clusterIP]
    for index, each in enumerate(given):
        if each and each != HEADLESS and not rules.is_address(each):
            yield invalid(f"spec.clusterIPs[{index}]", each, rules.NO_ADDRESS)
    if len(given) > 1:
        yield invalid("spec.clusterIPs", rules.shown(given), "may only hold one value on this cluster")
    if spec.clusterIP and spec.clusterIPs and spec.clusterIPs[0] != spec.clusterIP:
        yield invalid("spec.clusterIPs", spec.clusterIPs[0], "first value must match `clusterIP`")


def source_range(text: str) -> list[str]:
    return rules.no_cidr(text.strip())


def keeps_address(new: Any, old: Any) -> Iterator[FieldError]:
    if new.spec is None or old.spec is None or "ExternalName" in (new.spec.type, old.spec.type):
        return
    if old.spec.clusterIP and new.spec.clusterIP != old.spec.clusterIP:
        why = "may not change once set" if new.spec.clusterIP else "primary clusterIP can not be unset"
        yield invalid("spec.clusterIPs[0]", new.spec.clusterIP or "", why)


# --- the kind ---------------------------------------------------------------------------------------------------


def _external(service: Object) -> str:
    spec = service.get("spec", {})
    external = spec.get("externalIPs") or []
    match spec.get("type"):
        case "LoadBalancer":
            ingress = service.get("status", {}).get("loadBalancer", {}).get("ingress") or []
            found = [each.get("ip") or each.get("hostname", "") for each in ingress] + external
            return ",".join(found) if found else "<pending>"
        case "ExternalName":
            return str(spec.get("externalName", NONE))
    return listed(external)


def _ports(service: Object) -> str:
    shown = []
    for each in service.get("spec", {}).get("ports") or []:
        node_port = f":{each['nodePort']}" if each.get("nodePort") else ""
        shown.append(f"{each['port']}{node_port}/{each.get('protocol', 'TCP')}")
    return listed(shown)


SERVICE = Kind(
    Service,
    short_names=("svc",),
    categories=("all",),
    subresources=(STATUS,),
    selectable=("spec.clusterIP", "spec.type"),
    columns=(
        NAME,
        Column("Type", at("spec.type")),
        Column("Cluster-IP", at("spec.clusterIP")),
        Column("External-IP", _external),
        Column("Port(s)", _ports),
        AGE,
        SELECTOR,
    ),
    name_rule=names.dns_1035_label,
    defaults=defaults,
    initial_status=lambda obj: ServiceStatus(loadBalancer=LoadBalancerStatus()),
    prepare_update=keep_allocated,
    rules=(
        rules.one_of("spec.type", *TYPES, needed=True),
        rules.one_of("spec.sessionAffinity", "None", "ClientIP", needed=True),
        rules.check("spec.ipFamilies[*]", lambda each: [] if each == "IPv4" else ["not configured on this cluster"]),
        rules.one_of("spec.ipFamilyPolicy", "SingleStack", "PreferDualStack", "RequireDualStack"),
        rules.labels("spec.selector"),
        rules.one_of("spec.externalTrafficPolicy", "Cluster", "Local"),
        rules.one_of("spec.internalTrafficPolicy", "Cluster", "Local"),
        traffic,
        rules.check("spec.loadBalancerSourceRanges[*]", source_range),
        ports,
        rules.named("spec.ports[*].name", names.dns_label),
        rules.distinct("spec.ports", lambda port: port.name, ".name"),
        rules.port_number("spec.ports[*].port"),
        rules.check("spec.ports[*].targetPort", target_port, empty=True),
        rules.one_of("spec.ports[*].protocol", *PROTOCOLS, needed=True),
        rules.distinct("spec.ports", lambda port: f"{port.port}/{port.protocol}"),
        addresses,
        rules.address("spec.externalIPs[*]", "must be a valid IP address"),
    ),
    change_rules=(keeps_address,),
    allocate=allocate,
    release=release,
    repair=repair,
)
