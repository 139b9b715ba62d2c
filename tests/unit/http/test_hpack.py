"""HPACK: the examples of RFC 7541 and what breaks its rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kutter.http.hpack import _LENGTHS, _SYMBOLS, Field, HpackError, decode_fields, decode_huffman


@pytest.mark.parametrize(
    ("coded", "text"),
    [
        ("f1e3c2e5f23a6ba0ab90f4ff", b"www.example.com"),
        ("a8eb10649cbf", b"no-cache"),
        ("25a849e95ba97d7f", b"custom-key"),
        ("d07abe941054d444a8200595040b8166e082a62d1bff", b"Mon, 21 Oct 2013 20:13:21 GMT"),
        (
            "94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
            b"foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
        ),
    ],
)
def test_huffman_examples(coded: str, text: bytes) -> None:
    assert decode_huffman(bytes.fromhex(coded)) == text


def _encode(text: bytes) -> bytes:
    codes = {symbol: key for key, symbol in _SYMBOLS.items()}
    bits = "".join(format(codes[byte][1], f"0{codes[byte][0]}b") for byte in text)
    bits += "1" * (-len(bits) % 8)
    return bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))


@given(st.binary(max_size=60))
def test_every_text_comes_back(text: bytes) -> None:
    assert decode_huffman(_encode(text)) == text


def test_the_code_is_complete() -> None:
    """Every bit string begins with exactly one code."""
    assert len(_LENGTHS) == 257
    assert sum(1 << 30 - length for length in _LENGTHS) == 1 << 30


@pytest.mark.parametrize("data", ["ff" * 4, "1f" + "ff", "00", "fffffffffc"])
def test_huffman_rules(data: str) -> None:
    with pytest.raises(HpackError):
        decode_huffman(bytes.fromhex(data))


def test_fields_of_all_forms() -> None:
    block = b"".join(
        (
            b"\x20",  # no dynamic table
            b"\x88",  # :status 200
            bytes.fromhex("400a637573746f6d2d6b65790d637573746f6d2d686561646572"),
            bytes.fromhex("040c2f73616d706c652f70617468"),  # :path by index
            bytes.fromhex("100870617373776f726406736563726574"),  # never indexed
        )
    )
    assert decode_fields(block) == [
        Field(b"custom-key", b"custom-header"),
        Field(b"", b"/sample/path"),
        Field(b"password", b"secret"),
    ]


@pytest.mark.parametrize(
    "block", ["3fe11f", "0005616263", "00", "0003616263", "ff" * 8, "0082ff00", "00036162637f"]
)
def test_broken_blocks(block: str) -> None:
    with pytest.raises(HpackError):
        decode_fields(bytes.fromhex(block))


@given(st.binary(max_size=80))
def test_anything_is_fields_or_an_error(block: bytes) -> None:
    try:
        decode_fields(block)
    except HpackError:
        pass
