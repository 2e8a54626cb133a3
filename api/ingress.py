"""Which Ingresses are served by the HAProxy of every node: those of a class with our controller's name. Pure.

https://kubernetes.io/docs/concepts/services-networking/ingress/#ingress-class
"""

from __future__ import annotations

from collections.abc import Mapping

from lightkube.resources.networking_v1 import Ingress, IngressClass

from api import meta

CONTROLLER = "minik.io/ingress"
CLASS_ANNOTATION = "kubernetes.io/ingress.class"


def class_of(ingress: Ingress, classes: Mapping[str, IngressClass]) -> IngressClass | None:
    """One that names no class has none: the default class is filled in when an Ingress is made."""
    annotated = (meta.metadata(ingress).annotations or {}).get(CLASS_ANNOTATION)
    return classes.get((ingress.spec and ingress.spec.ingressClassName) or annotated or "")


def is_ours(ingress: Ingress, classes: Mapping[str, IngressClass]) -> bool:
    found = class_of(ingress, classes)
    return found is not None and found.spec is not None and found.spec.controller == CONTROLLER


def has_parameters(ingress: Ingress, classes: Mapping[str, IngressClass]) -> bool:
    """Whether its class asks for more than this controller can be told."""
    found = class_of(ingress, classes)
    return found is not None and found.spec is not None and found.spec.parameters is not None
