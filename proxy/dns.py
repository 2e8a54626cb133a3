"""The cluster's DNS server, one on every node, on the cluster DNS address.

Interface: `DnsServer(zone, ...)`, `await serve()`. UDP and TCP; dnspython reads and writes the messages.

- A pod's resolver appends search domains, so most questions are for names that do not exist: answers are cheap, and
  repeated ones come out of a cache as bytes. The cache is emptied by every change of the cluster.
- Names that are not the cluster's go to the node's own name servers. If there are none, or none answers, the client
  gets SERVFAIL at once or after UPSTREAM_SECONDS, and the silent server is left alone for a while: a node without
  a way out must not make every lookup slow.
- Until the cluster is known, its names answer SERVFAIL, never NXDOMAIN, which resolvers believe and keep.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import struct
import time
from collections.abc import Callable
from pathlib import Path

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from proxy.records import TTL_SECONDS, Answer, Record, Verdict, Zone

PORT = 53
UDP_BYTES = 512
"""The longest UDP answer for a client that does not say more (RFC 1035)."""
MAX_UDP_BYTES = 1232
"""The longest for one that does: fits every path without fragments (DNS flag day 2020)."""
TCP_IDLE_SECONDS = 10.0
UPSTREAM_SECONDS = 2.0
UPSTREAM_REST_SECONDS = 10.0
"""How long a name server that did not answer is not asked again."""
CACHE_ENTRIES = 10_000
RETRY_BIND_SECONDS = 1.0
MAX_ALIASES = 8

RESOLV_CONF = Path("/etc/resolv.conf")

log = logging.getLogger("dns")


class Upstream:
    """The name servers for everything outside the cluster."""

    def __init__(self, servers: list[str], *, port: int = PORT) -> None:
        self._servers = servers
        self._port = port
        self._resting: dict[str, float] = {}

    async def ask(self, wire: bytes, *, tcp: bool) -> bytes | None:
        """The answer of the first server that gives one, else None."""
        for server in self._servers:
            if self._resting.get(server, 0.0) > time.monotonic():
                continue
            try:
                async with asyncio.timeout(UPSTREAM_SECONDS):
                    answer = await (self._over_tcp if tcp else self._over_udp)(server, wire)
            except (OSError, TimeoutError, asyncio.IncompleteReadError):
                self._resting[server] = time.monotonic() + UPSTREAM_REST_SECONDS
                continue
            return answer
        return None

    async def _over_udp(self, server: str, wire: bytes) -> bytes:
        # A socket, and so a random port, per question, as RFC 5452 asks. The ID is the client's.
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _OneAnswer(answer, wire[:2]), remote_addr=(server, self._port)
        )
        try:
            transport.sendto(wire)
            return await answer
        finally:
            transport.close()

    async def _over_tcp(self, server: str, wire: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(server, self._port)
        try:
            writer.write(struct.pack("!H", len(wire)) + wire)
            (length,) = struct.unpack("!H", await reader.readexactly(2))
            return await reader.readexactly(length)
        finally:
            writer.close()


class _OneAnswer(asyncio.DatagramProtocol):
    def __init__(self, answer: asyncio.Future[bytes], ident: bytes) -> None:
        self._answer, self._ident = answer, ident

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if data[:2] == self._ident and not self._answer.done():
            self._answer.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self._answer.done():
            self._answer.set_exception(exc)


def node_name_servers(text: str, *, but: str) -> list[str]:
    """The name servers of a resolv.conf, without the cluster's own. Pure."""
    words = (line.split() for line in text.splitlines())
    return [each[1] for each in words if len(each) > 1 and each[0] == "nameserver" and each[1] != but]


