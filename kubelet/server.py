"""The kubelet's HTTPS server: what only the node has. Nobody but the API server and administrators get in: a
certificate of the cluster's CA is not enough, every node has one.

    GET /containerLogs/{namespace}/{pod}/{container}?follow=&previous=&tailLines=&timestamps=&sinceSeconds=&limitBytes=
    GET /pods       the pods of this node as this kubelet sees them
    GET /stats/summary, /metrics/resource    what they and the node use
    GET /healthz
    and as WebSockets (kubelet/streams/):
    /exec/{namespace}/{pod}/{container}?command=&input=&output=&error=&tty=
    /attach/{namespace}/{pod}/{container}?input=&output=&error=
    /portForward/{namespace}/{pod}?port=

Errors are plain text with a status code; the API server makes a Status of them.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import uvicorn
from lightkube.models.core_v1 import ContainerStatus, PodList, PodStatus
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from api import meta
from api.tls import Subject, TlsProtocol, WebSocketProtocol, subject_of
from kubelet.pods.worker import Worker
from kubelet.runtime.base import LogOptions, Observed, Runtime, RuntimeFailure, Stream
from kubelet.stats import Stats
from kubelet.streams import channels, port_forward, remote_command, spdy_forward
from kubelet.streams.remote_command import Wanted

Find = Callable[[str, str], Worker | None]
"""A pod's worker by namespace and name."""


@dataclass(frozen=True, slots=True)
class Tls:
    certificate: Path
    key: Path
    client_ca: Path


APISERVER = "kube-apiserver-kubelet-client"
ADMINISTRATORS = frozenset({"system:masters", "kubeadm:cluster-admins"})
"""The user and the groups whose certificates get in."""
WEBSOCKET_MESSAGE_BYTES = 16 * 1024 * 1024


class Refused(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def guarded(app: ASGIApp) -> ASGIApp:
    """`app` for those who are welcome."""

    async def guard(scope: Scope, receive: Receive, send: Send) -> None:
        subject = subject_of(scope) or Subject("", ())
        if subject.common_name == APISERVER or not ADMINISTRATORS.isdisjoint(subject.organizations):
            await app(scope, receive, send)
            return
        why = f"Forbidden (user={subject.common_name}, verb=get, resource=nodes, subresource=proxy)"
        await PlainTextResponse(why, 403)(scope, receive, send)

    return guard


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The component stops as a whole; the server is no exception."""
        yield


async def serve(app: Starlette, *, address: str, port: int, tls: Tls | None) -> None:
    """Until cancelled."""
    config = uvicorn.Config(
        app if tls is None else guarded(app),
        host=address,
        port=port,
        log_level="warning",
        access_log=False,
        lifespan="off",
        http=TlsProtocol,
        ws=WebSocketProtocol,
        ws_max_size=WEBSOCKET_MESSAGE_BYTES,
        ws_per_message_deflate=False,
        ws_ping_interval=None,
    )
    if tls is not None:
        config.ssl_certfile, config.ssl_keyfile = str(tls.certificate), str(tls.key)
        config.ssl_ca_certs, config.ssl_cert_reqs = str(tls.client_ca), ssl.CERT_REQUIRED
    config.timeout_graceful_shutdown = 1
    await _Server(config).serve()


def make_app(runtime: Runtime, find: Find, workers: Callable[[], list[Worker]], stats: Stats) -> Starlette:
    """Plain Starlette: a few routes are not worth FastAPI's start, half a second of CPU on every node."""

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, Refused)
        return PlainTextResponse(str(error), status_code=error.code)

    async def healthz(request: Request) -> Response:
        return PlainTextResponse("ok")

    async def pods(request: Request) -> Response:
        listed = PodList(items=[each.pod for each in workers()])
        return Response(msgspec.json.encode(listed), media_type="application/json")

    async def summary(request: Request) -> Response:
        return Response(msgspec.json.encode(stats.summary()), media_type="application/json")

    async def metrics(request: Request) -> Response:
        return PlainTextResponse(stats.exposition())

    async def logs(request: Request) -> Response:
        where, query = request.path_params, dict(request.query_params)
        worker = worker_of(find, where)
        container_id = container_to_read(worker, where["container"], previous=_flag(query, "previous"))
        stream = runtime.logs(container_id, log_options(query))
        return StreamingResponse(_limited(stream, _number(query, "limitBytes")), media_type="text/plain")

    routes = [
        Route("/healthz", healthz),
        Route("/pods", pods),
        Route("/stats/summary", summary),
        Route("/metrics/resource", metrics),
        Route("/containerLogs/{namespace}/{pod}/{container}", logs),
        *stream_routes(runtime, find),
    ]
    return Starlette(routes=routes, exception_handlers={Refused: refused})


