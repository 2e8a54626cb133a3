"""Small builders of the objects proxy and ingress read."""

from types import SimpleNamespace
from typing import Any

from lightkube.models.core_v1 import ServicePort, ServiceSpec
from lightkube.models.discovery_v1 import Endpoint, EndpointConditions, EndpointPort
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Service
from lightkube.resources.discovery_v1 import EndpointSlice


def service(name: str = "web", *, namespace: str = "default", **spec: Any) -> Service:
    """A Service, port 80/TCP at 10.96.0.5 unless told otherwise."""
    spec.setdefault("ports", [ServicePort(port=80)])
    spec.setdefault("clusterIP", "10.96.0.5")
    return Service(metadata=ObjectMeta(name=name, namespace=namespace), spec=ServiceSpec(**spec))


def pod(address: str, *, node: str = "node-1", hostname: str | None = None, **conditions: bool | None) -> Endpoint:
    conditions.setdefault("ready", True)
    return Endpoint(addresses=[address], nodeName=node, hostname=hostname, conditions=EndpointConditions(**conditions))


def slice_of(
    *endpoints: Endpoint, service: str = "web", namespace: str = "default", ports: list[EndpointPort] | None = None
) -> EndpointSlice:
    labels = {"kubernetes.io/service-name": service}
    return EndpointSlice(
        addressType="IPv4",
        metadata=ObjectMeta(name=f"{service}-1", namespace=namespace, labels=labels),
        ports=ports if ports is not None else [EndpointPort(port=8080, protocol="TCP")],
        endpoints=list(endpoints),
    )


make = SimpleNamespace(service=service, pod=pod, slice=slice_of)
