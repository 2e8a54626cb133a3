"""Answers: bytes with a status, or a stream; and errors as Kubernetes' `Status`. One mapping for all of them."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml
from lightkube.models.meta_v1 import Status

from api.errors import (
    ApiStatusError,
    BadRequest,
    Expired,
    InternalError,
    RequestEntityTooLarge,
    ServiceUnavailable,
)
from apiserver import codec
from apiserver.storage.base import Compacted, StorageError, TooLarge, Unavailable

log = logging.getLogger(__name__)

Header = tuple[bytes, bytes]


@dataclass(slots=True)
class Response:
    """A complete answer."""

    body: bytes
    status: int = 200
    media_type: str = codec.JSON
    headers: list[Header] = field(default_factory=list)

    def warn(self, warnings: list[str]) -> Response:
        """Add Warning headers (RFC 7234), which kubectl prints; without controls, for clients' words are in them."""
        for each in warnings:
            printable = "".join(sign if sign.isprintable() else " " for sign in each)
            quoted = printable.replace("\\", "\\\\").replace('"', '\\"')
            self.headers.append((b"warning", f'299 - "{quoted}"'.encode("utf-8", "replace")))
        return self


@dataclass(slots=True)
class Stream:
    """An answer that goes on. The iterator is closed when the client goes away."""

    chunks: AsyncIterator[bytes]
    media_type: str = codec.JSON
    status: int = 200
    headers: list[Header] = field(default_factory=list)


@dataclass(slots=True)
class Tunnel:
    """An answer that is another connection: a WebSocket whose messages are passed on both ways (tunnel.py)."""

    upstream: Any
    """Opens the other side when entered: an asynchronous context of a `websockets` ClientConnection."""
    with_status: Sequence[str] = ()
    """Those of the offered subprotocols whose channel 3 ends with a Status."""


def as_yaml(body: bytes) -> bytes:
    text: str = yaml.dump(codec.to_document(body), Dumper=yaml.CSafeDumper, sort_keys=False, default_flow_style=False)
    return text.encode()


def success(status: int = 200) -> Response:
    return Response(codec.encode(Status(apiVersion="v1", kind="Status", status="Success", code=status)), status)


def error_response(error: ApiStatusError) -> Response:
    seconds = error.details.retryAfterSeconds if error.details else 1
    headers = [(b"retry-after", b"%d" % seconds)] if seconds and error.code in (429, 503) else []
    return Response(codec.encode(error.to_status()), error.code, headers=headers)


def to_api_error(error: Exception) -> ApiStatusError:
    """Any exception as what the client gets to see; only what is our own fault is logged with a traceback."""
    match error:
        case ApiStatusError():
            return error
        case Compacted():
            return Expired("The resourceVersion for the provided list or watch is too old.")
        case TooLarge():
            return RequestEntityTooLarge(f"Request entity too large: {error}")
        case Unavailable():
            return ServiceUnavailable(f"the store is unavailable: {error}")
        case RecursionError():
            return BadRequest("the object is nested too deeply")
        case StorageError():
            return InternalError.of(str(error))
        case _:
            log.error("internal error", exc_info=error)
            return InternalError.of(f"{type(error).__name__}: {error}")


async def send_response(send: Any, response: Response, *, head_only: bool = False, prefix: str = "") -> None:
    headers = [
        (b"content-type", response.media_type.encode()),
        (b"content-length", b"%d" % len(response.body)),
        *response.headers,
    ]
    await send({"type": f"{prefix}http.response.start", "status": response.status, "headers": headers})
    await send({"type": f"{prefix}http.response.body", "body": b"" if head_only else response.body})
