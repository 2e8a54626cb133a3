"""What a kind of object is called, and its path: the little every client of the API needs to know of a kind.

A component names a kind by its lightkube class: `resource_info(Pod)`. Kinds nobody has a class for come from discovery
(client/discovery.py). Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from lightkube.core.resource import NamespacedResource, Resource, api_info

R = TypeVar("R")


@dataclass(frozen=True)
class ResourceInfo:
    """The names of a kind (https://kubernetes.io/docs/reference/using-api/api-concepts/#standard-api-terminology)."""

    group: str
    """Empty for the core group."""
    version: str
    kind: str
    plural: str
    namespaced: bool

    @property
    def api_version(self) -> str:
        """`v1` or `apps/v1`, as in an object's apiVersion."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """`deployments.apps`, or just `pods` in the core group."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str = "") -> str:
        """The REST path of the collection, of one object when `name` is given, or of a subresource of it."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        scope = f"/namespaces/{namespace}" if namespace and self.namespaced else ""
        return f"{root}{scope}/{self.plural}" + "".join(f"/{each}" for each in (name, subresource) if each)


_infos: dict[type, ResourceInfo] = {}
_decoders: dict[type, msgspec.json.Decoder[Any]] = {}


def resource_info(resource: type) -> ResourceInfo:
    """The names of a lightkube class."""
    if resource not in _infos:
        info = api_info(resource)
        group, version, kind = info.resource
        _infos[resource] = ResourceInfo(group, version, kind, info.plural, issubclass(resource, NamespacedResource))
    return _infos[resource]


def decoder(resource: type[R]) -> msgspec.json.Decoder[R]:
    """Reads an object of the class from JSON, skipping fields the class does not have."""
    if resource not in _decoders:
        _decoders[resource] = msgspec.json.Decoder(resource)
    return _decoders[resource]


def type_of(obj: Any) -> tuple[str, str]:
    """The apiVersion and kind of an object, whether its class tells or it says so itself."""
    if isinstance(obj, Resource):
        info = resource_info(type(obj))
        return info.api_version, info.kind
    return obj.apiVersion or "", obj.kind or ""
