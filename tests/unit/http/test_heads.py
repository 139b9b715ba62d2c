"""Header blocks as bytes."""

from __future__ import annotations

import pytest

from kutter.base.clock import SYSTEM_CLOCK
from kutter.http.heads import DateHeader, render_request_head, render_response_head


def test_framing_is_ours_whatever_the_handler_said() -> None:
    head = render_response_head(
        200,
        [
            ("content-length", "99"),
            ("Transfer-Encoding", "chunked"),
            ("X-A", "\u00fc"),
            ("Date", "x"),
        ],
        "Content-Length: 0\r\n",
        "",
    )
    assert head == b"HTTP/1.1 200 OK\r\nX-A: \xfc\r\nContent-Length: 0\r\n\r\n"


def test_unknown_status_has_a_phrase() -> None:
    assert render_response_head(599, [], "", "") == b"HTTP/1.1 599 Status\r\n\r\n"


@pytest.mark.parametrize("value", ["a\r\nb", "a\nb", "a\rb"])
def test_line_breaks_raise(value: str) -> None:
    with pytest.raises(ValueError, match="line break"):
        render_response_head(200, [("X", value)], "", "")
    with pytest.raises(ValueError, match="line break"):
        render_request_head("GET", "/", [("X", value)])
    with pytest.raises(ValueError, match="request line"):
        render_request_head("GET", f"/{value}", [])


def test_date_is_rendered_once_a_second() -> None:
    date = DateHeader(SYSTEM_CLOCK)
    first = date.line(10.0)
    assert first.startswith("Date: ")
    assert first.endswith(" GMT\r\n")
    assert date.line(10.9) is first
    assert date.line(11.0) is not first
