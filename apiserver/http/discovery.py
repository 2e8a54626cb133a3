"""Discovery: which groups, versions and resources there are, as the registry has them at this moment.

Interface: `serves(path)`, `Discovery(registry).answer(request)`. Both forms: one document per group version, and all at
once (apidiscovery.k8s.io/v2) for clients that ask for it with `as=APIGroupDiscoveryList`.
Kubernetes: https://kubernetes.io/docs/concepts/overview/kubernetes-api/#discovery-api.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any

from api.errors import MethodNotAllowed, NotFound
from api.resource import ResourceInfo
from apiserver import codec
from apiserver.http.request import Request
from apiserver.http.responses import Response
from apiserver.registry.kind import Kind, Subresource
from apiserver.registry.registry import Registry

Object = dict[str, Any]


def serves(path: str) -> bool:
    return path.rstrip("/") in ("/api", "/apis") or path.startswith(("/api/", "/apis/"))


class Discovery:
    """Documents are made on first use and kept until the kinds change."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._generation = registry.generation
        self._made: dict[tuple[str, ...], bytes] = {}

    def answer(self, request: Request) -> Response:
        """Raises NotFound for groups and versions that are not served."""
        if request.info.verb not in ("get", "list", "watch", "head"):
            raise MethodNotAllowed()
        parts = tuple(each for each in request.info.path.split("/") if each)
        if parts in (("api",), ("apis",)) and (version := _aggregated_version(request.accept)):
            media_type = f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
            return Response(self._kept((*parts, "", version)), media_type=media_type)
        return Response(self._kept(parts))

    def _kept(self, parts: tuple[str, ...]) -> bytes:
        if self._generation != self._registry.generation:
            self._made, self._generation = {}, self._registry.generation
        if parts not in self._made:
            self._made[parts] = codec.encode(self._document(parts))
        return self._made[parts]

    def _document(self, parts: tuple[str, ...]) -> Object:
        versions = self._registry.versions()
        match parts:
            case (root, "", version):
                return self._aggregated(root, version)
            case ("api",):
                address = [{"clientCIDR": "0.0.0.0/0", "serverAddress": ""}]
                return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": address}
            case ("apis",):
                listed = [self._group(group) for group in dict.fromkeys(group for group, _ in versions if group)]
                return {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}
            case ("api", version) if ("", version) in versions:
                return self._resource_list("", version)
            case ("apis", group) if any(group == each for each, _ in versions):
                return {"kind": "APIGroup", "apiVersion": "v1"} | self._group(group)
            case ("apis", group, version) if (group, version) in versions:
                return self._resource_list(group, version)
        raise NotFound.path()

    def _group(self, group: str) -> Object:
        versions = [
            {"groupVersion": f"{group}/{version}", "version": version}
            for each, version in self._registry.versions()
            if each == group
        ]
        return {"name": group, "versions": versions, "preferredVersion": versions[0]}

    def _resource_list(self, group: str, version: str) -> Object:
        resources = []
        for kind in self._registry.kinds(group, version):
            resources.append(_resource(kind))
            resources += [_subresource(kind, each) for each in kind.subresources]
        named = f"{group}/{version}" if group else version
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": named, "resources": resources}

    def _aggregated(self, root: str, version: str) -> Object:
        wanted = [pair for pair in self._registry.versions() if bool(pair[0]) is (root == "apis")]
        items = []
        for group, pairs in groupby(wanted, key=lambda pair: pair[0]):
            versions = [
                {
                    "version": each,
                    "freshness": "Current",
                    "resources": [_aggregated_resource(kind) for kind in self._registry.kinds(group, each)],
                }
                for _, each in pairs
            ]
            items.append({"metadata": {"name": group, "creationTimestamp": None}, "versions": versions})
        kind = "APIGroupDiscoveryList"
        return {"kind": kind, "apiVersion": f"apidiscovery.k8s.io/{version}", "metadata": {}, "items": items}


def _aggregated_version(accept: str) -> str:
    for option in accept.split(","):
        parameters = {part.strip() for part in option.split(";")[1:]}
        if {"g=apidiscovery.k8s.io", "as=APIGroupDiscoveryList"} <= parameters:
            for version in ("v2", "v2beta1"):
                if f"v={version}" in parameters:
                    return version
    return ""


def _filled(document: Object) -> Object:
    return {key: value for key, value in document.items() if value != []}


def _resource(kind: Kind) -> Object:
    return _filled(
        {
            "name": kind.plural,
            "singularName": kind.singular_name,
            "namespaced": kind.namespaced,
            "kind": kind.kind,
            "verbs": list(kind.verbs),
            "shortNames": list(kind.short_names),
            "categories": list(kind.categories),
        }
    )


def _subresource(kind: Kind, below: Subresource) -> Object:
    document: Object = {
        "name": f"{kind.plural}/{below.name}",
        "singularName": "",
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": sorted(below.handlers),
    }
    if below.takes is not None:
        taken = codec.identity(below.takes)
        document |= {"kind": taken.kind, "group": taken.group, "version": taken.version}
    return document


def _aggregated_resource(kind: Kind) -> Object:
    return _filled(
        {
            "resource": kind.plural,
            "responseKind": _gvk(kind.model.info),
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "singularResource": kind.singular_name,
            "verbs": list(kind.verbs),
            "shortNames": list(kind.short_names),
            "categories": list(kind.categories),
            "subresources": [_aggregated_subresource(kind, each) for each in kind.subresources],
        }
    )


def _aggregated_subresource(kind: Kind, below: Subresource) -> Object:
    answered = kind.model.info if below.takes is None else codec.identity(below.takes)
    return {"subresource": below.name, "responseKind": _gvk(answered), "verbs": sorted(below.handlers)}


def _gvk(named: ResourceInfo | codec.Identity) -> Object:
    return {"group": named.group, "version": named.version, "kind": named.kind}
