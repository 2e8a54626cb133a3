"""Which kinds the API server serves right now (https://kubernetes.io/docs/concepts/overview/kubernetes-api/#aggregated-discovery).

For loops over every kind there is: kinds come and go while the server runs.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import msgspec
from lightkube import ApiError

from api.resource import ResourceInfo
from client import rest
from client.config import Client

_ACCEPT = {
    "Accept": ",".join(
        f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList" for version in ("v2", "v2beta1")
    )
}


@dataclass(frozen=True)
class Served:
    """A kind in one of its versions; those the server prefers come first."""

    info: ResourceInfo
    verbs: frozenset[str]


class _Metadata(msgspec.Struct):
    name: str = ""


class _Kind(msgspec.Struct):
    kind: str = ""


class _Resource(msgspec.Struct):
    resource: str
    scope: str = ""
    verbs: list[str] = []
    responseKind: _Kind | None = None


class _Version(msgspec.Struct):
    version: str
    resources: list[_Resource] = []


class _Group(msgspec.Struct):
    metadata: _Metadata
    versions: list[_Version] = []


class _Groups(msgspec.Struct):
    items: list[_Group] = []


async def discover(client: Client) -> list[Served]:
    """Every kind in every version. Raises lightkube.ApiError and httpx2.HTTPError."""
    answers = await asyncio.gather(*(rest.request(client, "GET", root, headers=_ACCEPT) for root in ("/api", "/apis")))
    return [served for answer in answers for served in read(answer)]


def read(document: bytes) -> list[Served]:
    """The kinds in an APIGroupDiscoveryList. Raises msgspec.MsgspecError for anything else. Pure."""
    return [
        Served(
            ResourceInfo(
                group=group.metadata.name,
                version=version.version,
                kind=each.responseKind.kind if each.responseKind else "",
                plural=each.resource,
                namespaced=each.scope == "Namespaced",
            ),
            frozenset(each.verbs),
        )
        for group in msgspec.json.decode(document, type=_Groups).items
        for version in group.versions
        for each in version.resources
    ]


class _ApiResource(msgspec.Struct):
    name: str
    kind: str
    namespaced: bool


class _ApiResourceList(msgspec.Struct):
    resources: list[_ApiResource] = []


async def find(client: Client, api_version: str, kind: str) -> ResourceInfo | None:
    """A kind by what an object reference says of it; None when it is not served. Raises lightkube.ApiError."""
    group, _, version = api_version.rpartition("/")
    try:
        answer = await rest.request(client, "GET", f"/apis/{api_version}" if group else f"/api/{version}")
    except ApiError as error:
        if error.status.code == 404:
            return None
        raise
    for each in msgspec.json.decode(answer, type=_ApiResourceList).resources:
        if each.kind == kind and "/" not in each.name:
            return ResourceInfo(group, version, kind, each.name, each.namespaced)
    return None
