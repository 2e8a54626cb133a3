"""Ingresses: which requests from outside reach which Service (https://kubernetes.io/docs/concepts/services-networking/ingress/)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lightkube.models.networking_v1 import IngressLoadBalancerStatus, IngressStatus
from lightkube.resources.networking_v1 import Ingress, IngressClass

from api.errors import FieldError, invalid, not_supported, required
from api.resource import resource_info
from apiserver.admission.default_class import DefaultClass
from apiserver.kinds.ingressclass import typed_reference
from apiserver.kinds.pod_spec import port_name
from apiserver.registry import fields, names, rules
from apiserver.registry.columns import AGE, NAME, NONE, Column, Object, listed
from apiserver.registry.kind import Kind
from apiserver.verbs.status import STATUS

CLASS_ANNOTATION = "kubernetes.io/ingress.class"
DEFAULT_CLASS = DefaultClass(
    classes=resource_info(IngressClass).qualified,
    field="spec.ingressClassName",
    annotation="ingressclass.kubernetes.io/is-default-class",
    instead=CLASS_ANNOTATION,
)
PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_SEQUENCES, _ENDINGS = ("//", "/./", "/../", "%2f", "%2F"), ("/..", "/.")


def spec(obj: Any) -> Iterator[FieldError]:
    given = obj.spec
    if given is None or (not given.rules and given.defaultBackend is None):
        yield invalid("spec", None, "either `defaultBackend` or `rules` must be specified")
    elif given.defaultBackend is not None:
        yield from backend(given.defaultBackend, "spec.defaultBackend")


def paths(obj: Any) -> Iterator[FieldError]:
    for here, http in fields.find(obj, "spec.rules[*].http"):
        if http is not None and not http.paths:
            yield required(f"{here}.paths")
    for here, each in fields.find(obj, "spec.rules[*].http.paths[*]"):
        yield from _path(each, here)
        yield from backend(each.backend, f"{here}.backend")


def _path(each: Any, here: str) -> Iterator[FieldError]:
    text = each.path or ""
    if not each.pathType:
        yield required(f"{here}.pathType", "pathType must be specified")
    elif each.pathType not in PATH_TYPES:
        yield not_supported(f"{here}.pathType", each.pathType, PATH_TYPES)
    elif not text.startswith("/") and (text or each.pathType != "ImplementationSpecific"):
        yield invalid(f"{here}.path", text, "must be an absolute path")
    elif each.pathType != "ImplementationSpecific":
        yield from (invalid(f"{here}.path", text, f"must not contain '{bad}'") for bad in _SEQUENCES if bad in text)
        yield from (invalid(f"{here}.path", text, f"cannot end with '{bad}'") for bad in _ENDINGS if text.endswith(bad))


def backend(given: Any, path: str) -> Iterator[FieldError]:
    """A Service with a port by name or number, or another object."""
    if given.resource is not None and given.service is not None:
        yield invalid(path, "", "cannot set both resource and service backends")
    elif given.resource is not None:
        yield from typed_reference(given.resource, f"{path}.resource")
    elif given.service is None:
        yield invalid(path, "", "resource or service backend is required")
    else:
        yield from _service(given.service, path)


def _service(service: Any, path: str) -> Iterator[FieldError]:
    if not service.name:
        yield required(f"{path}.service.name")
    else:
        yield from names.check(f"{path}.service.name", service.name, names.dns_1035_label)
    name, number = (service.port and service.port.name) or "", (service.port and service.port.number) or 0
    if name and number:
        yield invalid(path, "", "cannot set both port name & port number")
    elif name:
        yield from (invalid(f"{path}.service.port.name", name, why) for why in port_name(name))
    elif not number:
        yield required(path, "port name or number is required")
    elif not 1 <= number <= 65535:
        yield invalid(f"{path}.service.port.number", number, "must be between 1 and 65535, inclusive")


def host(text: str) -> list[str]:
    """A DNS name; its first label may be `*`."""
    if rules.is_address(text):
        return ["must be a DNS name, not an IP address"]
    if "*" not in text:
        return names.dns_subdomain(text)
    if len(text) <= 253 and text.startswith("*.") and not names.dns_subdomain(text[2:]):
        return []
    return [
        "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of "
        "lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', "
        r"regex used for validation is '\*\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
    ]


def same_class(obj: Any) -> Iterator[FieldError]:
    """The older annotation may stay beside the field if it says the same."""
    old, new = (obj.metadata.annotations or {}).get(CLASS_ANNOTATION), obj.spec and obj.spec.ingressClassName
    if old is not None and new is not None and old != new:
        path = f"annotations.{CLASS_ANNOTATION}"
        yield invalid(path, old, "must match `ingressClassName` when both are specified")


# --- columns ----------------------------------------------------------------------------------------------------------


def class_cell(obj: Object) -> str:
    annotated = (obj["metadata"].get("annotations") or {}).get(CLASS_ANNOTATION)
    return str(obj.get("spec", {}).get("ingressClassName") or annotated or NONE)


def hosts_cell(obj: Object) -> str:
    found = [each["host"] for each in obj.get("spec", {}).get("rules") or [] if each.get("host")]
    return listed(found, 3) if found else "*"


def address_cell(obj: Object) -> str:
    points = obj.get("status", {}).get("loadBalancer", {}).get("ingress") or []
    return ",".join(each.get("ip") or each.get("hostname", "") for each in points)


INGRESS = Kind(
    Ingress,
    short_names=("ing",),
    subresources=(STATUS,),
    columns=(
        NAME,
        Column("Class", class_cell),
        Column("Hosts", hosts_cell),
        Column("Address", address_cell),
        Column("Ports", lambda obj: "80, 443" if obj.get("spec", {}).get("tls") else "80"),
        AGE,
    ),
    counts_generations=True,
    initial_status=lambda obj: IngressStatus(loadBalancer=IngressLoadBalancerStatus()),
    rules=(
        spec,
        paths,
        rules.check("spec.rules[*].host", host),
        rules.check("spec.tls[*].hosts[*]", host),
        rules.named("spec.tls[*].secretName", names.dns_subdomain),
        rules.named("spec.ingressClassName", names.dns_subdomain),
        same_class,
    ),
    admission=(DEFAULT_CLASS,),
)
