"""SPDY frames: what one end says, the other understands, however the bytes come."""

from __future__ import annotations

import contextlib
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import spdy

NAMES = st.text(st.characters(codec="ascii", categories=["Ll"]), min_size=1)
SAID = st.one_of(
    st.tuples(st.just("syn"), st.integers(1, 2**31 - 1), st.dictionaries(NAMES, st.text(max_size=20)), st.booleans()),
    st.tuples(st.just("data"), st.integers(1, 2**31 - 1), st.binary(max_size=50), st.booleans()),
    st.tuples(st.just("ping"), st.integers(0, 2**32 - 1)),
)


def test_the_dictionary_is_that_of_the_specification() -> None:
    assert (len(spdy.DICTIONARY), zlib.adler32(spdy.DICTIONARY)) == (1423, 0xE3C6A7C2)


@given(st.lists(SAID, max_size=8), st.integers(1, 40))
def test_frames_are_read_as_they_were_written(said: list, step: int) -> None:
    one, other = spdy.Framer(), spdy.Framer()
    wire, wanted = b"", []
    for what, number, *rest in said:
        if what == "syn":
            wire += one.syn_stream(number, rest[0], fin=rest[1])
            wanted.append(spdy.Event(spdy.SYN_STREAM, number, headers=rest[0], fin=rest[1]))
        elif what == "data":
            wire += spdy.data(number, rest[0], fin=rest[1])
            wanted.append(spdy.Event(0, number, rest[0], fin=rest[1]))
        else:
            wire += spdy.ping(number)
            wanted.append(spdy.Event(spdy.PING, number))
    found = [event for at in range(0, len(wire), step) for event in other.feed(wire[at : at + step])]
    assert found == wanted


def test_headers_that_are_a_bomb_are_refused() -> None:
    bomb = spdy.Framer().syn_stream(1, {"a": "x" * 10_000_000})
    with pytest.raises(spdy.SpdyError, match="too many headers"):
        list(spdy.Framer().feed(bomb))


@given(st.binary(max_size=200))
def test_noise_is_an_error_or_waits_for_more(noise: bytes) -> None:
    with contextlib.suppress(spdy.SpdyError):
        list(spdy.Framer().feed(noise))
