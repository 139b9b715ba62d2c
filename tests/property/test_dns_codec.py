"""DNS codec: what is written is read again; no bytes do harm."""

from __future__ import annotations

import contextlib
import ipaddress

from hypothesis import given, settings
from hypothesis import strategies as st

from kutter.base.clock import SYSTEM_CLOCK
from kutter.network.dns import codec
from kutter.network.dns.cache import AnswerCache, scan_ttls
from kutter.network.dns.codec import (
    DnsFormatError,
    Message,
    Question,
    Record,
    SoaData,
    SrvData,
    options_record,
    parse_message,
    render_message,
)
from kutter.network.dns.resolve import Resolver
from kutter.network.dns.upstream import Upstream
from kutter.network.interface import DnsService, NetworkConfig

U16, U32 = st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)
LABEL = st.one_of(
    st.from_regex(r"[a-z0-9_-]{1,20}", fullmatch=True),
    st.binary(min_size=1, max_size=12).map(
        lambda b: b.decode("latin-1").replace("\\", "\\\\").replace(".", "\\.")
    ),
)
NAME = st.lists(LABEL, max_size=6).map(".".join)
SHARED = st.sampled_from(["a.b.example", "b.example", "example", "x.a.b.example"])
ANY_NAME = st.one_of(NAME, SHARED)
IP4 = st.integers(0, 2**32 - 1).map(lambda n: str(ipaddress.IPv4Address(n)))
IP6 = st.integers(0, 2**128 - 1).map(lambda n: str(ipaddress.IPv6Address(n)))
SOA = st.builds(SoaData, ANY_NAME, ANY_NAME, U32, U32, U32, U32, U32)
TXT = st.lists(st.binary(max_size=255), max_size=3).map(tuple)
DATA = st.one_of(
    st.tuples(st.just(codec.A), IP4),
    st.tuples(st.just(codec.AAAA), IP6),
    st.tuples(st.sampled_from([codec.CNAME, codec.PTR, codec.NS]), ANY_NAME),
    st.tuples(st.just(codec.SRV), st.builds(SrvData, U16, U16, U16, ANY_NAME)),
    st.tuples(st.just(codec.SOA), SOA),
    st.tuples(st.just(codec.TXT), TXT),
    st.tuples(st.just(257), st.binary(max_size=40)),
)
RECORD = st.builds(lambda n, t, d: Record(n, d[0], t, d[1]), ANY_NAME, U32, DATA)
RECORDS = st.lists(RECORD, max_size=4).map(tuple)
MESSAGE = st.builds(
    Message, U16, U16, st.lists(st.builds(Question, ANY_NAME, U16, U16), max_size=2).map(tuple),
    RECORDS, RECORDS, RECORDS,
)  # fmt: skip


def folded(message: Message) -> str:
    """Compression may give a name the case of an equal one before it."""
    return repr(message).lower()


@settings(max_examples=200, deadline=None)
@given(MESSAGE)
def test_round_trip(message) -> None:
    assert folded(parse_message(render_message(message))) == folded(message)


@settings(max_examples=150, deadline=None)
@given(MESSAGE, st.integers(512, 1300))
def test_truncation_keeps_whole_records_within_the_limit(message, limit) -> None:
    message = Message(
        message.id, message.flags & ~codec.TRUNCATED, message.questions[:1],
        message.answers * 4, message.authorities, (*message.additionals, options_record()),
    )  # fmt: skip
    data = render_message(message, limit)
    assert len(data) <= limit
    short = parse_message(data)
    kept = len(short.answers)
    assert folded(Message(0, 0, answers=short.answers)) == folded(
        Message(0, 0, answers=message.answers[:kept])
    )
    assert bool(short.flags & codec.TRUNCATED) >= (kept < len(message.answers))
    assert any(record.type == codec.OPT for record in short.additionals)


SERVICES = [
    DnsService("default", "web", ("10.43.1.1",), ports=(("http", "TCP", 80),)),
    DnsService("default", "db", endpoints=(("db-0", "10.42.0.7", True),)),
]
RESOLVER = Resolver(NetworkConfig(), Upstream(servers=[]))
RESOLVER.set_services(SERVICES)
QUERY = render_message(
    Message(7, 0x100, (Question("web.default.svc.cluster.local", 1),), (), (), (options_record(),))
)


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=80),
        st.binary(max_size=60).map(lambda rest: QUERY[:4] + b"\0\1\0\0\0\0\0\0" + rest),
        st.lists(st.tuples(st.integers(0, len(QUERY) - 1), st.integers(0, 255)), max_size=6).map(
            lambda edits: bytes(dict(edits).get(n, byte) for n, byte in enumerate(QUERY))
        ),
        st.integers(0, len(QUERY)).map(lambda n: QUERY[:n]),
    )
)
def test_garbage_is_answered_or_ignored(data) -> None:
    with contextlib.suppress(DnsFormatError):
        parse_message(data)
    with contextlib.suppress(DnsFormatError):
        scan_ttls(data)
    with contextlib.suppress(DnsFormatError):
        AnswerCache(SYSTEM_CLOCK).put("k", data)
    for over_tcp in (False, True):
        answer = RESOLVER.answer_now(data, over_tcp=over_tcp)
        if isinstance(answer, bytes):
            assert answer[:2] == data[:2]
            assert answer[2] & 0x80
            parse_message(answer)
            assert RESOLVER.answer_now(answer) is None  # two servers never talk for ever
