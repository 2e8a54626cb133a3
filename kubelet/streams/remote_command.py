"""Exec and attach: a process' standard streams as the channels of a WebSocket.

Invariants
- Nothing is read from the process before the client has taken what came before, and the other way round.
- A client that vanishes takes the command it began with it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.websockets import WebSocket

from kubelet.runtime.base import RuntimeFailure, Stream
from kubelet.streams.channels import (
    CLOSE,
    ERROR,
    RESIZE,
    STDERR,
    STDIN,
    STDOUT,
    Subprotocol,
    exit_status,
    failure_status,
    terminal_size,
)
from kubelet.streams.session import Session

_ON = ("1", "true", "True")


@dataclass(frozen=True, slots=True)
class Wanted:
    """The streams a client asks for. With a terminal there is one output."""

    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    tty: bool = False

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Wanted:
        """The kubelet's parameters. Raises ValueError when nothing is wanted."""
        stdin, stdout, stderr, tty = (query.get(name, "") in _ON for name in ("input", "output", "error", "tty"))
        if not (stdin or stdout or stderr):
            raise ValueError("you must specify at least 1 of stdin, stdout, stderr")
        return cls(stdin, stdout, stderr and not tty, tty)

    @property
    def first_writable(self) -> int:
        return STDOUT if self.stdout else STDERR if self.stderr else ERROR


async def serve(websocket: WebSocket, protocol: Subprotocol, stream: Stream, wanted: Wanted) -> None:
    """Until the process has ended or the client is gone; the stream is closed at the end."""
    session = Session(websocket, protocol, pulse_channel=wanted.first_writable)
    try:
        await session.run(_output(session, stream, wanted), _input(session, stream, wanted))
    finally:
        await asyncio.shield(asyncio.ensure_future(stream.close()))


async def _output(session: Session, stream: Stream, wanted: Wanted) -> None:
    await session.send(wanted.first_writable, b"")  # clients wait for a sign that all is set up
    while True:
        source, data = await stream.read()
        if not data:
            break
        if wanted.stderr if source == STDERR else wanted.stdout:
            await session.send(source, data)
    try:
        code = await stream.exit_code()
    except RuntimeFailure as error:
        await session.send(ERROR, failure_status(str(error)) if session.protocol.status else str(error).encode())
    else:
        if session.protocol.status:
            await session.send(ERROR, exit_status(code))
        elif code:
            text = f"command terminated with non-zero exit code: exit status {code}"
            await session.send(ERROR, text.encode())


async def _input(session: Session, stream: Stream, wanted: Wanted) -> None:
    resizing: set[asyncio.Task[None]] = set()
    async with contextlib.aclosing(session.messages()) as messages:
        async for channel, data in messages:
            if channel == STDIN and wanted.stdin:
                await stream.write(data)
            elif channel == RESIZE and wanted.tty and (size := terminal_size(data)):
                task = asyncio.ensure_future(stream.resize(columns=size[0], rows=size[1]))
                resizing.add(task)
                task.add_done_callback(resizing.discard)
            elif channel == CLOSE and session.protocol.closes and data[:1] == bytes((STDIN,)):
                stream.end_input()
