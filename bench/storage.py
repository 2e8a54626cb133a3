"""Writes per second into etcd: group commit against one etcd transaction per write, in one run.

    python -m bench.storage [--writes 6000] [--writers 16 64] [--etcd-servers http://127.0.0.1:2379]

(As a module: beside it lies `bench/apiserver.py`, which would hide the package of that name.)

Without `--etcd-servers` it starts an etcd of its own on a free port and removes it afterwards. The number that travels
between machines is the ratio; both sides of it see the same etcd, disk and minute.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import resource
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Iterator

import uvloop

from apiserver.storage import commit
from apiserver.storage.etcd import EtcdStorage

POD_BYTES = 1200


def pod(name: str) -> bytes:
    value = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "bench"}, "spec": {}}
    padding = POD_BYTES - len(json.dumps(value))
    return json.dumps({**value, "status": {"message": "x" * padding}}, separators=(",", ":")).encode()


async def measure(storage: EtcdStorage, *, writes: int, writers: int) -> tuple[float, float]:
    """(creates per second, microseconds of our processor time per create)."""
    names = iter(range(writes))
    run = uuid.uuid4()

    async def writer() -> None:
        for number in names:
            await storage.create(f"/pods/bench/{run}-{number}", pod(str(number)))

    before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    await asyncio.gather(*(writer() for _ in range(writers)))
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return writes / seconds, processor / writes * 1e6


async def compare(url: str, *, writes: int, writers: list[int]) -> None:
    storage = await EtcdStorage.open([url], prefix=f"/bench-{uuid.uuid4()}", compact_seconds=0)
    await measure(storage, writes=200, writers=16)  # connect, warm up
    print(f"{'writers':>8} {'one each':>12} {'group commit':>14} {'ratio':>7} {'us/write':>10}")
    for count in writers:
        limits = commit.BATCH_WRITES, commit.BATCHES_IN_FLIGHT
        commit.BATCH_WRITES, commit.BATCHES_IN_FLIGHT = 1, count
        single, _ = await measure(storage, writes=writes // 3, writers=count)
        commit.BATCH_WRITES, commit.BATCHES_IN_FLIGHT = limits
        grouped, processor = await measure(storage, writes=writes, writers=count)
        print(f"{count:>8} {single:>10.0f}/s {grouped:>12.0f}/s {grouped / single:>6.1f}x {processor:>10.0f}")
    await storage.close()


@contextlib.contextmanager
def own_etcd() -> Iterator[str]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    client, peer = (f"http://127.0.0.1:{s.getsockname()[1]}" for s in sockets)
    for s in sockets:
        s.close()
    directory = tempfile.mkdtemp(prefix="minik-bench-")
    command = ["etcd", f"--data-dir={directory}", "--logger=zap", "--log-level=error", f"--listen-client-urls={client}"]
    command += [f"--advertise-client-urls={client}", f"--listen-peer-urls={peer}"]
    command += [f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}"]
    process = subprocess.Popen(command)
    try:
        for _ in range(200):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{client}/health", timeout=1):
                break
            time.sleep(0.05)
        yield client
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(directory, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="group commit against single puts")
    parser.add_argument("--writes", type=int, default=6000)
    parser.add_argument("--writers", type=int, nargs="+", default=[1, 16, 64, 256])
    parser.add_argument("--etcd-servers", default="")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        url = options.etcd_servers or stack.enter_context(own_etcd())
        uvloop.run(compare(url, writes=options.writes, writers=options.writers))


if __name__ == "__main__":
    main()
