"""The three ways to ask something of a container: a command inside it, an HTTP request, a TCP connection.

Probes and lifecycle hooks share them. `run` returns (success, output).
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

import httpx2
from lightkube.models.core_v1 import Container, ExecAction, HTTPGetAction, TCPSocketAction

from kubelet.runtime.base import Runtime, RuntimeFailure

Result = tuple[bool, str]

BODY_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Handler:
    """One of the three; `sleep` does nothing for so many seconds."""

    exec: ExecAction | None = None
    http_get: HTTPGetAction | None = None
    tcp_socket: TCPSocketAction | None = None
    sleep: float = 0.0


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to ask."""

    container: Container
    container_id: str
    ip: str


class Handlers:
    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        # Kubernetes does not check the certificate of what it probes, and follows no redirect to another host.
        limits = httpx2.Limits(max_keepalive_connections=0)
        self._http = httpx2.AsyncClient(verify=False, limits=limits, trust_env=False, follow_redirects=False)

    async def close(self) -> None:
        await self._http.aclose()

    async def run(self, handler: Handler, target: Target, *, seconds: float) -> Result:
        """Never raises: what goes wrong is a failure with its reason."""
        try:
            async with asyncio.timeout(seconds):
                if handler.exec:
                    return await self._exec(handler.exec, target, seconds)
                if handler.http_get:
                    return await self._get(handler.http_get, target)
                if handler.tcp_socket:
                    return await _connect(handler.tcp_socket, target)
                await asyncio.sleep(handler.sleep)
                return True, ""
        except TimeoutError:
            return False, f"timed out after {seconds:g}s"
        except (RuntimeFailure, httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
            return False, str(error) or type(error).__name__

    async def _exec(self, action: ExecAction, target: Target, seconds: float) -> Result:
        result = await self._runtime.exec(target.container_id, action.command or [], seconds=seconds)
        return result.exit_code == 0, result.output

    async def _get(self, action: HTTPGetAction, target: Target) -> Result:
        host = action.host or target.ip
        scheme = (action.scheme or "HTTP").lower()
        path = action.path or "/"
        url = f"{scheme}://{host}:{port_number(action.port, target.container)}/{path.lstrip('/')}"
        headers = {"User-Agent": "kube-probe/1.0", "Accept": "*/*", "Connection": "close"}
        headers |= {each.name: each.value for each in action.httpHeaders or []}
        async with self._http.stream("GET", url, headers=headers, timeout=None) as response:
            body = b""
            with contextlib.suppress(httpx2.HTTPError):
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) >= BODY_BYTES:
                        break
        if 200 <= response.status_code < 400:
            return True, body[:BODY_BYTES].decode(errors="replace")
        return False, f"HTTP probe failed with statuscode: {response.status_code}"


async def _connect(action: TCPSocketAction, target: Target) -> Result:
    _, writer = await asyncio.open_connection(action.host or target.ip, port_number(action.port, target.container))
    writer.close()
    return True, ""


def port_number(port: int | str, container: Container) -> int:
    """A port by number, or by the name the container gives it. Raises ValueError."""
    if isinstance(port, int) or port.isdigit():
        return int(port)
    for each in container.ports or []:
        if each.name == port:
            return each.containerPort
    raise ValueError(f"couldn't find port: {port}")
