"""Port-forward: connections to the pod's own loopback, whatever the network between says.

In the form of `v4.channel.k8s.io` each wanted port has two channels, data and error, which both begin with the port's
number in two bytes, the low one first. Source: k8s.io/kubernetes/pkg/kubelet/cri/streaming/portforward/websocket.go.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket

from starlette.websockets import WebSocket

from kubelet.streams.channels import Subprotocol
from kubelet.streams.session import Session
from linux import namespaces

CHUNK_BYTES = 64 * 1024
CONNECT_SECONDS = 10.0
LOOPBACKS = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connect(pid: int, port: int) -> Ends:
    """To that port of the loopback of the process' network namespace. Raises OSError."""
    refusal: OSError | None = None
    for family, address in LOOPBACKS:
        with namespaces.entered(namespaces.of_process(pid)):
            made = socket.socket(family, socket.SOCK_STREAM)
        made.setblocking(False)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await asyncio.get_running_loop().sock_connect(made, (address, port))
            return await asyncio.open_connection(sock=made, limit=CHUNK_BYTES)
        except OSError as error:
            made.close()
            refusal = refusal or error
    raise refusal or OSError("no loopback")


def failure(port: int, pod: str, error: BaseException) -> str:
    """Why a connection failed, as Kubernetes tells it."""
    text = str(error) or type(error).__name__
    return f"error forwarding port {port} to pod {pod}: failed to connect to localhost:{port} inside namespace: {text}"


async def serve(websocket: WebSocket, protocol: Subprotocol, ports: list[int], *, pid: int, pod: str) -> None:
    """Until every connection has ended or the client is gone."""
    ends = await asyncio.gather(*(connect(pid, port) for port in ports), return_exceptions=True)
    session = Session(websocket, protocol, pulse_channel=0)

    async def deliver(index: int) -> None:
        port, end = ports[index], ends[index]
        for channel in (2 * index, 2 * index + 1):
            await session.send(channel, port.to_bytes(2, "little"))
        if isinstance(end, BaseException):
            await session.send(2 * index + 1, failure(port, pod, end).encode())
            return
        with contextlib.suppress(ConnectionError):
            while data := await end[0].read(CHUNK_BYTES):
                await session.send(2 * index, data)

    async def output() -> None:
        await asyncio.gather(*map(deliver, range(len(ports))))

    async def read() -> None:
        async with contextlib.aclosing(session.messages()) as messages:
            async for channel, data in messages:
                end = ends[channel // 2] if channel < 2 * len(ends) and channel % 2 == 0 else None
                if isinstance(end, tuple):
                    with contextlib.suppress(ConnectionError):  # its other half tells
                        end[1].write(data)
                        await end[1].drain()

    try:
        await session.run(output(), read())
    finally:
        for end in ends:
            if isinstance(end, tuple):
                end[1].close()
