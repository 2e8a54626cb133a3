"""The DNS server as its clients see it: over real sockets on loopback."""

import asyncio
import contextlib
import itertools
import os
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from types import SimpleNamespace

import dns.asyncquery
import dns.edns
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import meta
from api.endpoints import cluster_ip, is_headless, service_of
from proxy.dns import DnsServer, Upstream, node_name_servers
from proxy.records import View, Zone

WEB = "web.default.svc.cluster.local"


class Cluster:
    """Objects to answer from."""

    def __init__(self) -> None:
        self.services: dict[str, object] = {}
        self.slices: list[object] = []
        self.ready = True

    def view(self) -> View:
        return View(
            service=self.services.get,
            slices=lambda key: [each for each in self.slices if service_of(each) == key],
            has_services=lambda namespace: any(meta.namespace(each) == namespace for each in self.services.values()),
            service_of_ip=lambda ip: next((each for each in self.services.values() if cluster_ip(each) == ip), None),
            headless_of_ip=lambda ip: [each for each in self.services.values() if is_headless(each)],
        )

    def zone(self) -> Zone:
        return Zone(self.view(), domain="cluster.local", networks=["10.96.0.0/16"], dns_ip="10.96.0.10")


PORT = 5300
_numbers = itertools.count(1)


def own_address() -> str:
    """An address of the loopback that nobody else uses; a free port of a shared one may be taken the next moment."""
    high, low = divmod(next(_numbers), 250)
    return f"127.{2 + os.getpid() % 250}.{high}.{low + 1}"


@contextlib.asynccontextmanager
async def served(server: DnsServer) -> AsyncIterator[str]:
    address = own_address()
    task = asyncio.ensure_future(server.serve(address, PORT))
    try:
        async with asyncio.timeout(30):
            while True:
                try:
                    _, writer = await asyncio.open_connection(address, PORT)
                except OSError:
                    await asyncio.sleep(0.005)
                    continue
                writer.close()
                break
        yield address
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


Ask = Callable[..., Awaitable[dns.message.Message]]


def asking(address: str) -> Ask:
    async def ask(name: str, type_: str = "A", *, tcp: bool = False, **options: object) -> dns.message.Message:
        query = dns.message.make_query(name, type_, **options)
        over = dns.asyncquery.tcp if tcp else dns.asyncquery.udp
        return await over(query, address, port=PORT, timeout=30)

    return ask


@pytest.fixture
def cluster(make: SimpleNamespace) -> Cluster:
    cluster = Cluster()
    web, db = make.service(), make.service("db", clusterIP="None")
    cluster.services = {"default/web": web, "default/db": db}
    cluster.slices = [make.slice(*(make.pod(f"10.96.9.{n}") for n in range(1, 101)), service="db")]
    return cluster


@pytest.fixture
async def server(cluster: Cluster) -> DnsServer:
    return DnsServer(cluster.zone(), Upstream([]), is_ready=lambda: cluster.ready)


@pytest.fixture
async def ask(server: DnsServer) -> AsyncIterator[Ask]:
    async with served(server) as address:
        yield asking(address)


def data(reply: dns.message.Message) -> set[str]:
    return {each.to_text() for rrset in reply.answer for each in rrset}


@pytest.mark.parametrize("tcp", [False, True])
async def test_a_service(ask: Ask, tcp: bool) -> None:
    reply = await ask(WEB, tcp=tcp)
    assert (reply.rcode(), data(reply)) == (dns.rcode.NOERROR, {"10.96.0.5"})
    assert reply.flags & dns.flags.AA
    assert reply.flags & dns.flags.RA
    assert 5 <= reply.answer[0].ttl <= 30


async def test_names_are_the_same_in_any_case_and_come_back_as_asked(ask: Ask) -> None:
    reply = await ask("WeB.Default.SVC.cluster.local")
    assert data(reply) == {"10.96.0.5"}
    assert reply.question[0].name.to_text() == "WeB.Default.SVC.cluster.local."


async def test_no_data_and_no_name_differ_and_both_say_for_how_long(ask: Ask) -> None:
    for name, type_, rcode in [(WEB, "AAAA", dns.rcode.NOERROR), ("x.default.svc.cluster.local", "A", 3)]:
        reply = await ask(name, type_)
        assert (reply.rcode(), reply.answer) == (rcode, [])
        assert reply.authority[0].rdtype == dns.rdatatype.SOA
        assert reply.authority[0].ttl <= 30


