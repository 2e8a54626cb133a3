"""IngressClasses: which controller serves an Ingress (https://kubernetes.io/docs/concepts/services-networking/ingress/#ingress-class)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from lightkube.resources.networking_v1 import IngressClass

from api.errors import FieldError, forbidden, invalid, required
from apiserver.registry import names, rules
from apiserver.registry.columns import AGE, NAME, NONE, Column, Object, at
from apiserver.registry.kind import Kind

LONGEST_CONTROLLER = 250
_PATH = re.compile(r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+")


def defaults(obj: Any) -> None:
    if obj.spec is not None and obj.spec.parameters is not None:
        obj.spec.parameters.scope = obj.spec.parameters.scope or "Cluster"


def controller(obj: Any) -> Iterator[FieldError]:
    """A path in a domain: `example.com/ingress`."""
    path, text = "spec.controller", (obj.spec and obj.spec.controller) or ""
    domain, _, rest = text.partition("/")
    if len(text) > LONGEST_CONTROLLER:
        yield FieldError(path, "FieldValueTooLong", f"may not be more than {LONGEST_CONTROLLER} bytes")
    if not text:
        yield required(path)
    elif not domain or not rest:
        yield invalid(path, text, 'must be a domain-prefixed path (such as "acme.io/foo")')
    else:
        yield from names.check(path, domain, names.dns_subdomain)
        if not _PATH.fullmatch(rest):
            yield invalid(path, rest, f"Invalid path (regex used for validation is '{_PATH.pattern}')")


def parameters(obj: Any) -> Iterator[FieldError]:
    given, path = obj.spec and obj.spec.parameters, "spec.parameters"
    if given is None:
        return
    yield from typed_reference(given, path)
    if given.scope == "Namespace" and not given.namespace:
        yield required(f"{path}.namespace", "`parameters.scope` is set to 'Namespace'")
    if given.scope == "Cluster" and given.namespace is not None:
        yield forbidden(f"{path}.namespace", "`parameters.scope` is set to 'Cluster'")


def typed_reference(reference: Any, path: str) -> Iterator[FieldError]:
    """apiGroup, kind and name of an object of any kind."""
    if reference.apiGroup:
        yield from names.check(f"{path}.apiGroup", reference.apiGroup, names.dns_subdomain)
    for member in ("kind", "name"):
        if value := getattr(reference, member):
            yield from names.check(f"{path}.{member}", value, names.path_segment)
        else:
            yield required(f"{path}.{member}")


def parameters_cell(obj: Object) -> str:
    given = obj.get("spec", {}).get("parameters")
    if not given:
        return NONE
    group = f".{given['apiGroup']}" if given.get("apiGroup") else ""
    return f"{given.get('kind', '')}{group}/{given.get('name', '')}"


INGRESS_CLASS = Kind(
    IngressClass,
    columns=(NAME, Column("Controller", at("spec.controller")), Column("Parameters", parameters_cell), AGE),
    counts_generations=True,
    defaults=defaults,
    rules=(controller, parameters, rules.one_of("spec.parameters.scope", "Cluster", "Namespace", needed=True)),
    immutable=("spec.controller",),
)
