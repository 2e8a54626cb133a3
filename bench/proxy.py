"""How long the proxy's rules take, from objects in memory to the kernel: `python -m bench.proxy [--services 1000]`.

Makes a network namespace of its own (root needed), applies N services of M endpoints there, then changes one
endpoint at a time, and prints the times in milliseconds; then asks the DNS server for two seconds. Nothing outside the
namespace is touched.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import cast

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import dns.message
from lightkube.models.core_v1 import ServicePort, ServiceSpec
from lightkube.models.discovery_v1 import Endpoint, EndpointConditions, EndpointPort
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Service
from lightkube.resources.discovery_v1 import EndpointSlice

from linux import namespaces
from linux.nft import Table, merge
from proxy.dns import DnsServer, Upstream
from proxy.records import View, Zone
from proxy.rules import TABLE, NodeFacts, base_rules, service_rules

FACTS = NodeFacts(name="node-1", cluster_cidr="10.244.0.0/16", service_cidr="10.96.0.0/16", dns_ip="10.96.0.10")


def service(number: int) -> Service:
    port = ServicePort(port=80, nodePort=30000 + number if number < 2768 else None)
    address = f"10.96.{100 + number // 250}.{number % 250 + 1}"
    return Service(
        metadata=ObjectMeta(name=f"web-{number}", namespace="default"),
        spec=ServiceSpec(type="NodePort", clusterIP=address, ports=[port]),
    )


def endpoint_slice(number: int, count: int) -> EndpointSlice:
    pods = range(number * 5, number * 5 + count)
    return EndpointSlice(
        addressType="IPv4",
        metadata=ObjectMeta(
            name=f"web-{number}-x", namespace="default", labels={"kubernetes.io/service-name": f"web-{number}"}
        ),
        ports=[EndpointPort(port=8080, protocol="TCP")],
        endpoints=[
            Endpoint(
                addresses=[f"10.244.{pod // 250 % 250}.{pod % 250 + 1}"],
                nodeName=f"node-{pod % 3}",
                conditions=EndpointConditions(ready=True),
            )
            for pod in pods
        ],
    )


async def measure(*, services: int, endpoints: int, changes: int) -> None:
    table = Table(TABLE)
    timings: dict[str, list[float]] = {}

    async def timed(what: str, parts: list) -> None:
        began = time.perf_counter()
        wanted = merge([base_rules(FACTS), *parts])
        table.apply(wanted)
        timings.setdefault(what, []).append((time.perf_counter() - began) * 1000)

    began = time.perf_counter()
    parts = [service_rules(service(n), [endpoint_slice(n, endpoints)], FACTS) for n in range(services)]
    timings["building the rules of all services"] = [(time.perf_counter() - began) * 1000]
    await timed("applying all, into an empty kernel", parts)
    for change in range(changes):
        number = change * 7 % services
        began = time.perf_counter()
        parts[number] = service_rules(service(number), [endpoint_slice(number, endpoints - 1 - change % 2)], FACTS)
        await timed("one endpoint changed, applied", parts)
    await timed("nothing changed", parts)
    table = Table(TABLE)
    await timed("replacing all, as after a restart", parts)
    print(f"{services} services of {endpoints} endpoints, with node ports, {os.cpu_count()} cores")
    for what, values in timings.items():
        print(f"{what:40} {statistics.median(values):8.1f} ms" + (f"  (median of {len(values)})" if values[1:] else ""))


class Questions(asyncio.DatagramProtocol):
    """A client that keeps `depth` questions on their way until told to stop."""

    def __init__(self, questions: list[bytes], *, depth: int) -> None:
        self.answered, self._depth, self._questions = 0, depth, itertools.cycle(questions)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)
        for _ in range(self._depth):
            self._transport.sendto(next(self._questions))

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.answered += 1
        self._transport.sendto(next(self._questions))


async def measure_dns(*, services: int, seconds: float) -> None:
    """Client and server share one process, so the server alone does better."""
    known = {f"default/web-{number}": service(number) for number in range(services)}
    view = View(known.get, lambda key: [], lambda namespace: True, lambda ip: None, lambda ip: [])
    zone = Zone(view, domain="cluster.local", networks=[], dns_ip="10.96.0.10")
    questions = [dns.message.make_query(f"web-{n}.default.svc.cluster.local", "A").to_wire() for n in range(services)]
    for what in ("new names", "names asked before"):
        server = DnsServer(zone, Upstream([]), is_ready=lambda: True)
        serving = asyncio.ensure_future(server.serve("127.0.0.1", 5353))
        await asyncio.sleep(0.2)
        if what == "names asked before":
            for question in questions:
                await server.answer(question, tcp=False)
        client = Questions(questions, depth=16)
        if what == "new names":
            server._cache = Forgetful()
        began = time.perf_counter()
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            lambda client=client: client, remote_addr=("127.0.0.1", 5353)
        )
        await asyncio.sleep(seconds)
        print(f"{f'DNS, {what}':40} {client.answered / (time.perf_counter() - began):8.0f} answers/s")
        transport.close()
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


class Forgetful(dict[bytes, bytes]):
    """A cache that keeps nothing."""

    def __setitem__(self, key: bytes, value: bytes) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--endpoints", type=int, default=5)
    parser.add_argument("--changes", type=int, default=20)
    options = parser.parse_args()
    name = f"minik-bench-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        namespaces.enter(f"/run/netns/{name}")
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        asyncio.run(measure(services=options.services, endpoints=options.endpoints, changes=options.changes))
        asyncio.run(measure_dns(services=options.services, seconds=2.0))
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


if __name__ == "__main__":
    main()