async def test_every_search_domain_of_a_pod_is_answered_without_going_upstream(ask: Ask) -> None:
    """ndots:5, as pods have it: `example.com` is tried below each of these first."""
    for domain in ("default.svc.cluster.local", "svc.cluster.local", "cluster.local"):
        assert (await ask(f"example.com.{domain}")).rcode() == dns.rcode.NXDOMAIN


async def test_other_names_without_name_servers_fail_at_once(ask: Ask) -> None:
    assert (await ask("example.com")).rcode() == dns.rcode.SERVFAIL


async def test_an_unknown_cluster_denies_nothing(ask: Ask, cluster: Cluster, server: DnsServer) -> None:
    cluster.ready = False
    assert (await ask("new.default.svc.cluster.local")).rcode() == dns.rcode.SERVFAIL
    cluster.ready = True
    assert (await ask("new.default.svc.cluster.local")).rcode() == dns.rcode.NXDOMAIN


async def test_a_change_of_the_cluster_is_seen_at_once(
    ask: Ask, cluster: Cluster, server: DnsServer, make: SimpleNamespace
) -> None:
    name = "new.default.svc.cluster.local"
    for _ in range(2):
        assert (await ask(name)).rcode() == dns.rcode.NXDOMAIN
    cluster.services["default/new"] = make.service("new", clusterIP="10.96.0.77")
    server.forget()
    for _ in range(2):
        assert data(await ask(name)) == {"10.96.0.77"}


async def test_a_long_answer_is_cut_for_udp_and_whole_over_tcp(ask: Ask) -> None:
    name = "db.default.svc.cluster.local"
    cut = await ask(name)
    assert cut.flags & dns.flags.TC
    assert len(data(await ask(name, tcp=True))) == 100
    assert (await ask(name, use_edns=0, payload=4096)).flags & dns.flags.TC


async def test_a_client_of_edns_gets_more(ask: Ask, cluster: Cluster, server: DnsServer) -> None:
    cluster.slices[0].endpoints = cluster.slices[0].endpoints[:60]
    name = "db.default.svc.cluster.local"
    assert (await ask(name)).flags & dns.flags.TC
    reply = await ask(name, use_edns=0, payload=4096)
    assert len(data(reply)) == 60
    assert reply.edns == 0


async def test_pods_of_a_headless_service_come_in_changing_order(ask: Ask, cluster: Cluster) -> None:
    cluster.slices[0].endpoints = cluster.slices[0].endpoints[:8]
    orders = set()
    for _ in range(20):
        reply = await ask("db.default.svc.cluster.local")
        orders.add(tuple(each.to_text() for each in reply.answer[0]))
    assert len(orders) > 1


async def test_external_names_lead_on(ask: Ask, cluster: Cluster, make: SimpleNamespace) -> None:
    def alias(name: str, target: str) -> None:
        cluster.services[f"default/{name}"] = make.service(name, clusterIP="", type="ExternalName", externalName=target)

    alias("one", "two.default.svc.cluster.local")
    alias("two", WEB)
    alias("loop", "loop.default.svc.cluster.local")
    alias("out", "api.example.org")
    reply = await ask("one.default.svc.cluster.local")
    assert data(reply) == {"two.default.svc.cluster.local.", f"{WEB}.", "10.96.0.5"}
    assert data(await ask("out.default.svc.cluster.local")) == {"api.example.org."}
    assert (await ask("loop.default.svc.cluster.local")).rcode() == dns.rcode.NOERROR
    assert data(await ask("one.default.svc.cluster.local", "CNAME")) == {"two.default.svc.cluster.local."}


async def test_a_name_that_dns_cannot_hold_fails_alone(ask: Ask, cluster: Cluster, make: SimpleNamespace) -> None:
    for number, target in enumerate(["x" * 64, "a..b", "\N{SNOWMAN}" * 80]):
        cluster.services[f"default/bad-{number}"] = make.service(
            f"bad-{number}", clusterIP="", type="ExternalName", externalName=target
        )
        assert (await ask(f"bad-{number}.default.svc.cluster.local")).rcode() == dns.rcode.SERVFAIL
    assert data(await ask(WEB)) == {"10.96.0.5"}


