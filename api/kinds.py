"""The one table of kinds: everything the API serves, a row each.

Routes, discovery, OpenAPI, printing and the CLI's short names are read from `KINDS`. Adding a kind is one row
here and, where it has rules of its own, one strategy in `apiserver/strategy/`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import msgspec
from lightkube.core.resource import NamespacedResource, Resource
from lightkube.models import autoscaling_v1 as autoscaling
from lightkube.resources import apps_v1 as apps
from lightkube.resources import certificates_v1 as certificates
from lightkube.resources import coordination_v1 as coordination
from lightkube.resources import core_v1 as core
from lightkube.resources import discovery_v1 as discovery

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True)
class Kind:
    """One kind of object and how clients name it (https://kubernetes.io/docs/reference/using-api/api-concepts/)."""

    resource: type[Resource]
    singular: str
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    selectable_fields: tuple[str, ...] = ()
    """Field selectors beside metadata.name and metadata.namespace, as paths into the object."""

    @cached_property
    def group(self) -> str:
        return self.resource._api_info.resource.group

    @cached_property
    def version(self) -> str:
        return self.resource._api_info.resource.version

    @cached_property
    def kind(self) -> str:
        return self.resource._api_info.resource.kind

    @cached_property
    def plural(self) -> str:
        return self.resource._api_info.plural

    @cached_property
    def api_version(self) -> str:
        """`v1` or `apps/v1`, as in an object's apiVersion."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @cached_property
    def namespaced(self) -> bool:
        return issubclass(self.resource, NamespacedResource)

    @cached_property
    def qualified(self) -> str:
        """`deployments.apps`, or just `pods` in the core group: how messages name the resource."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @cached_property
    def has_status(self) -> bool:
        return "status" in self.subresources

    @cached_property
    def decoder(self) -> msgspec.json.Decoder[Resource]:
        return msgspec.json.Decoder(self.resource)

    def path(self, namespace: str | None = None, name: str | None = None) -> str:
        """The REST path of the collection, or of one object when `name` is given."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        scope = f"/namespaces/{namespace}" if namespace and self.namespaced else ""
        return f"{root}{scope}/{self.plural}" + (f"/{name}" if name else "")


KINDS: tuple[Kind, ...] = (
    Kind(
        core.Namespace, "namespace", ("ns",), subresources=("status", "finalize"), selectable_fields=("status.phase",)
    ),
    Kind(core.Node, "node", ("no",), subresources=("status",), selectable_fields=("spec.unschedulable",)),
    Kind(
        core.Pod,
        "pod",
        ("po",),
        ("all",),
        subresources=("status", "binding", "log", "eviction"),
        selectable_fields=(
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ),
    ),
    Kind(
        core.Service,
        "service",
        ("svc",),
        ("all",),
        subresources=("status",),
        selectable_fields=("spec.clusterIP", "spec.type"),
    ),
    Kind(discovery.EndpointSlice, "endpointslice"),
    Kind(core.ConfigMap, "configmap", ("cm",)),
    Kind(core.Secret, "secret", selectable_fields=("type",)),
    Kind(
        core.Event,
        "event",
        ("ev",),
        selectable_fields=(
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ),
    ),
    Kind(core.ServiceAccount, "serviceaccount", ("sa",), subresources=("token",)),
    Kind(coordination.Lease, "lease"),
    Kind(apps.Deployment, "deployment", ("deploy",), ("all",), subresources=("status", "scale")),
    Kind(
        apps.ReplicaSet,
        "replicaset",
        ("rs",),
        ("all",),
        subresources=("status", "scale"),
        selectable_fields=("status.replicas",),
    ),
    Kind(
        certificates.CertificateSigningRequest,
        "certificatesigningrequest",
        ("csr",),
        subresources=("status", "approval"),
        selectable_fields=("spec.signerName",),
    ),
)

_BY_PLURAL = {(kind.group, kind.version, kind.plural): kind for kind in KINDS}
_BY_KIND = {(kind.api_version, kind.kind): kind for kind in KINDS}
_BY_RESOURCE: dict[type, Kind] = {kind.resource: kind for kind in KINDS}


def by_plural(group: str, version: str, plural: str) -> Kind | None:
    """The kind behind `/apis/<group>/<version>/<plural>`; the core group is the empty string."""
    return _BY_PLURAL.get((group, version, plural))


def by_kind(api_version: str, kind: str) -> Kind | None:
    """The kind of an object, from its apiVersion and kind."""
    return _BY_KIND.get((api_version, kind))


def by_resource(resource: type) -> Kind:
    """The row of a lightkube class. Raises KeyError for a kind this API does not serve."""
    return _BY_RESOURCE[resource]


def by_name(name: str) -> Kind | None:
    """The kind a person means by `po`, `pod`, `Pods` or `deployments.apps`."""
    wanted = name.lower()
    for kind in KINDS:
        names = {kind.plural, kind.singular, *kind.short_names}
        if wanted in names or any(wanted == f"{each}.{kind.group}" for each in names if kind.group):
            return kind
    return None


class Scale(autoscaling.Scale):
    """autoscaling/v1 Scale: what the `scale` subresource reads and writes."""
