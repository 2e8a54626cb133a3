"""The wire of exec, attach and port-forward."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelet.streams import channels
from kubelet.streams.remote_command import Wanted


@given(st.sampled_from(channels.REMOTE_COMMAND), st.integers(0, 4), st.binary(max_size=100))
def test_what_is_sent_is_what_is_read(protocol: channels.Subprotocol, channel: int, data: bytes) -> None:
    message = protocol.encode(channel, data)
    assert protocol.decode(message) == (channel, data)
    assert ("text" in message) == protocol.base64


@pytest.mark.parametrize("message", [{"bytes": b""}, {"text": ""}, {}])
def test_a_message_of_no_channel_breaks_the_protocol(message: dict[str, object]) -> None:
    for protocol in channels.REMOTE_COMMAND:
        with pytest.raises(ValueError):
            protocol.decode(message)


@pytest.mark.parametrize("text", ["xYQ==", "1!", "1YQ"])
def test_bad_base64_breaks_the_protocol(text: str) -> None:
    with pytest.raises(ValueError):
        channels.V4_BASE64.decode({"text": text})


def test_the_clients_first_wish_that_is_served_wins() -> None:
    assert channels.choose(
        ["v6.channel.k8s.io", "v4.channel.k8s.io", "v5.channel.k8s.io"], channels.REMOTE_COMMAND
    ) == (channels.V4)
    assert channels.choose([], channels.REMOTE_COMMAND) is None


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (b'{"Width": 80, "Height": 24}', (80, 24)),
        (b'{"Width": 0, "Height": 24}', None),
        (b'{"Width": 99999, "Height": 24}', None),
        (b"[]", None),
        (b"no", None),
    ],
)
def test_terminal_sizes(data: bytes, size: tuple[int, int] | None) -> None:
    assert channels.terminal_size(data) == size


def test_the_status_carries_the_exit_code() -> None:
    assert json.loads(channels.exit_status(0)) == {"metadata": {}, "status": "Success"}
    assert json.loads(channels.exit_status(3))["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]


def test_a_terminal_has_one_output() -> None:
    assert Wanted.of({"input": "1", "output": "true", "error": "1", "tty": "1"}) == Wanted(True, True, False, True)
    with pytest.raises(ValueError, match="at least 1 of stdin, stdout, stderr"):
        Wanted.of({"tty": "1"})