async def test_what_is_no_plain_question(server: DnsServer) -> None:
    query = dns.message.make_query(WEB, "A")
    query.set_opcode(dns.opcode.NOTIFY)
    assert answer_of(await server.answer(query.to_wire(), tcp=False)).rcode() == dns.rcode.NOTIMP
    chaos = dns.message.make_query("version.bind", "TXT", rdclass=dns.rdataclass.CH)
    assert answer_of(await server.answer(chaos.to_wire(), tcp=False)).rcode() == dns.rcode.REFUSED
    response = dns.message.make_response(dns.message.make_query(WEB, "A")).to_wire()
    assert await server.answer(response, tcp=False) is None, "answering answers would make two servers talk forever"
    malformed = dns.message.make_query(WEB, "A").to_wire()[:-3]
    assert answer_of(await server.answer(malformed, tcp=False)).rcode() == dns.rcode.FORMERR
    assert await server.answer(b"short", tcp=False) is None


def answer_of(wire: bytes | None) -> dns.message.Message:
    assert wire is not None
    return dns.message.from_wire(wire)


@given(st.binary(max_size=300))
def test_no_bytes_make_it_fail(wire: bytes) -> None:
    server = DnsServer(Cluster().zone(), Upstream([]), is_ready=lambda: True)
    asyncio.run(server.answer(wire, tcp=False))


@given(st.lists(st.binary(min_size=1, max_size=63), max_size=3))
def test_no_name_makes_it_fail(labels: list[bytes]) -> None:
    server = DnsServer(Cluster().zone(), Upstream([]), is_ready=lambda: True)
    question = b"".join(bytes([len(each)]) + each for each in [*labels, b"cluster", b"local"]) + b"\0\0\1\0\1"
    wire = asyncio.run(server.answer(b"\0\7\1\0\0\1\0\0\0\0\0\0" + question, tcp=False))
    assert answer_of(wire).rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN)


async def test_two_questions_on_one_tcp_connection(server: DnsServer) -> None:
    async with served(server) as address:
        reader, writer = await asyncio.open_connection(address, PORT)
        for name in (WEB, "x.default.svc.cluster.local"):
            wire = dns.message.make_query(name, "A").to_wire()
            writer.write(struct.pack("!H", len(wire)) + wire)
            (length,) = struct.unpack("!H", await reader.readexactly(2))
            assert dns.message.from_wire(await reader.readexactly(length)).question[0].name.to_text() == f"{name}."
        writer.close()


async def test_other_names_go_to_the_nodes_name_servers(cluster: Cluster, make: SimpleNamespace) -> None:
    """The one upstream is another server of ours, with another domain."""
    abroad = Cluster()
    abroad.services = {"default/web": make.service(clusterIP="203.0.113.5")}
    zone = Zone(abroad.view(), domain="example.org", networks=[], dns_ip="")
    async with served(DnsServer(zone, Upstream([]), is_ready=lambda: True)) as far:
        server = DnsServer(cluster.zone(), Upstream([far], port=PORT), is_ready=lambda: True)
        async with served(server) as address:
            ask = asking(address)
            for tcp in (False, True):
                assert data(await ask("web.default.svc.example.org", tcp=tcp)) == {"203.0.113.5"}
            assert (await ask("nothing.example.org")).rcode() == dns.rcode.NXDOMAIN
            cluster.services["default/out"] = make.service(
                "out", clusterIP="", type="ExternalName", externalName="web.default.svc.example.org"
            )
            assert "203.0.113.5" in data(await ask("out.default.svc.cluster.local"))


async def test_a_dead_name_server_is_passed_over(cluster: Cluster) -> None:
    upstream = Upstream([own_address()], port=PORT)
    assert await upstream.ask(dns.message.make_query("example.com", "A").to_wire(), tcp=False) is None
    assert upstream._resting


@pytest.mark.parametrize(
    ("text", "servers"),
    [
        ("nameserver 192.0.2.1\nsearch x\nnameserver 192.0.2.2 # two\n", ["192.0.2.1", "192.0.2.2"]),
        ("nameserver 10.96.0.10\noptions ndots:5", []),
        ("nameserver\n; nameserver 1.1.1.1", []),
        ("", []),
    ],
)
def test_the_nodes_name_servers(text: str, servers: list[str]) -> None:
    assert node_name_servers(text, but="10.96.0.10") == servers
