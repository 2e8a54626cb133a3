"""A silent peer is asked; one that takes a break from reading keeps its connection."""

import socket
import time

from api import keepalive


def test_a_reader_that_takes_a_break_keeps_its_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as reader:
        writer, _ = server.accept()
        with writer:
            for option in keepalive.options(1):
                writer.setsockopt(*option)
            writer.setblocking(False)
            sent = 0
            try:
                while True:
                    sent += writer.send(bytes(65536))
            except BlockingIOError:
                pass  # both buffers are full
            time.sleep(1 + 1 * keepalive.UNANSWERED_QUESTIONS + 2)
            assert not keepalive.is_unheard(writer)
            received = 0
            while received < sent:
                received += len(reader.recv(1 << 20))
            assert writer.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
            assert writer.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