def worker_of(find: Find, where: dict[str, str]) -> Worker:
    """The pod that a path means. Raises Refused."""
    worker = find(where["namespace"], where["pod"])
    if worker is None:
        raise Refused(404, f'pod "{where["pod"]}" not found on this node')
    return worker


def stream_routes(runtime: Runtime, find: Find) -> list[WebSocketRoute]:
    async def exec_(websocket: WebSocket) -> None:
        container, (protocol, wanted) = running_container(find, websocket), remote_command_of(websocket)
        command = websocket.query_params.getlist("command")
        if not command:
            raise Refused(400, "you must specify a command")
        stream = await _opened(
            runtime.open_exec(
                container.id, command, stdin=wanted.stdin, stderr=wanted.stderr or wanted.tty, tty=wanted.tty
            )
        )
        await remote_command.serve(websocket, protocol, stream, wanted)

    async def attach(websocket: WebSocket) -> None:
        container, (protocol, wanted) = running_container(find, websocket), remote_command_of(websocket)
        stream = await _opened(
            runtime.open_attach(container.id, stdin=wanted.stdin, stderr=wanted.stderr, tty=container.tty)
        )
        await remote_command.serve(websocket, protocol, stream, wanted)

    async def forward(websocket: WebSocket) -> None:
        worker = worker_of(find, websocket.path_params)
        sandbox = next((each for each in worker.snapshot().sandboxes if each.is_running), None)
        if sandbox is None:
            raise Refused(500, f"pod {meta.name(worker.pod)} has no running sandbox")
        if spdy_forward.SUBPROTOCOL in websocket.scope["subprotocols"]:
            await spdy_forward.Forwarder(websocket, pid=sandbox.pid, pod=meta.name(worker.pod)).run()
            return
        protocol = _protocol(websocket, channels.PORT_FORWARD)
        ports = [int(each) for each in websocket.query_params.getlist("port") if each.isdigit()]
        if not ports or not all(0 < each < 65536 for each in ports):
            raise Refused(400, 'query parameter "port" is required: numbers from 1 to 65535')
        await port_forward.serve(websocket, protocol, ports, pid=sandbox.pid, pod=meta.name(worker.pod))

    one = "/{namespace}/{pod}/{container}"
    return [
        WebSocketRoute(f"/exec{one}", _refusing(exec_)),
        WebSocketRoute(f"/attach{one}", _refusing(attach)),
        WebSocketRoute("/portForward/{namespace}/{pod}", _refusing(forward)),
    ]


def _refusing(endpoint: Callable[[WebSocket], Awaitable[None]]) -> Callable[[WebSocket], Awaitable[None]]:
    """What is refused before the upgrade is an ordinary answer."""

    async def handle(websocket: WebSocket) -> None:
        try:
            await endpoint(websocket)
        except Refused as error:
            await websocket.send_denial_response(PlainTextResponse(str(error), status_code=error.code))

    return handle


async def _opened(opening: Awaitable[Stream]) -> Stream:
    try:
        return await opening
    except RuntimeFailure as error:
        raise Refused(500, str(error)) from error


def _protocol(websocket: WebSocket, served: Sequence[channels.Subprotocol]) -> channels.Subprotocol:
    chosen = channels.choose(websocket.scope["subprotocols"], served)
    if chosen is None:
        raise Refused(400, f"none of the subprotocols is served; these are: {', '.join(each.name for each in served)}")
    return chosen


def remote_command_of(websocket: WebSocket) -> tuple[channels.Subprotocol, Wanted]:
    """How, and which streams. Raises Refused."""
    try:
        return _protocol(websocket, channels.REMOTE_COMMAND), Wanted.of(websocket.query_params)
    except ValueError as error:
        raise Refused(400, str(error)) from error


def running_container(find: Find, websocket: WebSocket) -> Observed:
    """The container that a path means. Raises Refused with Kubernetes' words."""
    worker, name = worker_of(find, websocket.path_params), websocket.path_params["container"]
    latest = worker.snapshot().latest(name)
    if latest is None or not latest.is_running:
        raise Refused(500, f'container not found ("{name}")')
    return latest


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
