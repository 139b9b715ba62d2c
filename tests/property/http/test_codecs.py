"""WebSocket and SPDY codecs: whatever is encoded comes back, however the bytes are cut."""

from __future__ import annotations

import itertools
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kutter.http import spdy_frames as spdy
from kutter.http import websocket as ws


def cut(data: bytes, edges: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(e % (len(data) + 1) for e in edges)})
    return [data[a:b] for a, b in itertools.pairwise(places)]


edges = st.lists(st.integers(0, 100_000), max_size=30)


@given(st.binary(max_size=300), st.binary(min_size=4, max_size=4))
def test_masking_is_byte_by_byte_xor_and_its_own_inverse(data: bytes, key: bytes) -> None:
    masked = ws.mask(data, key)
    assert masked == bytes(b ^ key[i % 4] for i, b in enumerate(data))
    assert ws.mask(masked, key) == data


@given(
    st.lists(
        st.tuples(
            st.booleans(), st.binary(max_size=200) | st.just(b"x" * 70_000), st.integers(1, 5)
        ),
        max_size=6,
    ),
    edges,
    st.booleans(),
)
@settings(deadline=None)
def test_websocket_messages_survive_fragments_pings_and_cuts(
    messages: list[tuple[bool, bytes, int]], edges: list[int], masked: bool
) -> None:
    wire = b""
    expected: list[ws.Message] = []
    for text, data, fragments in messages:
        payload = data.hex().encode() if text else data
        opcode = ws.Opcode.TEXT if text else ws.Opcode.BINARY
        step = len(payload) // fragments + 1
        parts = [payload[i : i + step] for i in range(0, len(payload), step)] or [b""]
        for i, part in enumerate(parts):
            key = os.urandom(4) if masked else None
            code = opcode if i == 0 else ws.Opcode.CONTINUATION
            wire += ws.encode_frame(code, part, key=key, final=i == len(parts) - 1)
            if i < len(parts) - 1:  # a control frame between fragments
                wire += ws.encode_frame(ws.Opcode.PING, b"p", key=key)
                expected.append(ws.Message(ws.Opcode.PING, b"p"))
        expected.append(ws.Message(opcode, payload))
    decoder = ws.Decoder(masked=masked)
    got = [m for part in cut(wire, edges) for m in decoder.feed(part)]
    assert got == expected


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        (b"\xc2\x80\0\0\0\0", 1002),  # reserved bit
        (b"\x83\x80\0\0\0\0", 1002),  # unknown opcode
        (b"\x82\x01x", 1002),  # not masked
        (b"\x89\xfe\x00\x7e\0\0\0\0", 1002),  # long ping
        (b"\x09\x80\0\0\0\0", 1002),  # fragmented ping
        (b"\x80\x80\0\0\0\0", 1002),  # nothing to continue
        (b"\x01\x80\0\0\0\0\x81\x80\0\0\0\0", 1002),  # not finished
        (b"\x81\x81\0\0\0\0\xff", 1007),  # not UTF-8
        (b"\x82\xff\0\0\0\0\x7f\xff\xff\xff\0\0\0\0", 1009),
        (b"\x02\xe4\0\0\0\0" + b"x" * 100 + b"\x80\xe4\0\0\0\0" + b"x" * 100, 1009),
    ],
)
def test_websocket_violations(wire: bytes, code: int) -> None:
    if code == 1009 and wire[1] == 0xE4:
        decoder = ws.Decoder(masked=True, limit_bytes=150)
    else:
        decoder = ws.Decoder(masked=True)
    with pytest.raises(ws.WebSocketError) as caught:
        decoder.feed(wire)
    assert caught.value.code == code


def test_websocket_handshake_example_of_the_rfc() -> None:
    assert ws.accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


header_text = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)
headers = st.dictionaries(header_text.map(str.lower), header_text, max_size=5)
stream_ids = st.integers(1, 2**31 - 1)
frames = st.lists(
    st.one_of(
        st.builds(
            spdy.Frame, st.just(spdy.Kind.DATA), stream_ids, st.booleans(), st.binary(max_size=300)
        ),
        st.builds(
            spdy.Frame,
            st.sampled_from([spdy.Kind.SYN_STREAM, spdy.Kind.SYN_REPLY, spdy.Kind.HEADERS]),
            stream_ids,
            st.booleans(),
            headers=headers,
        ),
        st.builds(spdy.Frame, st.just(spdy.Kind.PING), number=st.integers(0, 2**32 - 1)),
        st.builds(
            spdy.Frame,
            st.sampled_from([spdy.Kind.RST_STREAM, spdy.Kind.GOAWAY, spdy.Kind.WINDOW_UPDATE]),
            stream_ids,
            number=st.integers(0, 2**32 - 1),
        ),
    ),
    max_size=12,
)


@given(frames, edges)
def test_spdy_frames_survive_cuts(frames: list[spdy.Frame], edges: list[int]) -> None:
    encoder, decoder = spdy.Encoder(), spdy.Decoder()
    wire = b"".join(encoder.encode(f) for f in frames)
    got = [f for part in cut(wire, edges) for f in decoder.feed(part)]
    assert got == frames


@given(st.binary(max_size=400))
def test_spdy_garbage_is_an_error_or_nothing(data: bytes) -> None:
    try:
        list(spdy.Decoder().feed(data))
    except spdy.SpdyError:
        pass


def test_spdy_header_bomb_is_refused() -> None:
    encoder = spdy.Encoder()
    wire = encoder.encode(spdy.Frame(spdy.Kind.SYN_STREAM, 1, headers={"a": "x" * 10_000_000}))
    assert len(wire) < 100_000
    with pytest.raises(spdy.SpdyError, match="too big"):
        list(spdy.Decoder().feed(wire))


def test_spdy_dictionary_is_the_drafts() -> None:
    import zlib

    # The Adler-32 that every SPDY/3 implementation puts in its zlib header.
    assert zlib.adler32(spdy.DICTIONARY) == 0xE3C6A7C2
