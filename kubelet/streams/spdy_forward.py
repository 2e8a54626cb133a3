"""Port-forward as kubectl 1.31 and newer have it: SPDY streams inside one WebSocket, two for each connection.

The client begins an error stream and a data stream with the same request id; what it sends on the data stream goes to
the port, and when the connection has ended the error stream ends, with a text if it failed.
Source: k8s.io/kubernetes/pkg/kubelet/cri/streaming/portforward/httpstream.go.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field

from starlette.websockets import WebSocket, WebSocketDisconnect

from api import spdy
from api.tls import DASHED
from kubelet.streams.port_forward import CHUNK_BYTES, Ends, connect, failure

SUBPROTOCOL = DASHED.decode()
"""Clients say it with a slash."""
MAX_CONNECTIONS = 256
"""Of one client at a time."""


@dataclass(slots=True)
class _Connection:
    """One connection to a port."""

    error_stream: int
    port: int
    ends: asyncio.Future[Ends] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    task: asyncio.Task[None] | None = None

    def cancel(self) -> None:
        if self.task is not None:
            self.task.cancel()


class Forwarder:
    def __init__(self, websocket: WebSocket, *, pid: int, pod: str) -> None:
        self._websocket, self._pid, self._pod = websocket, pid, pod
        self._framer = spdy.Framer()
        self._errors: dict[str, int] = {}
        self._connections: dict[int, _Connection] = {}

    async def run(self) -> None:
        """Until the client is gone or breaks the protocol; then every connection is closed."""
        await self._websocket.accept(SUBPROTOCOL)
        try:
            while True:
                for event in self._framer.feed(await self._websocket.receive_bytes()):
                    if event.kind == spdy.GOAWAY:
                        return
                    await self._take(event)
        except WebSocketDisconnect:
            pass
        except (spdy.SpdyError, KeyError) as error:
            with contextlib.suppress(WebSocketDisconnect, RuntimeError):
                await self._websocket.close(1002, str(error))
        finally:
            tasks = [each.task for each in self._connections.values() if each.task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _take(self, event: spdy.Event) -> None:
        if event.kind == spdy.SYN_STREAM:
            await self._begin(event)
        elif event.kind == spdy.PING:
            await self._websocket.send_bytes(spdy.ping(event.stream))
        elif event.kind == 0 and (connection := self._connections.get(event.stream)):
            await self._write(connection, event)
        elif event.kind == spdy.RST_STREAM and event.stream in self._connections:
            self._connections[event.stream].cancel()

    async def _begin(self, event: spdy.Event) -> None:
        kind, request = event.headers.get("streamtype"), event.headers.get("requestid", "")
        port = event.headers.get("port", "")
        if kind not in ("error", "data") or not port.isdigit() or not 0 < int(port) < 65536:
            raise spdy.SpdyError(f"a stream of type {kind!r} for port {port!r}")
        if len(self._connections) >= MAX_CONNECTIONS:
            await self._websocket.send_bytes(spdy.reset(event.stream, 3))
            return
        await self._websocket.send_bytes(self._framer.syn_reply(event.stream))
        if kind == "error":
            self._errors[request] = event.stream
            return
        if request not in self._errors:
            raise spdy.SpdyError("a data stream without its error stream")
        connection = self._connections[event.stream] = _Connection(self._errors.pop(request), int(port))
        connection.task = asyncio.create_task(self._forward(event.stream, connection))

    async def _write(self, connection: _Connection, event: spdy.Event) -> None:
        await asyncio.wait([connection.ends])
        if connection.ends.cancelled() or connection.ends.exception() is not None:
            return
        _, writer = connection.ends.result()
        with contextlib.suppress(ConnectionError):  # the other half tells
            writer.write(event.data)
            await writer.drain()
            if event.fin:
                writer.write_eof()

    async def _forward(self, stream: int, connection: _Connection) -> None:
        """From the port to the client, until the port has said all."""
        send, text = self._websocket.send_bytes, b""
        try:
            try:
                reader, writer = await connect(self._pid, connection.port)
            except OSError as error:
                connection.ends.set_exception(error)
                connection.ends.exception()  # told to the client
                text = failure(connection.port, self._pod, error).encode()
            else:
                connection.ends.set_result((reader, writer))
                try:
                    with contextlib.suppress(ConnectionError):
                        while content := await reader.read(CHUNK_BYTES):
                            await send(spdy.data(stream, content))
                finally:
                    writer.close()
            await send(spdy.data(stream, b"", fin=True))
            await send(spdy.data(connection.error_stream, text, fin=True))
        except (WebSocketDisconnect, RuntimeError):
            pass  # the client is gone, which `run` sees, too
        finally:
            connection.ends.cancel()
            self._connections.pop(stream, None)
