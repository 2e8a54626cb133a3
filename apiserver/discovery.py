"""Discovery: which groups, versions and resources there are, derived from the table of kinds.

Interface: `serves(path)`, `answer(request)`. Both forms: one document per group version, and all at once
(apidiscovery.k8s.io/v2) for clients that ask for it with `as=APIGroupDiscoveryList`.
Kubernetes: https://kubernetes.io/docs/concepts/overview/kubernetes-api/#discovery-api.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from api.errors import MethodNotAllowed, NotFound
from api.kinds import KINDS, VERBS, Kind
from apiserver import codec
from apiserver.request import Request
from apiserver.responses import Response

# What a subresource takes and answers with, where that is not the kind itself: (group, version, kind), verbs.
_SUBRESOURCES: dict[str, tuple[tuple[str, str, str] | None, tuple[str, ...]]] = {
    "status": (None, ("get", "patch", "update")),
    "approval": (None, ("get", "patch", "update")),
    "scale": (("autoscaling", "v1", "Scale"), ("get", "patch", "update")),
    "binding": (("", "v1", "Binding"), ("create",)),
    "eviction": (("policy", "v1", "Eviction"), ("create",)),
    "finalize": (None, ("update",)),
    "token": (("authentication.k8s.io", "v1", "TokenRequest"), ("create",)),
    "log": (None, ("get",)),
}


def groups() -> list[tuple[str, str]]:
    """The (group, version) pairs served, the core group first."""
    return sorted({(kind.group, kind.version) for kind in KINDS})


def serves(path: str) -> bool:
    return path.rstrip("/") in ("/api", "/apis") or path.startswith(("/api/", "/apis/"))


def answer(request: Request) -> Response:
    """Raises NotFound for groups and versions that are not served."""
    if request.info.verb not in ("get", "list", "watch", "head"):
        raise MethodNotAllowed()
    parts = tuple(each for each in request.info.path.split("/") if each)
    if parts in (("api",), ("apis",)) and (version := _aggregated_version(request.accept)):
        media_type = f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
        return Response(_aggregated(parts[0], version), media_type=media_type)
    return Response(_document(parts))


def _aggregated_version(accept: str) -> str:
    for option in accept.split(","):
        parameters = {part.strip() for part in option.split(";")[1:]}
        if {"g=apidiscovery.k8s.io", "as=APIGroupDiscoveryList"} <= parameters:
            for version in ("v2", "v2beta1"):
                if f"v={version}" in parameters:
                    return version
    return ""


@cache
def _document(parts: tuple[str, ...]) -> bytes:
    match parts:
        case ("api",):
            address = [{"clientCIDR": "0.0.0.0/0", "serverAddress": ""}]
            return codec.encode({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": address})
        case ("apis",):
            listed = [_group(group) for group in dict.fromkeys(group for group, _ in groups() if group)]
            return codec.encode({"kind": "APIGroupList", "apiVersion": "v1", "groups": listed})
        case ("api", version) if ("", version) in groups():
            return _resource_list("", version)
        case ("apis", group) if any(group == each for each, _ in groups()):
            return codec.encode({"kind": "APIGroup", "apiVersion": "v1"} | _group(group))
        case ("apis", group, version) if (group, version) in groups():
            return _resource_list(group, version)
    raise NotFound.path()


def _group(group: str) -> dict[str, Any]:
    versions = [
        {"groupVersion": f"{group}/{version}", "version": version} for each, version in groups() if each == group
    ]
    return {"name": group, "versions": versions, "preferredVersion": versions[0]}


def _resource_list(group: str, version: str) -> bytes:
    resources = []
    for kind in _kinds(group, version):
        resources.append(_resource(kind))
        resources += [_subresource(kind, each) for each in kind.subresources]
    document = {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{group}/{version}" if group else version,
        "resources": resources,
    }
    return codec.encode(document)


def _resource(kind: Kind) -> dict[str, Any]:
    document: dict[str, Any] = {
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": list(VERBS),
    }
    if kind.short_names:
        document["shortNames"] = list(kind.short_names)
    if kind.categories:
        document["categories"] = list(kind.categories)
    return document


def _subresource(kind: Kind, name: str) -> dict[str, Any]:
    identity, verbs = _SUBRESOURCES[name]
    document: dict[str, Any] = {
        "name": f"{kind.plural}/{name}",
        "singularName": "",
        "namespaced": kind.namespaced,
        "kind": identity[2] if identity else kind.kind,
        "verbs": list(verbs),
    }
    if identity:
        document["group"], document["version"] = identity[0], identity[1]
    return document


@cache
def _aggregated(root: str, version: str) -> bytes:
    wanted = [(group, each) for group, each in groups() if bool(group) is (root == "apis")]
    items = [
        {
            "metadata": {"name": group, "creationTimestamp": None},
            "versions": [
                {
                    "version": each,
                    "freshness": "Current",
                    "resources": [
                        _aggregated_resource(kind) for kind in KINDS if (kind.group, kind.version) == (group, each)
                    ],
                }
            ],
        }
        for group, each in wanted
    ]
    kind = "APIGroupDiscoveryList"
    return codec.encode({"kind": kind, "apiVersion": f"apidiscovery.k8s.io/{version}", "metadata": {}, "items": items})


def _kinds(group: str, version: str) -> list[Kind]:
    return [kind for kind in KINDS if (kind.group, kind.version) == (group, version)]


def _aggregated_resource(kind: Kind) -> dict[str, Any]:
    document: dict[str, Any] = {
        "resource": kind.plural,
        "responseKind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": list(VERBS),
        "shortNames": list(kind.short_names),
        "categories": list(kind.categories),
        "subresources": [_aggregated_subresource(kind, each) for each in kind.subresources],
    }
    return {key: value for key, value in document.items() if value != []}


def _aggregated_subresource(kind: Kind, name: str) -> dict[str, Any]:
    identity, verbs = _SUBRESOURCES[name]
    group, version, named = identity or (kind.group, kind.version, kind.kind)
    return {
        "subresource": name,
        "responseKind": {"group": group, "version": version, "kind": named},
        "verbs": list(verbs),
    }
