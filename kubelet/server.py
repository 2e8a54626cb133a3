"""The kubelet's HTTPS server: where the API server fetches logs. Nobody but the API server and administrators get in:
a certificate of the cluster's CA is not enough, every node has one.

    GET /containerLogs/{namespace}/{pod}/{container}?follow=&previous=&tailLines=&timestamps=&sinceSeconds=&limitBytes=
    GET /pods       the pods of this node as this kubelet sees them
    GET /healthz

Errors are plain text with a status code; the API server makes a Status of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import uvicorn
from lightkube.models.core_v1 import ContainerStatus, PodList, PodStatus
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api import meta
from kubelet.pods.worker import Worker
from kubelet.runtime.base import LogOptions, Runtime

Find = Callable[[str, str], Worker | None]
"""A pod's worker by namespace and name."""


@dataclass(frozen=True, slots=True)
class Tls:
    certificate: Path
    key: Path
    client_ca: Path


class Refused(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


APISERVER = "kube-apiserver-kubelet-client"
ADMINISTRATORS = frozenset({"system:masters", "kubeadm:cluster-admins"})


class _Protocol(HttpToolsProtocol):
    """HTTP/1.1 whose requests know whether their connection's client certificate is one of those let in."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        user, groups = subject_of(transport.get_extra_info("peercert") or {})
        self.app_state = {**self.app_state, "user": user, "welcome": user == APISERVER or bool(groups & ADMINISTRATORS)}
        super().connection_made(transport)


def subject_of(certificate: Mapping[str, Any]) -> tuple[str, set[str]]:
    """User and groups of a verified certificate, in the form of `ssl.SSLSocket.getpeercert()`."""
    names = [pair for rdn in certificate.get("subject", ()) for pair in rdn]
    users = [value for name, value in names if name == "commonName"]
    return (users[-1] if users else ""), {value for name, value in names if name == "organizationName"}


def guarded(app: ASGIApp) -> ASGIApp:
    """`app` for those who are welcome."""

    async def guard(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["state"]["welcome"]:
            await app(scope, receive, send)
            return
        why = f"Forbidden (user={scope['state']['user']}, verb=get, resource=nodes, subresource=proxy)"
        await PlainTextResponse(why, 403)(scope, receive, send)

    return guard


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The component stops as a whole; the server is no exception."""
        yield


async def serve(app: Starlette, *, address: str, port: int, tls: Tls | None) -> None:
    """Until cancelled."""
    config = uvicorn.Config(app, host=address, port=port, log_level="warning", access_log=False, lifespan="off")
    if tls is not None:
        config.ssl_certfile, config.ssl_keyfile = str(tls.certificate), str(tls.key)
        config.ssl_ca_certs, config.ssl_cert_reqs = str(tls.client_ca), ssl.CERT_REQUIRED
        config.app, config.http = guarded(app), _Protocol
    config.timeout_graceful_shutdown = 1
    await _Server(config).serve()


def make_app(runtime: Runtime, find: Find, workers: Callable[[], list[Worker]]) -> Starlette:
    """Plain Starlette: three routes are not worth FastAPI's start, half a second of CPU on every node."""

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, Refused)
        return PlainTextResponse(str(error), status_code=error.code)

    async def healthz(request: Request) -> Response:
        return PlainTextResponse("ok")

    async def pods(request: Request) -> Response:
        listed = PodList(items=[each.pod for each in workers()])
        return Response(msgspec.json.encode(listed), media_type="application/json")

    async def logs(request: Request) -> Response:
        where, query = request.path_params, dict(request.query_params)
        worker = find(where["namespace"], where["pod"])
        if worker is None:
            raise Refused(404, f'pod "{where["pod"]}" not found on this node')
        container_id = container_to_read(worker, where["container"], previous=_flag(query, "previous"))
        stream = runtime.logs(container_id, log_options(query))
        return StreamingResponse(_limited(stream, _number(query, "limitBytes")), media_type="text/plain")

    routes = [
        Route("/healthz", healthz),
        Route("/pods", pods),
        Route("/containerLogs/{namespace}/{pod}/{container}", logs),
    ]
    return Starlette(routes=routes, exception_handlers={Refused: refused})


def container_to_read(worker: Worker, name: str, *, previous: bool) -> str:
    """The id of the container whose logs are meant. Raises Refused with Kubernetes' message."""
    pod = meta.name(worker.pod)
    snapshot = worker.snapshot()
    if name not in {each.name for each in [*snapshot.inits, *snapshot.mains]}:
        raise Refused(400, f"container {name} is not valid for pod {pod}")
    ran = [each for each in snapshot.attempts(name) if each.started_at is not None]
    if previous:
        older = [each for each in ran if each.is_dead]
        if ran and ran[0].is_dead and ran[0] is snapshot.latest(name):
            older = older if _is_waiting(worker, name) else older[1:]
        if not older:
            raise Refused(400, f'previous terminated container "{name}" in pod "{pod}" not found')
        return older[0].id
    if not ran:
        waiting = _waiting(worker, name)
        raise Refused(400, f'container "{name}" in pod "{pod}" is waiting to start: {waiting}')
    return ran[0].id


def _status(worker: Worker, name: str) -> ContainerStatus | None:
    status: PodStatus = worker.reporter.latest
    both = [*(status.containerStatuses or []), *(status.initContainerStatuses or [])]
    return next((each for each in both if each.name == name), None)


def _is_waiting(worker: Worker, name: str) -> bool:
    """Whether the last container is history already: its restart is being waited for."""
    status = _status(worker, name)
    return bool(status and status.state and status.state.waiting)


def _waiting(worker: Worker, name: str) -> str:
    status = _status(worker, name)
    state = status.state.waiting if status and status.state else None
    if state is None or state.reason in ("ContainerCreating", "PodInitializing", None):
        return (state and state.reason) or "ContainerCreating"
    return {"ErrImagePull": "image can't be pulled", "ImagePullBackOff": "trying and failing to pull image"}.get(
        str(state.reason), str(state.reason)
    )


def log_options(query: dict[str, str]) -> LogOptions:
    """Raises Refused for numbers that are none."""
    since = None
    seconds = _number(query, "sinceSeconds")
    if seconds is not None:
        since = datetime.now(UTC) - timedelta(seconds=seconds)
    elif query.get("sinceTime"):
        try:
            since = datetime.fromisoformat(query["sinceTime"])
        except ValueError as error:
            raise Refused(400, f"invalid sinceTime: {query['sinceTime']}") from error
    return LogOptions(
        follow=_flag(query, "follow"),
        tail=_number(query, "tailLines"),
        timestamps=_flag(query, "timestamps"),
        since=since,
    )


def _flag(query: dict[str, str], name: str) -> bool:
    return query.get(name, "") in ("true", "1", "True")


def _number(query: dict[str, str], name: str) -> int | None:
    text = query.get(name)
    if not text:
        return None
    if not text.isdigit():
        raise Refused(400, f"invalid {name}: {text}")
    return int(text)


async def _limited(stream: AsyncIterator[bytes], limit: int | None) -> AsyncIterator[bytes]:
    async with contextlib.aclosing(stream):  # type: ignore[type-var]
        async for chunk in stream:
            if limit is None:
                yield chunk
                continue
            yield chunk[:limit]
            limit -= len(chunk)
            if limit <= 0:
                return
