"""Where the documents are served: /openapi/v2, /openapi/v3 and one path below it for each group version.

Interface: `add_routes(app, registry)`.
Kubernetes: https://kubernetes.io/docs/concepts/overview/kubernetes-api/#openapi-interface-definition. The index of v3
names each document by its hash, and what is asked for by its hash may be kept for ever. v3 is JSON only; v2 is
protobuf too, because Go clients ask for nothing else.
"""

from __future__ import annotations

import email.utils
import time
from collections.abc import Callable

from fastapi import FastAPI
from fastapi import Request as HttpRequest
from fastapi import Response as HttpResponse

from api.errors import ApiStatusError, NotAcceptable, NotFound
from apiserver import codec
from apiserver.http.responses import error_response
from apiserver.openapi import v2_protobuf
from apiserver.openapi.document import Published, group_document, whole_document
from apiserver.registry.registry import Registry

_YEAR_SECONDS = 365 * 24 * 3600
_JSON = (codec.JSON, "application/*", "*/*", "")


def add_routes(app: FastAPI, registry: Registry) -> None:
    @app.get("/openapi/v2")
    async def whole(request: HttpRequest) -> HttpResponse:
        return _answered(request, lambda media: whole_document(registry, media), v2_protobuf.MEDIA_TYPE)

    @app.get("/openapi/v3")
    async def index(request: HttpRequest) -> HttpResponse:
        return _answered(request, lambda _: _index(registry))

    @app.get("/openapi/v3/{root:path}")
    async def document(request: HttpRequest, root: str) -> HttpResponse:
        return _answered(request, lambda _: _by_root(registry, root))


def _by_root(registry: Registry, root: str) -> Published:
    for group, version in registry.versions():
        if root == _root(group, version):
            return group_document(registry, group, version)
    raise NotFound.path()


def _index(registry: Registry) -> Published:
    paths = {}
    for group, version in registry.versions():
        root, digest = _root(group, version), group_document(registry, group, version).digest
        paths[root] = {"serverRelativeURL": f"/openapi/v3/{root}?hash={digest}"}
    return Published.of({"paths": paths})


def _root(group: str, version: str) -> str:
    return f"apis/{group}/{version}" if group else f"api/{version}"


def _chosen(accept: str, others: tuple[str, ...]) -> str:
    """The first media type that is accepted and there. Raises NotAcceptable."""
    for option in accept.split(","):
        media = option.partition(";")[0].strip().replace(v2_protobuf.ASKED_FOR, v2_protobuf.MEDIA_TYPE)
        if media in _JSON or media in others:
            return media if media in others else codec.JSON
    raise NotAcceptable(f"only the following media types are accepted: {', '.join((codec.JSON, *others))}")


def _answered(request: HttpRequest, make: Callable[[str], Published], *others: str) -> HttpResponse:
    """What `make` makes for a media type: JSON, or one of the others."""
    try:
        published = make(_chosen(request.headers.get("accept", ""), others))
    except ApiStatusError as error:
        refused = error_response(error)
        return HttpResponse(refused.body, refused.status, media_type=refused.media_type)
    tag, wanted = f'"{published.digest}"', request.query_params.get("hash")
    headers = {"etag": tag, "vary": "Accept"}
    if wanted and wanted != published.digest:  # asked for by an old name
        return HttpResponse(None, 301, {"location": f"{request.url.path}?hash={published.digest}"})
    if wanted:
        expires = email.utils.formatdate(time.time() + _YEAR_SECONDS, usegmt=True)
        headers |= {"cache-control": "public, immutable", "expires": expires}
    if tag in request.headers.get("if-none-match", ""):
        return HttpResponse(None, 304, headers)
    return HttpResponse(published.body, 200, headers, media_type=published.media_type)
