"""How fast an API server creates, gets and lists pods; any Kubernetes-compatible server will do.

    python -m bench.apiserver --kubeconfig ~/.kube/config [--clients 16] [--seconds 5] [--list-size 500]

It makes a namespace of its own and deletes it at the end. The load comes from one process with a client as thin as
HTTP/1.1 over TLS can be, so that on a small machine most of the time is the server's. Pods are never scheduled: they
name a scheduler that does not exist.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import ssl
import tempfile
import time
from base64 import b64decode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import yaml

try:
    import uvloop
except ImportError:
    uvloop = None


@dataclass(frozen=True)
class Target:
    """Where, and as whom."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    token: str


def read_kubeconfig(path: Path) -> Target:
    config = yaml.safe_load(path.read_text())
    context = _named(config["contexts"], config["current-context"])["context"]
    cluster = _named(config["clusters"], context["cluster"])["cluster"]
    user = _named(config["users"], context["user"])["user"]
    url = urlsplit(cluster["server"])
    tls = None
    if url.scheme == "https":
        authority = b64decode(cluster["certificate-authority-data"]).decode()
        tls = ssl.create_default_context(cadata=authority)
        if "client-certificate-data" in user:
            with tempfile.TemporaryDirectory() as directory:
                names = ("client-certificate-data", "client-key-data")
                files = [Path(directory, name) for name in names]
                for name, file in zip(names, files, strict=True):
                    file.write_bytes(b64decode(user[name]))
                tls.load_cert_chain(*files)
    return Target(url.hostname or "", url.port or 443, tls, user.get("token", ""))


def _named(entries: list[dict], name: str) -> dict:  # type: ignore[type-arg]
    return next(each for each in entries if each["name"] == name)


class Connection(asyncio.Protocol):
    """One keep-alive connection; a request at a time."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._buffer = bytearray()
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def open(cls, target: Target) -> Connection:
        loop = asyncio.get_running_loop()
        _, self = await loop.create_connection(lambda: cls(target), target.host, target.port, ssl=target.tls)
        return self

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    async def request(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Status and body."""
        assert self._transport is not None
        token = f"Authorization: Bearer {self._target.token}\r\n" if self._target.token else ""
        head = f"{method} {path} HTTP/1.1\r\nHost: {self._target.host}\r\nAccept: application/json\r\n{token}"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(head.encode() + body)
        return await self._answer

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0 or self._answer is None or self._answer.done():
            return
        head = bytes(self._buffer[:end]).lower()
        if b"transfer-encoding: chunked" in head:
            if self._buffer.endswith(b"0\r\n\r\n"):
                self._finish(head, b"")  # only its end matters here
            return
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(self._buffer) >= end + 4 + length:
            self._finish(head, bytes(self._buffer[end + 4 :]))

    def _finish(self, head: bytes, body: bytes) -> None:
        self._buffer.clear()
        assert self._answer is not None
        self._answer.set_result((int(head[9:12]), body))

    def connection_lost(self, error: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError("the server closed the connection"))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


def pod(name: str, app: str) -> bytes:
    container = {
        "name": "web",
        "image": "minik/web:1",
        "ports": [{"containerPort": 80}],
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
    }
    spec = {"schedulerName": "bench", "terminationGracePeriodSeconds": 0, "containers": [container]}
    metadata = {"name": name, "labels": {"app": app}}
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}).encode()


async def measure(
    what: str, connections: list[Connection], one: Callable[[Connection, int], Awaitable[None]], *, seconds: float
) -> None:
    """Let every connection call `one` again and again; print calls a second and latencies."""
    latencies: list[float] = []
    numbers = iter(range(1 << 60))
    end = time.perf_counter() + seconds

    async def work(connection: Connection) -> None:
        while (begin := time.perf_counter()) < end:
            await one(connection, next(numbers))
            latencies.append(time.perf_counter() - begin)

    begin = time.perf_counter()
    await asyncio.gather(*map(work, connections))
    took = time.perf_counter() - begin
    latencies.sort()
    middle, slow = latencies[len(latencies) // 2], latencies[int(len(latencies) * 0.99)]
    print(
        f"{what:<28} {len(latencies) / took:>9.0f}/s   p50 {middle * 1e3:6.2f} ms   p99 {slow * 1e3:6.2f} ms",
        flush=True,
    )


def expect(answer: tuple[int, bytes], *statuses: int) -> bytes:
    if answer[0] not in statuses:
        raise SystemExit(f"unexpected answer {answer[0]}: {answer[1][:500].decode('utf-8', 'replace')}")
    return answer[1]


async def run(arguments: argparse.Namespace) -> None:
    target = read_kubeconfig(arguments.kubeconfig)
    connections = [await Connection.open(target) for _ in range(arguments.clients)]
    first = connections[0]
    namespace = f"bench-{os.getpid()}"
    document = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    expect(await first.request("POST", "/api/v1/namespaces", json.dumps(document).encode()), 201)
    pods = f"/api/v1/namespaces/{namespace}/pods"
    try:
        for number in range(arguments.list_size):
            expect(await first.request("POST", pods, pod(f"listed-{number}", "listed")), 201)

        async def get(connection: Connection, number: int) -> None:
            expect(await connection.request("GET", f"{pods}/listed-{number % arguments.list_size}"), 200)

        async def listed(connection: Connection, number: int) -> None:
            expect(await connection.request("GET", pods), 200)

        async def create(connection: Connection, number: int) -> None:
            expect(await connection.request("POST", pods, pod(f"made-{number}", "made")), 201)

        await measure(f"get a pod, {arguments.clients} clients", connections, get, seconds=arguments.seconds)
        await measure(f"list {arguments.list_size} pods, 4 clients", connections[:4], listed, seconds=arguments.seconds)
        await measure(f"create pods, {arguments.clients} clients", connections, create, seconds=arguments.seconds)
    finally:
        await first.request("DELETE", f"{pods}?gracePeriodSeconds=0")
        await first.request("DELETE", f"/api/v1/namespaces/{namespace}")
        for connection in connections:
            connection.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--kubeconfig", type=Path, default=Path(os.environ.get("KUBECONFIG", "~/.kube/config")).expanduser()
    )
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each figure is measured")
    parser.add_argument("--list-size", type=int, default=500)
    arguments = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop if uvloop else None) as runner:
        runner.run(run(arguments))


if __name__ == "__main__":
    main()
