"""A connection to the Docker engine that becomes a stream: the upgrade behind Docker's `exec` and `attach`.

The SDK hands out the bare socket and may have read the first bytes of the stream into a buffer of its own, so the
request is made here; and what asyncio reads needs no thread and stops reading when nobody takes it.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import urlsplit

from kubelet.runtime.base import EngineUnavailable, RuntimeFailure, Stream

BUFFER_BYTES = 128 * 1024
"""Read ahead of whoever takes it, at most twice as much."""
CHUNK_BYTES = 64 * 1024
ERROR_BYTES = 64 * 1024
ANSWER_SECONDS = 30.0
_HEADER_BYTES = 8


class Hijacked(Stream):
    """The engine's end of a stream: raw with a terminal, frames of an 8-byte header without one."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, tty: bool) -> None:
        self._reader, self._writer, self._tty = reader, writer, tty
        self._source, self._left = 1, 0

    async def read(self) -> tuple[int, bytes]:
        try:
            while not self._tty and not self._left:
                header = await self._reader.readexactly(_HEADER_BYTES)
                self._source, self._left = header[0], int.from_bytes(header[4:])
            data = await self._reader.read(CHUNK_BYTES if self._tty else min(self._left, CHUNK_BYTES))
        except (asyncio.IncompleteReadError, ConnectionError):
            return self._source, b""
        self._left -= 0 if self._tty else len(data)
        return self._source, data

    async def write(self, data: bytes) -> None:
        try:
            self._writer.write(data)
            await self._writer.drain()
        except ConnectionError:
            pass  # it has ended, which `read` tells

    def end_input(self) -> None:
        if self._writer.can_write_eof() and not self._writer.is_closing():
            self._writer.write_eof()

    async def close(self) -> None:
        self._writer.close()


async def hijack(engine: str, path: str, body: Any = None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """POST and take the connection over. Raises RuntimeFailure with the engine's words, EngineUnavailable."""
    where = urlsplit(engine)
    try:
        if where.scheme == "unix":
            reader, writer = await asyncio.open_unix_connection(where.path, limit=BUFFER_BYTES)
        else:
            reader, writer = await asyncio.open_connection(where.hostname, where.port, limit=BUFFER_BYTES)
    except OSError as error:
        raise EngineUnavailable(f"the Docker engine does not answer: {error}") from error
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            await _upgrade(reader, writer, path, json.dumps(body or {}).encode())
    except BaseException as error:
        writer.close()
        if isinstance(error, (OSError, EOFError)):
            raise EngineUnavailable(f"the Docker engine does not answer: {error}") from error
        raise
    return reader, writer


async def _upgrade(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, body: bytes) -> None:
    head = f"POST {path} HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    status = (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1]
    if status not in (b"101", b"200"):
        text = await reader.read(ERROR_BYTES)
        document = text[text.find(b"{") : text.rfind(b"}") + 1]
        raise RuntimeFailure(str(json.loads(document)["message"]) if document else f"the engine answered {status!r}")
