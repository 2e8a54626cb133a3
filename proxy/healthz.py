"""GET /healthz, as kube-proxy answers it on 10256: 200 while the rules are current, 503 when they are not."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from datetime import UTC, datetime

from client.keeper import Health

STALE_SECONDS = 30.0
"""A change that waited this long has not reached the kernel: traffic may go to pods that are gone."""

REQUEST_SECONDS = 5.0
MAX_LINE_BYTES = 4096


def report(health: Health, *, now: float) -> tuple[int, dict[str, object]]:
    """Status code and body. Pure."""
    stuck = bool(health.pending_since) and now - health.pending_since > STALE_SECONDS
    body: dict[str, object] = {
        "lastUpdated": _time(health.last_sync) if health.last_sync else None,
        "currentTime": _time(now),
        "syncs": health.syncs,
    }
    if health.last_error:
        body["lastError"] = health.last_error
    return (503 if stuck or not health.last_sync else 200), body


async def serve(health: Health, host: str, port: int) -> None:
    """Answer until cancelled. Raises OSError if the address is taken."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
            async with asyncio.timeout(REQUEST_SECONDS):
                line = (await reader.readline()).split()
                while (await reader.readline()).strip():
                    pass
            path = line[1].partition(b"?")[0] if len(line) > 1 else b""
            found = path in (b"/healthz", b"/livez")
            status, body = report(health, now=time.time()) if found else (404, {"error": "not found"})
            if path == b"/livez":
                status = 200
            writer.write(_response(status, json.dumps(body).encode() + b"\n"))
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, host, port, limit=MAX_LINE_BYTES)
    async with server:
        await server.serve_forever()


def _response(status: int, body: bytes) -> bytes:
    reason = {200: "OK", 404: "Not Found", 503: "Service Unavailable"}[status]
    head = f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"Connection: close\r\n\r\n" + body


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
