"""Several streams in one WebSocket, as Kubernetes' `channel.k8s.io` subprotocols have them. Pure.

Each message is a channel's number and data; in the base64 forms a digit and text. Exec and attach number theirs stdin,
stdout, stderr, error, resize; from v4 on the error channel ends with a Status, in v5 the client can close a channel.
Source: k8s.io/apimachinery/pkg/util/remotecommand/constants.go, k8s.io/apiserver/pkg/util/wsstream.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

STDIN, STDOUT, STDERR, ERROR, RESIZE = range(5)
CLOSE = 255


@dataclass(frozen=True, slots=True)
class Subprotocol:
    name: str
    base64: bool = False
    status: bool = True
    """Whether the error channel ends with a Status; else with a plain message, or none."""
    closes: bool = False
    """Whether a client can say that a channel ends."""

    def encode(self, channel: int, data: bytes) -> dict[str, Any]:
        """The ASGI message that carries this."""
        if self.base64:
            return {"type": "websocket.send", "text": f"{channel}{base64.b64encode(data).decode()}"}
        return {"type": "websocket.send", "bytes": bytes((channel,)) + data}

    def decode(self, message: dict[str, Any]) -> tuple[int, bytes]:
        """(channel, data). Raises ValueError."""
        if self.base64:
            text = message.get("text") or (message.get("bytes") or b"").decode("ascii")
            return int(text[:1]), base64.b64decode(text[1:], validate=True)
        data = message.get("bytes") or (message.get("text") or "").encode()
        if not data:
            raise ValueError("a message without a channel")
        return data[0], data[1:]


V5 = Subprotocol("v5.channel.k8s.io", closes=True)
V4 = Subprotocol("v4.channel.k8s.io")
V4_BASE64 = Subprotocol("v4.base64.channel.k8s.io", base64=True)
REMOTE_COMMAND = (
    V5,
    V4,
    V4_BASE64,
    Subprotocol("channel.k8s.io", status=False),
    Subprotocol("base64.channel.k8s.io", base64=True, status=False),
)
PORT_FORWARD = (V4, V4_BASE64)


def choose(offered: Sequence[str], served: Sequence[Subprotocol]) -> Subprotocol | None:
    """The client's first wish that can be fulfilled."""
    return next((each for name in offered for each in served if each.name == name), None)


def exit_status(code: int) -> bytes:
    """The Status a command ends with."""
    if code == 0:
        return json.dumps({"metadata": {}, "status": "Success"}).encode()
    return json.dumps(
        {
            "metadata": {},
            "status": "Failure",
            "message": f"command terminated with non-zero exit code: exit status {code}",
            "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
        }
    ).encode()


def failure_status(message: str) -> bytes:
    """The Status of what could not be done."""
    whole = f"Internal error occurred: {message}"
    causes = {"causes": [{"message": message}]}
    document = {"metadata": {}, "status": "Failure", "message": whole, "reason": "InternalError"}
    return json.dumps({**document, "details": causes, "code": 500}).encode()


def terminal_size(data: bytes) -> tuple[int, int] | None:
    """(columns, rows) of a message of the resize channel; None for what is no size."""
    try:
        size = json.loads(data)
        columns, rows = int(size["Width"]), int(size["Height"])
    except (ValueError, KeyError, TypeError):
        return None
    return (columns, rows) if 0 < columns < 65536 and 0 < rows < 65536 else None


DECODE_ERRORS = (ValueError, binascii.Error)
