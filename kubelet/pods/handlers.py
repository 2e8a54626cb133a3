"""The ways to ask something of a container: a command inside it, an HTTP request, a TCP connection, a gRPC call.

Probes and lifecycle hooks share them. `run` returns (success, output).
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass

from lightkube.models.core_v1 import Container, ExecAction, GRPCAction, HTTPGetAction, TCPSocketAction

from kubelet.runtime.base import Runtime, RuntimeFailure

Result = tuple[bool, str]

HTTP_VERSION = b"HTTP/"
GRPC_SERVICE_BYTES = 127
"""What one byte of length can say."""


@dataclass(frozen=True, slots=True)
class Handler:
    """One of them; `sleep` does nothing for so many seconds."""

    exec: ExecAction | None = None
    http_get: HTTPGetAction | None = None
    tcp_socket: TCPSocketAction | None = None
    grpc: GRPCAction | None = None
    sleep: float | None = None
    any_answer: bool = False
    """Of HTTP: a hook has delivered its message whatever the status, a probe has not."""


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to ask."""

    container: Container
    container_id: str
    ip: str


class Handlers:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        # Kubernetes does not check the certificate of what it probes.
        self._tls = ssl.create_default_context()
        self._tls.check_hostname, self._tls.verify_mode = False, ssl.CERT_NONE

    async def run(self, handler: Handler, target: Target, *, seconds: float | None) -> Result:
        """Never raises: what goes wrong is a failure with its reason."""
        try:
            if handler.exec:
                return await self._exec(handler.exec, target, seconds)  # its time begins when it does
            async with asyncio.timeout(seconds):
                return await self._ask(handler, target)
        except TimeoutError:
            return False, f"timed out after {seconds:g}s"
        except (RuntimeFailure, OSError, ValueError, asyncio.IncompleteReadError) as error:
            return False, str(error) or type(error).__name__

    async def _ask(self, handler: Handler, target: Target) -> Result:
        if handler.http_get:
            return await self._get(handler.http_get, target, any_answer=handler.any_answer)
        if handler.tcp_socket:
            return await _connect(handler.tcp_socket, target)
        if handler.grpc:
            return await _check_health(handler.grpc, target)
        if handler.sleep is not None:
            await asyncio.sleep(handler.sleep)
            return True, ""
        raise ValueError("invalid handler: it names nothing to do")

    async def _exec(self, action: ExecAction, target: Target, seconds: float | None) -> Result:
        result = await self._runtime.exec(target.container_id, action.command or [], seconds=seconds)
        return result.exit_code == 0, result.output

    async def _get(self, action: HTTPGetAction, target: Target, *, any_answer: bool) -> Result:
        """Only the status matters, so this is all of HTTP it takes; a full client costs ten times the cpu."""
        host = action.host or target.ip
        port = port_number(action.port, target.container)
        tls = self._tls if (action.scheme or "HTTP") == "HTTPS" else None
        reader, writer = await asyncio.open_connection(host, port, ssl=tls)
        try:
            writer.write(_request(action, f"{host}:{port}"))
            code = 100
            while 100 <= code < 200:
                code = await _status_code(reader)
        finally:
            writer.close()
        good = any_answer or 200 <= code < 400
        return good, "" if good else f"HTTP probe failed with statuscode: {code}"


def _request(action: HTTPGetAction, host: str) -> bytes:
    """Raises ValueError for a header or path that would break out of its line."""
    headers = {"Host": host, "User-Agent": "kube-probe/1.0", "Accept": "*/*", "Connection": "close"}
    headers |= {each.name: each.value for each in action.httpHeaders or []}
    path = "/" + (action.path or "/").lstrip("/").replace(" ", "%20")
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a line break in the path or a header")
    return "\r\n".join([*lines, "", ""]).encode()


async def _status_code(reader: asyncio.StreamReader) -> int:
    """Of the next response; its headers are read past only if it is provisional."""
    line = await reader.readline()
    words = line.split()
    if not line.startswith(HTTP_VERSION) or len(words) < 2:
        raise ValueError("malformed HTTP response" if line else "EOF")
    code = int(words[1])
    if code < 200:
        await reader.readuntil(b"\r\n\r\n")
    return code


async def _connect(action: TCPSocketAction, target: Target) -> Result:
    _, writer = await asyncio.open_connection(action.host or target.ip, port_number(action.port, target.container))
    writer.close()
    return True, ""


async def _check_health(action: GRPCAction, target: Target) -> Result:
    """One call of grpc.health.v1.Health/Check; both messages have a single field, so no generated code is needed."""
    import grpc  # 10 MiB that a node pays for only when it is asked to probe by gRPC

    service = (action.service or "").encode()
    request = b"\x0a" + bytes([len(service)]) + service if service else b""
    if len(service) > GRPC_SERVICE_BYTES:
        raise ValueError(f"service name longer than {GRPC_SERVICE_BYTES} bytes")
    if action.mode == "TLS":
        raise ValueError("gRPC probes over TLS are not supported")
    address = f"{target.ip}:{action.port}"
    async with grpc.aio.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            answer = await channel.unary_unary("/grpc.health.v1.Health/Check")(request)
        except grpc.aio.AioRpcError as error:
            if error.code() == grpc.StatusCode.UNIMPLEMENTED:
                detail = "this server does not implement the grpc health protocol (grpc.health.v1.Health)"
                return False, f"error: {detail}: {error.details()}"
            return False, f"error: health rpc probe failed: {error.details()}"
    status = _SERVING.get(answer, "UNKNOWN")
    return status == "SERVING", "" if status == "SERVING" else f'service unhealthy (responded with "{status}")'


_SERVING = {b"\x08\x01": "SERVING", b"\x08\x02": "NOT_SERVING", b"\x08\x03": "SERVICE_UNKNOWN"}


def port_number(port: int | str, container: Container) -> int:
    """A port by number, or by the name the container gives it. Raises ValueError."""
    if isinstance(port, int) or port.isdigit():
        return int(port)
    for each in container.ports or []:
        if each.name == port:
            return each.containerPort
    raise ValueError(f"couldn't find port: {port}")