class DnsServer:
    """Answers for the zone; everything else goes upstream."""

    def __init__(self, zone: Zone, upstream: Upstream, *, is_ready: Callable[[], bool]) -> None:
        self._zone = zone
        self._upstream = upstream
        self._is_ready = is_ready
        self._cache: dict[bytes, bytes] = {}
        self._background: set[asyncio.Task[None]] = set()

    def forget(self) -> None:
        """The cluster changed: cached answers may be wrong."""
        self._cache.clear()

    async def serve(self, address: str, port: int = PORT) -> None:
        """Serve UDP and TCP until cancelled; an address that is not there yet, or taken, is waited for."""
        complained = False
        while True:
            try:
                async with contextlib.AsyncExitStack() as stack:
                    await self._listen(stack, address, port)
                    log.info("serving %s on %s:%d", self._zone.domain, address, port)
                    await asyncio.Event().wait()
            except OSError as error:
                if not complained:
                    log.warning("cannot serve on %s:%d yet: %s", address, port, error)
                complained = True
                await asyncio.sleep(RETRY_BIND_SECONDS)

    async def _listen(self, stack: contextlib.AsyncExitStack, address: str, port: int) -> None:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: _Udp(self), local_addr=(address, port))
        stack.callback(transport.close)
        server = await asyncio.start_server(self._serve_tcp, address, port)
        stack.callback(server.close)

    # Transports

    def datagram(self, wire: bytes, reply: Callable[[bytes], None]) -> None:
        """Answer one datagram: from the cache at once, else in a task of its own."""
        if cached := self._cache.get(wire[2:]):
            reply(wire[:2] + cached)
            return
        task = asyncio.ensure_future(self._answer_datagram(wire, reply))
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _answer_datagram(self, wire: bytes, reply: Callable[[bytes], None]) -> None:
        if answer := await self.answer(wire, tcp=False):
            reply(answer)

    async def _serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                async with asyncio.timeout(TCP_IDLE_SECONDS):
                    (length,) = struct.unpack("!H", await reader.readexactly(2))
                    wire = await reader.readexactly(length)
                answer = await self.answer(wire, tcp=True)
                if answer is None:
                    return
                writer.write(struct.pack("!H", len(answer)) + answer)
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    # Answers

    async def answer(self, wire: bytes, *, tcp: bool) -> bytes | None:
        """The answer to one message; None for what is no question, and must not be answered."""
        try:
            query = dns.message.from_wire(wire)
        except (dns.exception.DNSException, ValueError, struct.error):
            return _malformed(wire)
        if query.flags & dns.flags.QR:
            return None
        if query.opcode() != dns.opcode.QUERY or len(query.question) != 1:
            return _rendered(_reply(query, dns.rcode.NOTIMP), query, tcp=tcp)
        try:
            return await self._answer_question(query, wire, tcp=tcp)
        except (dns.exception.DNSException, ValueError) as error:
            # A name made from an object does not fit the rules of DNS.
            log.warning("no answer for %s: %s", query.question[0].name, error)
            return _rendered(_reply(query, dns.rcode.SERVFAIL), query, tcp=tcp)

    async def _answer_question(self, query: dns.message.Message, wire: bytes, *, tcp: bool) -> bytes:
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        if question.rdclass != dns.rdataclass.IN:
            return _rendered(_reply(query, dns.rcode.REFUSED), query, tcp=tcp)
        answer = self._zone.lookup(name, dns.rdatatype.to_text(question.rdtype))
        if answer.verdict is Verdict.FOREIGN:
            forwarded = await self._upstream.ask(wire, tcp=tcp)
            return forwarded or _rendered(_reply(query, dns.rcode.SERVFAIL), query, tcp=tcp)
        if not self._is_ready():
            return _rendered(_reply(query, dns.rcode.SERVFAIL), query, tcp=tcp)
        if answer.alias and question.rdtype != dns.rdatatype.CNAME:
            return _rendered(await self._with_alias(query, answer), query, tcp=tcp)
        rendered = _rendered(self._authoritative(query, answer), query, tcp=tcp)
        # Several records are shuffled for each client, so they are not kept.
        if not tcp and len(answer.records) < 2 and len(self._cache) < CACHE_ENTRIES:
            self._cache[wire[2:]] = rendered[2:]
        return rendered

    def _authoritative(self, query: dns.message.Message, answer: Answer) -> dns.message.Message:
        missing = answer.verdict is Verdict.MISSING
        reply = _reply(query, dns.rcode.NXDOMAIN if missing else dns.rcode.NOERROR)
        reply.flags |= dns.flags.AA
        random.shuffle(answer.records)
        for record in answer.records:
            _add(reply, reply.answer, record)
        for record in answer.extra:
            _add(reply, reply.additional, record)
        if not answer.records:
            # Negative answers are kept as long as the zone's SOA says (RFC 2308).
            apex = self._zone.lookup(self._zone.domain, "SOA")
            for record in apex.records:
                _add(reply, reply.authority, record)
        return reply

    async def _with_alias(self, query: dns.message.Message, answer: Answer) -> dns.message.Message:
        """The alias, and what it leads to: a stub resolver does not ask again."""
        reply = self._authoritative(query, Answer(Verdict.FOUND))
        reply.authority.clear()
        type_ = query.question[0].rdtype
        name, alias = query.question[0].name, answer.alias
        for _ in range(MAX_ALIASES):
            _add(reply, reply.answer, Record(name.to_text(), "CNAME", f"{alias}."))
            name = dns.name.from_text(alias)
            target = self._zone.lookup(alias, dns.rdatatype.to_text(type_))
            if not target.alias:
                break
            alias = target.alias
        if target.verdict is not Verdict.FOREIGN:
            for record in target.records:
                _add(reply, reply.answer, record)
            return reply
        wire = await self._upstream.ask(dns.message.make_query(name, type_).to_wire(), tcp=False)
        with contextlib.suppress(dns.exception.DNSException):
            for rrset in dns.message.from_wire(wire).answer if wire else []:
                reply.answer.append(rrset)
        return reply


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._server.datagram(data, lambda answer: self._transport.sendto(answer, addr))


def _reply(query: dns.message.Message, rcode: dns.rcode.Rcode) -> dns.message.Message:
    reply = dns.message.make_response(query, recursion_available=True, our_payload=MAX_UDP_BYTES)
    reply.set_rcode(rcode)
    return reply


def _add(reply: dns.message.Message, section: list[dns.rrset.RRset], record: Record) -> None:
    rrset = dns.rrset.from_text(f"{record.name.rstrip('.')}.", TTL_SECONDS, "IN", record.type, record.data)
    found = reply.find_rrset(section, rrset.name, rrset.rdclass, rrset.rdtype, create=True)
    found.update_ttl(TTL_SECONDS) if found else setattr(found, "ttl", TTL_SECONDS)
    for data in rrset:
        found.add(data)


def _rendered(reply: dns.message.Message, query: dns.message.Message, *, tcp: bool) -> bytes:
    """The message's bytes; what does not fit a datagram is cut, which makes the client ask again over TCP."""
    if tcp:
        return reply.to_wire(max_size=65535)
    limit = min(max(query.payload, UDP_BYTES), MAX_UDP_BYTES) if query.edns >= 0 else UDP_BYTES
    try:
        return reply.to_wire(max_size=limit)
    except dns.exception.TooBig:
        reply.flags |= dns.flags.TC
        for section in (reply.answer, reply.authority, reply.additional):
            section.clear()
        return reply.to_wire(max_size=limit)


def _malformed(wire: bytes) -> bytes | None:
    """FORMERR, for what has at least a question's header."""
    if len(wire) < 12 or wire[2] & 0x80:
        return None
    return wire[:2] + bytes([0x80 | (wire[2] & 0x79), dns.rcode.FORMERR]) + bytes(8)
