"""How a connection finds out that its other end is gone without a word: a cut cable, a machine without power.

Interface: `options(seconds)` for whoever makes sockets, `keep_alive(transport)` for whoever serves them.

A connection on which nothing is said is asked by the kernel (SO_KEEPALIVE). One with something under way is not: its
data is sent again for a quarter of an hour, so a server looks how often that was in vain. TCP_USER_TIMEOUT would do
both, but would also end the connection of a reader who only takes a break (`kubectl logs` in a stopped terminal).
"""

from __future__ import annotations

import asyncio
import socket

KEEPALIVE_SECONDS = 10
"""After so long a silence, and then as often, the other end is asked whether it is there."""
UNANSWERED_QUESTIONS = 3
UNANSWERED_SENDS = 7
"""So many tries in a row without a sign of life end a connection. Sends double their distance from 0.2 s on: 26 s."""


def options(seconds: int = KEEPALIVE_SECONDS) -> list[tuple[int, int, int]]:
    """Level, option and value, as setsockopt() takes them."""
    return [
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, seconds),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, seconds),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, UNANSWERED_QUESTIONS),
    ]


def keep_alive(transport: asyncio.Transport) -> None:
    """From now on the TCP connection ends within 40 s when its other end is gone."""
    for option in options():
        transport.get_extra_info("socket").setsockopt(*option)
    _look_later(transport)


def is_unheard(connection: socket.socket) -> bool:
    """Whether what was sent, or the question whether there is room for more, went unanswered too often."""
    _, _, retransmits, probes = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 4)
    return max(retransmits, probes) >= UNANSWERED_SENDS


def _look_later(transport: asyncio.Transport) -> None:
    asyncio.get_running_loop().call_later(KEEPALIVE_SECONDS, _look, transport)


def _look(transport: asyncio.Transport) -> None:
    if transport.is_closing():
        return
    if is_unheard(transport.get_extra_info("socket")):
        transport.abort()
    else:
        _look_later(transport)
