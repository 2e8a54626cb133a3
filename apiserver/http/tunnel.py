"""A WebSocket through the server: messages of the client to an upstream, and back, as fast as the slower side reads.

Interface: `pump(tunnel, receive, send, stopping)`. Nothing is queued here: a message is read from one side only when
the other has taken the one before it.
"""

from __future__ import annotations

import asyncio

from starlette.types import Receive, Send
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from api.errors import ApiStatusError
from apiserver import codec
from apiserver.http.responses import Tunnel

ERROR_CHANNEL = b"\x03"


async def pump(tunnel: Tunnel, receive: Receive, send: Send, stopping: asyncio.Event) -> None:
    """Until either side closes or the server stops. Raises ApiStatusError when the upstream cannot be reached.

    Where the protocol has an error channel it is told there, as Kubernetes' stream translator does: a client whose
    upgrade is refused would try again over SPDY, and show what that is told.
    """
    try:
        await _joined(tunnel, receive, send, stopping)
    except ApiStatusError as error:
        if not tunnel.with_status:
            raise
        await _tell(error, tunnel.with_status[0], send)


async def _joined(tunnel: Tunnel, receive: Receive, send: Send, stopping: asyncio.Event) -> None:
    async with tunnel.upstream as upstream:
        await send({"type": "websocket.accept", "subprotocol": upstream.subprotocol})
        tasks = [
            asyncio.ensure_future(_up(receive, upstream)),
            asyncio.ensure_future(_down(upstream, send)),
            asyncio.ensure_future(stopping.wait()),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if not tasks[0].done() or tasks[0].cancelled():  # the client is still there
            code = upstream.close_code if upstream.close_code and upstream.close_code < 5000 else 1011
            await send({"type": "websocket.close", "code": 1000 if code in (1005, 1006) else code})


async def _tell(error: ApiStatusError, protocol: str, send: Send) -> None:
    await send({"type": "websocket.accept", "subprotocol": protocol})
    await send({"type": "websocket.send", "bytes": ERROR_CHANNEL + codec.encode(error.to_status())})
    await send({"type": "websocket.close", "code": 1000})


async def _up(receive: Receive, upstream: ClientConnection) -> None:
    while (message := await receive())["type"] != "websocket.disconnect":
        if message["type"] == "websocket.receive":
            data = message.get("bytes")
            try:
                await upstream.send(data if data is not None else message["text"])
            except ConnectionClosed:
                await asyncio.Event().wait()  # `_down` sees it, too, and ends the tunnel


async def _down(upstream: ClientConnection, send: Send) -> None:
    async for message in upstream:
        key = "bytes" if isinstance(message, bytes) else "text"
        await send({"type": "websocket.send", key: message})
