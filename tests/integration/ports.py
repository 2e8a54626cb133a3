"""Ports for the servers of tests.

They lie below the range from which the kernel takes the ports of outgoing connections: one of that range that was free
a moment ago may be some client's by the time its server starts.
"""

import random
import socket

FIRST, LAST = 15000, 29999  # node ports begin at 30000, outgoing connections at 32768
_given: set[int] = set()


def free_port() -> int:
    """A TCP port of the loopback on which nobody listens; the same one is never given twice."""
    while True:
        port = random.randint(FIRST, LAST)
        if port not in _given and _is_free(port):
            _given.add(port)
            return port


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
