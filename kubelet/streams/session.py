"""A client's WebSocket with Kubernetes' channels in it: one sender at a time, and a pulse.

Whoever waits for a process to take its input does not listen to the client. The pulse, an empty message that clients
pass over, finds out that the client is gone: then `send` raises, and the session ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from kubelet.streams.channels import Subprotocol

PULSE_SECONDS = 10.0


class Session:
    def __init__(self, websocket: WebSocket, protocol: Subprotocol, *, pulse_channel: int) -> None:
        self._websocket, self.protocol, self._pulse_channel = websocket, protocol, pulse_channel

    async def send(self, channel: int, data: bytes) -> None:
        """Returns when the client may be sent more. Raises WebSocketDisconnect."""
        await self._websocket.send(self.protocol.encode(channel, data))

    async def messages(self) -> AsyncGenerator[tuple[int, bytes], None]:
        """What the client sends; one that breaks the protocol is told so. Raises WebSocketDisconnect."""
        while True:
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message.get("code", 1005))
            try:
                yield self.protocol.decode(dict(message))
            except ValueError as error:
                await self._websocket.close(1002, str(error))
                raise WebSocketDisconnect(1002) from error

    async def run(self, output: Coroutine[Any, Any, None], read: Coroutine[Any, Any, None]) -> None:
        """Until the output has ended or the client is gone; then the other half is cancelled."""
        await self._websocket.accept(self.protocol.name)
        tasks = [asyncio.create_task(each) for each in (output, read, self._pulse())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            await self._websocket.close()
        except WebSocketDisconnect:
            pass
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _pulse(self) -> None:
        while True:
            await asyncio.sleep(PULSE_SECONDS)
            await self.send(self._pulse_channel, b"")
