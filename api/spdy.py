"""SPDY/3.1 as far as Kubernetes uses it: several streams in one connection, which `kubectl port-forward` still speaks
inside a WebSocket. Pure: bytes in, events out; every other method returns the bytes to send.

Source: https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/. As in moby/spdystream, windows are not
kept: whoever reads slowly holds the connection back.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

VERSION = 0x8003
SYN_STREAM, SYN_REPLY, RST_STREAM, SETTINGS, PING, GOAWAY, HEADERS, WINDOW_UPDATE = 1, 2, 3, 4, 6, 7, 8, 9
FIN = 1
MAX_FRAME_BYTES = 1024 * 1024
MAX_HEADER_BYTES = 64 * 1024

_WORDS = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow "
    "authorization cache-control connection content-base content-encoding content-language content-length "
    "content-location content-md5 content-range content-type date etag expect expires from host if-match "
    "if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma "
    "proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade "
    "user-agent vary via warning www-authenticate method get status"
)
_REST = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden"
    "404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,"
    "publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)


def _text(text: str) -> bytes:
    return len(text.encode()).to_bytes(4) + text.encode()


_LAST = ("200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive", "origin")
DICTIONARY = b"".join(map(_text, (*_WORDS.split(), *_LAST))) + _REST.encode()
"""What the specification has both sides' compressors start with."""


class SpdyError(ValueError):
    """The other side breaks the protocol."""


@dataclass(frozen=True, slots=True)
class Event:
    """A frame that was read. `kind` is the type of a control frame, 0 for data; `stream` is a PING's number, too."""

    kind: int
    stream: int
    data: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Names in lower case."""
    fin: bool = False
    """Whether nothing follows on this stream from that side."""


class Framer:
    """One end of a connection."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._inflate = zlib.decompressobj(zdict=DICTIONARY)
        self._deflate = zlib.compressobj(zdict=DICTIONARY)

    def feed(self, data: bytes) -> Iterator[Event]:
        """The frames that are complete now. Raises SpdyError."""
        self._buffer += data
        while len(self._buffer) >= 8:
            length = int.from_bytes(self._buffer[5:8])
            if length > MAX_FRAME_BYTES:
                raise SpdyError(f"a frame of {length} bytes")
            if len(self._buffer) < 8 + length:
                return
            head, body = bytes(self._buffer[:8]), bytes(self._buffer[8 : 8 + length])
            del self._buffer[: 8 + length]
            yield self._event(head, body)

    def _event(self, head: bytes, body: bytes) -> Event:
        fin = bool(head[4] & FIN)
        if not head[0] & 0x80:
            return Event(0, int.from_bytes(head[:4]), body, fin=fin)
        if int.from_bytes(head[:2]) != VERSION:
            raise SpdyError("only version 3 is spoken here")
        kind = int.from_bytes(head[2:4])
        skip = {SYN_STREAM: 10, SYN_REPLY: 4, HEADERS: 4}.get(kind)
        if skip is None:
            return Event(kind, int.from_bytes(body[:4]) & (0xFFFFFFFF if kind == PING else 0x7FFFFFFF), body[4:])
        if len(body) < skip:
            raise SpdyError("a frame that is too short")
        return Event(kind, int.from_bytes(body[:4]) & 0x7FFFFFFF, headers=self._headers(body[skip:]), fin=fin)

    def _headers(self, block: bytes) -> dict[str, str]:
        try:
            plain = self._inflate.decompress(block, MAX_HEADER_BYTES)
        except zlib.error as error:
            raise SpdyError(f"headers: {error}") from error
        if self._inflate.unconsumed_tail:
            raise SpdyError("too many headers")
        texts, at = [], 4
        for _ in range(2 * int.from_bytes(plain[:4])):
            end = at + 4 + int.from_bytes(plain[at : at + 4])
            if at + 4 > len(plain) or end > len(plain):
                raise SpdyError("headers that are too short")
            texts.append(plain[at + 4 : end].decode("utf-8", "replace"))
            at = end
        return {name.lower(): value for name, value in zip(texts[::2], texts[1::2], strict=True)}

    def _block(self, headers: Mapping[str, str]) -> bytes:
        pairs = b"".join(_text(name.lower()) + _text(value) for name, value in headers.items())
        plain = len(headers).to_bytes(4) + pairs
        return self._deflate.compress(plain) + self._deflate.flush(zlib.Z_SYNC_FLUSH)

    def syn_stream(self, stream: int, headers: Mapping[str, str], *, fin: bool = False) -> bytes:
        """Begin a stream; clients number theirs oddly, each higher than the one before."""
        return _control(SYN_STREAM, stream.to_bytes(4) + bytes(6) + self._block(headers), fin)

    def syn_reply(self, stream: int) -> bytes:
        """Accept a stream."""
        return _control(SYN_REPLY, stream.to_bytes(4) + self._block({}))


def data(stream: int, content: bytes, *, fin: bool = False) -> bytes:
    return stream.to_bytes(4) + bytes((FIN * fin,)) + len(content).to_bytes(3) + content


def reset(stream: int, status: int = 5) -> bytes:
    """End a stream; the status 5 is CANCEL."""
    return _control(RST_STREAM, stream.to_bytes(4) + status.to_bytes(4))


def ping(number: int) -> bytes:
    return _control(PING, number.to_bytes(4))


def _control(kind: int, body: bytes, fin: bool = False) -> bytes:
    return VERSION.to_bytes(2) + kind.to_bytes(2) + bytes((FIN * fin,)) + len(body).to_bytes(3) + body
