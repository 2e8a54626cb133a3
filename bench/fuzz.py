"""Ten thousand requests, right and wrong, at an API server of its own: none may fail it.

    python -m bench.fuzz [--cases 10000] [--seed 1] [--clients 4] [--show 10]

The requests are made from the OpenAPI documents the server publishes (bench/fuzz_cases.py): valid objects, mutated
ones, patches of four kinds, selectors, continue tokens, versions, watches, accept headers. It ends with 1 if any answer
was 5xx, any request was cut off or took over a second three times, or the log holds a traceback; those are printed.
The server runs on a real etcd, with TLS and as it would anywhere; both are on loopback and gone afterwards.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import ssl
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field

from bench.fuzz_cases import Case, Cases
from bench.servers import Server

SLOW_SECONDS = 1.0
ANSWER_SECONDS = 30.0


@dataclass
class Answer:
    status: int
    body: bytes
    seconds: float
    """Of a watch: until its head."""


@dataclass
class Row:
    """What came of the cases of one sort."""

    cases: int = 0
    accepted: int = 0
    refused: int = 0
    failed: int = 0
    valid: int = 0
    valid_accepted: int = 0
    seconds: list[float] = field(default_factory=list)

    def add(self, case: Case, answer: Answer) -> None:
        self.cases += 1
        self.accepted += answer.status < 400
        self.refused += 400 <= answer.status < 500
        self.failed += answer.status >= 500
        self.valid += case.valid
        self.valid_accepted += case.valid and answer.status < 300
        self.seconds.append(answer.seconds)


class Client:
    """One keep-alive connection that sends exactly the bytes it is told."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._tls = ssl.create_default_context(cafile=str(server.ca))
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, case: Case) -> Answer:
        """Raises OSError or EOFError when there is no whole answer, TimeoutError when it does not come."""
        fresh = self._streams is None
        try:
            return await asyncio.wait_for(self._send(case), ANSWER_SECONDS)
        except (OSError, EOFError, TimeoutError):
            self.close()
            if fresh:
                raise
            return await self.send(case)  # a connection may be closed between two requests

    async def _send(self, case: Case) -> Answer:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._server.port, ssl=self._tls, limit=1 << 24)
        reader, writer = self._streams
        headers = {"host": "127.0.0.1", "authorization": f"Bearer {self._server.token}"} | case.headers
        headers["content-length"] = str(len(case.body))
        head = f"{case.method} {case.path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items())
        begin = time.perf_counter()
        writer.write(head.encode() + b"\r\n" + case.body)
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
        seconds = time.perf_counter() - begin
        answered = dict(line.split(": ", 1) for line in lines if ": " in line)
        status = int(first.split()[1])
        if case.method == "HEAD" or status in (204, 304):
            body = b""
        elif "content-length" in answered:
            body = await reader.readexactly(int(answered["content-length"]))
        else:
            body = await self._chunks(reader) if "transfer-encoding" in answered else await reader.read()
        if answered.get("connection") == "close":
            self.close()
        return Answer(status, body, seconds if case.watch else time.perf_counter() - begin)

    @staticmethod
    async def _chunks(reader: asyncio.StreamReader) -> bytes:
        body = b""
        while size := int((await reader.readuntil(b"\r\n")).strip(), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readuntil(b"\r\n")
        return body

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None


class Run:
    def __init__(self, server: Server, *, show: int) -> None:
        self.server = server
        self.rows: defaultdict[str, Row] = defaultdict(Row)
        self.faults: defaultdict[str, int] = defaultdict(int)
        self._show = show

    async def all(self, *, cases: int, seed: int, clients: int) -> None:
        setup = Client(self.server)
        made = Cases(await self._documents(setup), seed)
        body = json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "fuzz"}}).encode()
        await setup.send(Case("setup", "POST", "/api/v1/namespaces", {"content-type": "application/json"}, body))
        left = iter(range(cases))

        async def work() -> None:
            client = Client(self.server)
            for _ in left:
                if self.server.running():
                    await self._one(client, made)
            client.close()

        await asyncio.gather(*(work() for _ in range(clients)))
        setup.close()

    async def _documents(self, client: Client) -> list[dict[str, object]]:
        index = json.loads((await client.send(Case("setup", "GET", "/openapi/v3"))).body)
        urls = [each["serverRelativeURL"] for path, each in index["paths"].items() if path not in ("api", "apis")]
        return [json.loads((await client.send(Case("setup", "GET", url))).body) for url in urls]

    async def _one(self, client: Client, made: Cases) -> None:
        case = made.make()
        try:
            answer = await client.send(case)
            if (
                answer.seconds > SLOW_SECONDS and answer.status != 504
            ):  # again, in case the machine was busy with something else
                answer.seconds = min([answer.seconds, *[(await client.send(case)).seconds for _ in range(2)]])
        except (OSError, EOFError, TimeoutError, ValueError) as error:
            self._fault("no answer", case, repr(error))
            return
        early = answer.status == 504 and b"Too large resource version" in answer.body
        made.learn(case, answer.status, answer.body)
        if early:  # what Kubernetes says, after as many seconds, to who wants a version of the future
            answer.status, answer.seconds = 400, 0.0
        self.rows[case.about].add(case, answer)
        if answer.status >= 500:
            self._fault("5xx", case, f"{answer.status} {answer.body[:400].decode('utf-8', 'replace')}")
        elif answer.seconds > SLOW_SECONDS:
            self._fault("slow", case, f"{answer.seconds:.2f} s, {answer.status}")
        elif answer.status >= 400 and self._show < 0:
            reason = answer.body[answer.body.find(b'"message"') :][:200].decode("utf-8", "replace")
            print(f"refused{' valid' if case.valid else ''}: {case.about}: {case.method} {case.path[:80]} {reason}")

    def _fault(self, what: str, case: Case, detail: str) -> None:
        self.faults[what] += 1
        if self.faults[what] <= abs(self._show):
            print(
                f"{what}: {case.method} {case.path[:300]} {case.headers}\n  {case.body[:1500]!r}\n  {detail}",
                flush=True,
            )

    def report(self) -> bool:
        """Prints the table; whether all is well."""
        log = self.server.log()
        self.faults["tracebacks"] = log.count("Traceback (most recent call last)")
        if self.faults["tracebacks"]:
            print(log[log.index("Traceback (most recent call last)") :][:6000])
        if not self.server.running():
            self.faults["the server ended"] = 1
        print(
            f"{'':<16} {'cases':>6} {'2xx':>6} {'4xx':>6} {'5xx':>4} {'valid made':>12} {'p50 ms':>7} {'worst ms':>9}"
        )
        for about, row in sorted(self.rows.items()):
            times = sorted(row.seconds)
            valid = f"{row.valid_accepted}/{row.valid}" if row.valid else ""
            print(
                f"{about:<16} {row.cases:>6} {row.accepted:>6} {row.refused:>6} {row.failed:>4} {valid:>12} "
                f"{times[len(times) // 2] * 1e3:>7.1f} {times[-1] * 1e3:>9.1f}"
            )
        seconds, memory = self.server.usage() if self.server.running() else (0.0, 0)
        total = sum(row.cases for row in self.rows.values())
        print(f"{total} cases; the server used {seconds:.0f} s of processor and {memory >> 20} MiB")
        print("faults:", ", ".join(f"{count} {what}" for what, count in self.faults.items() if count) or "none")
        return not any(self.faults.values())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--show", type=int, default=10, help="faults of each sort to print; negative: refusals as well")
    arguments = parser.parse_args()
    with Server() as server:
        run = Run(server, show=arguments.show)
        asyncio.run(run.all(cases=arguments.cases, seed=arguments.seed, clients=arguments.clients))
        return 0 if run.report() else 1


if __name__ == "__main__":
    sys.exit(main())
