"""Real processes for integration tests.

`etcd` is a fresh single-member etcd on free ports with its data in a temporary directory; it can be killed and
started again. `etcd_url` is its client URL, for tests that only need a store. Both live as long as one test.
"""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

START_SECONDS = 20.0


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago, all different."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class EtcdProcess:
    """One etcd. `kill` pulls its plug (SIGKILL); `start` brings it back on the same data and ports."""

    def __init__(self, directory: Path, *options: str) -> None:
        client, peer = free_ports(2)
        self.url = f"http://127.0.0.1:{client}"
        self.directory = directory
        self._options = options
        self._peer_url = f"http://127.0.0.1:{peer}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = ["etcd", "--name=test", f"--data-dir={self.directory}/data", "--log-level=error"]
        command += [f"--listen-client-urls={self.url}", f"--advertise-client-urls={self.url}"]
        command += [f"--listen-peer-urls={self._peer_url}", f"--initial-advertise-peer-urls={self._peer_url}"]
        command += [f"--initial-cluster=test={self._peer_url}", *self._options]
        command += ["--heartbeat-interval=10", "--election-timeout=100"]  # ms; alone, it elects itself after that
        with (self.directory / "etcd.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        self._wait_healthy()

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait()
            self._process = None

    def _wait_healthy(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=1) as answer:
                    if b'"true"' in answer.read():
                        return
            except OSError:
                pass
            assert self._process is not None
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self.directory / "etcd.log").read_text())
            time.sleep(0.02)


@pytest.fixture(scope="session")
def etcd_binary() -> str:
    path = shutil.which("etcd")
    if path is None:
        pytest.skip("etcd is not installed")
    return path


@pytest.fixture
def etcd(etcd_binary: str, tmp_path: Path) -> Iterator[EtcdProcess]:
    process = EtcdProcess(tmp_path)
    process.start()
    yield process
    process.kill()


@pytest.fixture
def etcd_url(etcd: EtcdProcess) -> str:
    return etcd.url


@pytest.fixture(scope="session")
def shared_etcd_url(etcd_binary: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One etcd for many tests, each with a prefix of its own."""
    process = EtcdProcess(tmp_path_factory.mktemp("etcd"))
    process.start()
    yield process.url
    process.kill()
