"""A server of a test: a thread that answers every client on its sockets, and is gone when it is stopped.

It waits in select() and is joined before its sockets are closed. A thread left in accept() on a closed descriptor is
no harmless leak: the kernel restarts an interrupted accept() by number, and the number may be another test's socket.
"""

import contextlib
import os
import select
import socket
import threading
from collections.abc import Callable


class Answering(threading.Thread):
    """Sends `answer(address of the client)` to whoever connects, or sends a datagram, and closes."""

    def __init__(self, *servers: socket.socket, answer: Callable[[str], str]) -> None:
        super().__init__()
        self._servers, self._answer = servers, answer
        self._stop_read, self._stop_write = os.pipe()
        self.start()

    def run(self) -> None:
        while True:
            ready, _, _ = select.select([*self._servers, self._stop_read], [], [])
            if self._stop_read in ready:
                return
            for server in ready:
                with contextlib.suppress(OSError):
                    self._serve(server)

    def _serve(self, server: socket.socket) -> None:
        if server.type == socket.SOCK_DGRAM:
            _, peer = server.recvfrom(100)
            server.sendto(self._answer(peer[0]).encode(), peer)
        else:
            connection, peer = server.accept()
            with connection:
                connection.sendall(self._answer(peer[0]).encode())

    def close(self) -> None:
        os.write(self._stop_write, b"x")
        self.join()
        for descriptor in (self._stop_read, self._stop_write):
            os.close(descriptor)
        for server in self._servers:
            server.close()
