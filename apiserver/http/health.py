"""/healthz, /livez, /readyz and /version; and 404 for every path nobody serves.

Kubernetes: https://kubernetes.io/docs/reference/using-api/health-checks/. `?verbose` lists the checks, `?exclude=`
leaves one out, `/readyz/<check>` asks for one.
"""

from __future__ import annotations

import platform
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI
from fastapi import Request as HttpRequest
from fastapi import Response as HttpResponse

from api.errors import NotFound
from api.version import KUBERNETES_VERSION
from apiserver import codec
from apiserver.backend import Backend
from apiserver.http.responses import error_response
from apiserver.storage.base import Unavailable

Check = Callable[[], Awaitable[str]]
"""Says what is wrong; nothing: it is well."""


def checks_of(backend: Backend) -> dict[str, Check]:
    async def ping() -> str:
        return ""

    async def etcd() -> str:
        try:
            await backend.storage.version()
        except Unavailable as error:
            return str(error)
        return ""

    async def informer_sync() -> str:
        return "" if backend.cache.is_ready else "the cache has not been filled yet"

    async def boot_objects() -> str:
        return "" if backend.booted else "the first objects have not been created yet"

    return {"ping": ping, "etcd": etcd, "informer-sync": informer_sync, "poststarthook/boot-objects": boot_objects}


def add_routes(app: FastAPI, backend: Backend) -> None:
    """Health and version; `livez` looks only at the process, so that a broken etcd does not get it killed."""
    checks = checks_of(backend)
    alive = {"ping": checks["ping"]}
    for path, wanted in (("healthz", checks), ("livez", alive), ("readyz", checks)):
        _add_health(app, path, wanted)

    @app.get("/version")
    async def version() -> HttpResponse:
        return HttpResponse(codec.encode(version_info()), media_type=codec.JSON)

    @app.get("/")
    async def root() -> HttpResponse:
        paths = ["/api", "/api/v1", "/apis", "/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"]
        return HttpResponse(codec.encode({"paths": paths}), media_type=codec.JSON)

    @app.api_route("/{path:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
    async def unknown(path: str) -> HttpResponse:
        answer = error_response(NotFound.path())
        return HttpResponse(answer.body, answer.status, media_type=answer.media_type)


def _add_health(app: FastAPI, path: str, checks: dict[str, Check]) -> None:
    @app.get(f"/{path}")
    @app.get(f"/{path}/{{check:path}}")
    async def health(request: HttpRequest, check: str = "") -> HttpResponse:
        excluded = set(request.query_params.getlist("exclude"))
        wanted = {name: each for name, each in checks.items() if name not in excluded and check in ("", name)}
        if check and not wanted:
            answer = error_response(NotFound.path())
            return HttpResponse(answer.body, answer.status, media_type=answer.media_type)
        results = {name: await each() for name, each in wanted.items()}
        failed = any(results.values())
        if not failed and "verbose" not in request.query_params:
            return HttpResponse("ok", media_type="text/plain")
        lines = [f"[-]{name} failed: {why}" if why else f"[+]{name} ok" for name, why in results.items()]
        lines.append(f"{path} check {'failed' if failed else 'passed'}")
        return HttpResponse("\n".join(lines) + "\n", 500 if failed else 200, media_type="text/plain")


_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def version_info() -> dict[str, Any]:
    """What `kubectl version` shows."""
    return {
        "major": "1",
        "minor": "32",
        "gitVersion": KUBERNETES_VERSION,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": f"python{platform.python_version()}",
        "compiler": platform.python_implementation().lower(),
        "platform": f"linux/{_ARCHITECTURES.get(platform.machine(), platform.machine())}",
    }
