"""How fast API servers create, get, list and select pods: paired, in one run, loaded by wrk.

    python -m bench.apiserver                                       this checkout, on an etcd of its own
    python -m bench.apiserver --checkout ../other --checkout .      two versions, in turn
    python -m bench.apiserver --url https://HOST:6443 --token TOKEN --checkout .      any Kubernetes beside this one

Each server is loaded while the others idle, in turn, several times; the middle of the rounds counts. Rates say what a
client gets on this machine, where load and server share the cores; the processor's time per request is the server's
alone, and hardly moves when the machine is busy with something else. The pods are never scheduled: they name a
scheduler that does not exist. Needs wrk (Debian's package of that name).
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import shutil
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from bench.servers import Server

NAMESPACE = "bench"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
OTHERS = "/api/v1/namespaces/bench-others/pods"
SCRIPT = """
local n, made = 0, {body}
request = function()
  n = n + 1
  return wrk.format("{method}", {path}, {headers}, made and made:gsub("NAME", "{prefix}-" .. n) or nil)
end
done = function(summary, latency)
  local errors = summary.errors.status + summary.errors.read + summary.errors.timeout + summary.errors.connect
  io.write(string.format('\\n@ %d %d %d %d %d\\n', summary.requests, summary.duration, errors,
    latency:percentile(50), latency:percentile(99)))
end
"""


@dataclass
class Target:
    """Where, as whom; `server` if it is one of ours."""

    name: str
    url: str
    token: str
    server: Server | None = None
    results: dict[str, list[Result]] = field(default_factory=dict)

    def headers(self) -> dict[str, str]:
        return {
            "Authorization": f"Bearer {self.token}",
            "Content-Type": "application/json",
            "Accept": "application/json",
        }

    def connect(self) -> http.client.HTTPSConnection:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # as wrk, which asks for no certificate
        return http.client.HTTPSConnection(urlsplit(self.url).netloc, context=context, timeout=60)

    def call(self, connection: http.client.HTTPSConnection, method: str, path: str, body: bytes | None = None) -> int:
        connection.request(method, path, body, self.headers())
        answer = connection.getresponse()
        content = answer.read()
        if answer.status >= 400 and answer.status not in (404, 409):
            raise SystemExit(f"{self.name}: {method} {path}: {answer.status} {content[:300]!r}")
        return answer.status


@dataclass(frozen=True)
class Result:
    rate: float
    p50_ms: float
    p99_ms: float
    processor_us: float
    """Of the server, per request; 0 where it is not ours."""


@dataclass(frozen=True)
class Work:
    """What wrk sends again and again: a Lua expression of the path, with `n` counting."""

    name: str
    path: str
    clients: int
    method: str = "GET"
    body: bytes = b""


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


def prepare(target: Target, *, list_size: int, others: int) -> None:
    """Pods to get and list, and ten times as many to select from."""
    connection = target.call, target.connect()
    for namespace in (NAMESPACE, f"{NAMESPACE}-others", f"{NAMESPACE}-made"):
        document = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
        connection[0](connection[1], "POST", "/api/v1/namespaces", json.dumps(document).encode())
    wanted = [(PODS, f"listed-{n}", "listed") for n in range(list_size)]
    wanted += [(OTHERS, f"other-{n}", f"group-{n % 10}") for n in range(others)]

    def some(start: int) -> None:
        mine = target.connect()
        for path, name, app in wanted[start::8]:
            target.call(mine, "POST", path, pod(name, app))
        mine.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(some, range(8)))


def measure(target: Target, work: Work, *, seconds: float, prefix: str, directory: Path) -> Result:
    headers = "{" + ", ".join(f'["{name}"] = "{value}"' for name, value in target.headers().items()) + "}"
    body = f"[==[{work.body.decode()}]==]" if work.body else "nil"
    script = directory / "work.lua"
    script.write_text(
        SCRIPT.replace("{body}", body)
        .replace("{method}", work.method)
        .replace("{path}", work.path)
        .replace("{headers}", headers)
        .replace("{prefix}", prefix)
    )
    before = target.server.usage()[0] if target.server else 0.0
    command = ["wrk", "-t1", f"-c{work.clients}", f"-d{seconds:g}s", "--timeout=30s", f"-s{script}", target.url]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    after = target.server.usage()[0] if target.server else 0.0
    line = next(line for line in done.stdout.splitlines() if line.startswith("@"))
    requests, duration, errors, p50, p99 = map(int, line.split()[1:])
    if errors or not requests:
        raise SystemExit(f"{target.name}: {work.name}: {errors} of {requests} requests failed\n{done.stdout}")
    return Result(requests / duration * 1e6, p50 / 1e3, p99 / 1e3, (after - before) / requests * 1e6)


def report(targets: list[Target], works: list[Work]) -> None:
    width = max(len(target.name) for target in targets)
    for work in works:
        print(work.name)
        first = 0.0
        for target in targets:
            results = target.results[work.name]
            middle = {
                name: statistics.median(getattr(each, name) for each in results) for name in Result.__dataclass_fields__
            }
            cost = f"{middle['processor_us']:8.0f} us of processor" if target.server else ""
            first = first or middle["rate"]
            print(
                f"  {target.name:<{width}} {middle['rate']:>8.0f}/s  {middle['rate'] / first:5.2f}x   "
                f"p50 {middle['p50_ms']:6.2f} ms   p99 {middle['p99_ms']:6.2f} ms {cost}"
            )
    for target in targets:
        if target.server:
            print(f"memory of {target.name}: {target.server.usage()[1] >> 20} MiB")


@contextlib.contextmanager
def opened(arguments: argparse.Namespace) -> Iterator[list[Target]]:
    with contextlib.ExitStack() as stack:
        targets = [Target(url, url.rstrip("/"), arguments.token) for url in arguments.url]
        for checkout in arguments.checkout or ([] if targets else [Path()]):
            server = stack.enter_context(Server(checkout))
            targets.append(Target(str(checkout), server.url, server.token, server))
        yield targets


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkout", type=Path, action="append", default=[], help="of minik, with a .venv or ours")
    parser.add_argument("--url", action="append", default=[], help="of another API server")
    parser.add_argument("--token", default="", help="an administrator's, for --url")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each figure is measured, each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--list-size", type=int, default=500)
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("this needs wrk: apt-get install wrk")
    size, clients = arguments.list_size, arguments.clients
    works = [
        Work("get a pod", f'"{PODS}/listed-" .. n % {size}', clients),
        Work(f"list {size} pods", f'"{PODS}"', 4),
        Work(f"select {size} of {size * 10} pods by label", f'"{OTHERS}?labelSelector=app%3Dgroup-" .. n % 10', 4),
        Work("create a pod", f'"/api/v1/namespaces/{NAMESPACE}-made/pods"', clients, "POST", pod("NAME", "made")),
    ]
    with tempfile.TemporaryDirectory() as directory, opened(arguments) as targets:
        for target in targets:
            prepare(target, list_size=size, others=size * 10)
        for turn in range(arguments.rounds):
            for work in works:
                for index, target in enumerate(targets[:: -1 if turn % 2 else 1]):
                    prefix = f"made-{turn}-{index}-{time.time_ns()}"
                    result = measure(target, work, seconds=arguments.seconds, prefix=prefix, directory=Path(directory))
                    target.results.setdefault(work.name, []).append(result)
        report(targets, works)


if __name__ == "__main__":
    main()
