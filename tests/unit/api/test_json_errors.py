"""Messages for what is no JSON: those of Go's decoder, recorded from an upstream server."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kutter.api.json_errors import explain, misfit

_END = "unexpected end of JSON input"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", _END),
        (b'{"a":', _END),
        (b'"abc', _END),
        (b"[1,", _END),
        (b"nope", "invalid character 'o' in literal null (expecting 'u')"),
        (b"apiVersion: v1", "invalid character 'a' looking for beginning of value"),
        (b"{a:1}", "invalid character 'a' looking for beginning of object key string"),
        (b'{"a" 1}', "invalid character '1' after object key"),
        (b'{"a":1 "b"}', "invalid character '\"' after object key:value pair"),
        (b"[1 2]", "invalid character '2' after array element"),
        (b"{} x", "invalid character 'x' after top-level value"),
        (b"[1,]", "invalid character ']' looking for beginning of value"),
        (b'"\\q"', "invalid character 'q' in string escape code"),
        (b'"\n"', "invalid character '\\n' in string literal"),
        (b'"\\u12g4"', "invalid character 'g' in \\u hexadecimal character escape"),
        (b"-x", "invalid character 'x' in numeric literal"),
        (b"1.x", "invalid character 'x' after decimal point in numeric literal"),
        (b"1ex", "invalid character 'x' in exponent of numeric literal"),
        (b"01", "invalid character '1' after top-level value"),
    ],
)
def test_messages(text: bytes, message: str) -> None:
    assert explain(text) == message


def test_depth_is_no_matter() -> None:
    assert explain(b"[" * 200_000) == _END


@given(
    st.binary(max_size=40) | st.text('{}[]",:\\u0123e.-+ tfnrualse', max_size=30).map(str.encode)
)
def test_what_a_decoder_refuses_is_explained_and_nothing_else(text: bytes) -> None:
    try:
        orjson.loads(text)
    except ValueError:
        # What only Go reads: text that is no UTF-8, lone surrogates, numbers too large.
        assert explain(text) or not text.isascii() or b"\\u" in text or b"e" in text.lower()
    else:
        assert explain(text) == ""


def test_a_value_of_another_type() -> None:
    assert misfit([], "v1.X") == "json: cannot unmarshal array into Go value of type v1.X"
