"""Which Ingresses are served by the HAProxy of every node: those of a class with our controller's name. Pure.

https://kubernetes.io/docs/concepts/services-networking/ingress/#ingress-class
"""

from __future__ import annotations

from collections.abc import Mapping

from lightkube.resources.networking_v1 import Ingress, IngressClass

from api import meta

CONTROLLER = "minik.io/ingress"
CLASS_ANNOTATION = "kubernetes.io/ingress.class"


def is_ours(ingress: Ingress, classes: Mapping[str, IngressClass]) -> bool:
    """One that names no class is nobody's: the default class is filled in when an Ingress is made."""
    annotated = (meta.metadata(ingress).annotations or {}).get(CLASS_ANNOTATION)
    found = classes.get((ingress.spec and ingress.spec.ingressClassName) or annotated or "")
    return found is not None and found.spec is not None and found.spec.controller == CONTROLLER
