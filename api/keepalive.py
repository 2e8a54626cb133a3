"""How a connection finds out that its other end is gone without a word: a cut cable, a machine without power.

Interface: `options(seconds)` for whoever makes sockets, `keep_alive(transport)` for whoever is given one. Every connection between components has them: one
that waits for a watch's next event, or for a command's output, never sends anything that would tell.

TCP_USER_TIMEOUT is not among them: it would also end the connection of a reader who only takes a break (`kubectl logs`
in a stopped terminal), whose kernel answers all the while.
"""

from __future__ import annotations

import asyncio
import socket

KEEPALIVE_SECONDS = 10
"""After so long a silence, and then as often, the other end is asked whether it is there."""
UNANSWERED = 3
"""So many questions without an answer end the connection, 40 s after its last word."""


def options(seconds: int = KEEPALIVE_SECONDS) -> list[tuple[int, int, int]]:
    """Level, option and value, as setsockopt() takes them."""
    return [
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, seconds),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, seconds),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, UNANSWERED),
    ]


def keep_alive(transport: asyncio.BaseTransport) -> None:
    """Set the options on a TCP connection of asyncio."""
    connection = transport.get_extra_info("socket")
    for option in options():
        connection.setsockopt(*option)
