"""An API server of one's own, of this or another checkout, on an etcd of its own: what benches load and attack.

    with Server() as server: server.port, server.ca, server.token, server.log(), server.usage()

The token's user is an administrator. Everything is on loopback and in a temporary directory, and gone afterwards.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from types import TracebackType

from bootstrap import pki

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 60.0


class Server:
    """etcd and an API server with TLS, tokens and RBAC. `checkout` has a .venv of its own, or shares ours."""

    def __init__(self, checkout: Path = ROOT) -> None:
        self.checkout = checkout.resolve()
        self.directory = Path(tempfile.mkdtemp(prefix="minik-bench-"))
        self.token = "bench-" + os.urandom(16).hex()
        with contextlib.ExitStack() as held:
            ports = [held.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in range(3)]
        self.port, self._etcd, self._peer = ports
        self._processes: list[subprocess.Popen[bytes]] = []
        pki.ensure_control_plane(self.directory, apiserver_names=("127.0.0.1", "localhost"), etcd_names=())
        (self.directory / "tokens.csv").write_text(f'{self.token},bench,bench,"system:masters"\n')

    @property
    def ca(self) -> Path:
        return self.directory / "ca.crt"

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def __enter__(self) -> Server:
        try:
            self._start_etcd()
            self._start_apiserver()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def log(self) -> str:
        return (self.directory / "apiserver.log").read_text(errors="replace")

    def usage(self) -> tuple[float, int]:
        """(seconds of processor so far, bytes of memory) of the API server."""
        pid = self._processes[-1].pid
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        seconds = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return seconds, int(fields[21]) * os.sysconf("SC_PAGE_SIZE")

    def running(self) -> bool:
        return self._processes[-1].poll() is None

    def stop(self) -> None:
        for process in reversed(self._processes):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _start_etcd(self) -> None:
        client, peer = f"http://127.0.0.1:{self._etcd}", f"http://127.0.0.1:{self._peer}"
        command = ["etcd", f"--data-dir={self.directory}/etcd", "--logger=zap", "--log-level=error"]
        command += [f"--listen-client-urls={client}", f"--advertise-client-urls={client}"]
        command += [f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}"]
        command += [f"--initial-cluster=default={peer}"]
        self._start("etcd", command)

    def _start_apiserver(self) -> None:
        own, d = self.checkout / ".venv/bin/python", self.directory
        options = {
            "etcd-servers": f"http://127.0.0.1:{self._etcd}", "secure-port": self.port, "bind-address": "127.0.0.1",
            "advertise-address": "127.0.0.1", "tls-cert-file": d / "apiserver.crt",
            "tls-private-key-file": d / "apiserver.key", "client-ca-file": self.ca, "token-auth-file": d / "tokens.csv",
            "service-account-key-file": d / "sa.pub", "service-account-signing-key-file": d / "sa.key",
        }  # fmt: skip
        python = str(own) if own.exists() else sys.executable
        self._start("apiserver", [python, "-m", "apiserver", *(f"--{name}={each}" for name, each in options.items())])
        context, deadline = ssl.create_default_context(cafile=str(self.ca)), time.monotonic() + START_SECONDS
        while self.running() and time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{self.url}/readyz", timeout=2, context=context).close()
                return
            time.sleep(0.05)
        raise RuntimeError(f"the API server is not ready:\n{self.log()[-2000:]}")

    def _start(self, name: str, command: list[str]) -> None:
        with (self.directory / f"{name}.log").open("ab") as log:
            environment = {**os.environ, "PYTHONPATH": str(self.checkout)}
            self._processes.append(
                subprocess.Popen(command, stdout=log, stderr=log, cwd=self.checkout, env=environment)
            )
