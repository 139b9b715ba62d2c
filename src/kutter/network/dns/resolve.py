"""One query in, one answer out: the zone first, then upstream.

Answers of the zone are kept as finished bytes behind the question, which is echoed as it came
(so a client's mixed case returns to it), and are given again without parsing anything: this is
what makes the server quick. Several records of a kind are turned round from answer to answer.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from kutter.network.dns.codec import (
    AUTHORITATIVE,
    AXFR,
    CLASS_IN,
    EDNS_UDP_BYTES,
    FORMAT_ERROR,
    MAXIMUM_BYTES,
    NOT_IMPLEMENTED,
    OPT,
    PLAIN_UDP_BYTES,
    QR,
    RECURSION_AVAILABLE,
    RECURSION_DESIRED,
    REFUSED,
    SERVER_FAILURE,
    DnsFormatError,
    Message,
    Question,
    Record,
    options_record,
    parse_message,
    parse_name,
    render_message,
)
from kutter.network.dns.upstream import Upstream, UpstreamError
from kutter.network.dns.zone import Answer, Zone
from kutter.network.interface import DnsService, NetworkConfig

_MAXIMUM_KEPT = 10_000
_MAXIMUM_TURNS = 8
_ONE = b"\0\1\0\0\0\0\0\0"  # counts: one question, and EDNS with it
_ONE_WITH_OPTIONS = b"\0\1\0\0\0\0\0\1"
_RECORD = struct.Struct("!HHIH")


@dataclass(frozen=True, slots=True)
class Query:
    """What matters of a query. ``limit`` is the size its sender takes."""

    data: bytes
    question: Question
    question_end: int
    limit: int
    edns: bool


@dataclass(slots=True)
class _Kept:
    """Finished answers; ``turn`` is the next one to give."""

    bodies: list[tuple[int, bytes, bytes]]  # flags, the four counts, what follows the question
    turn: int = 0


class Resolver:
    """Answers queries. :meth:`answer_now` never waits; :meth:`answer` may ask upstream."""

    def __init__(self, config: NetworkConfig, upstream: Upstream) -> None:
        self._config = config
        self._upstream = upstream
        self._services: list[DnsService] = []
        self._zone = Zone(config)
        self._kept: dict[tuple[bytes, bool], _Kept] = {}

    def set_services(self, services: Sequence[DnsService]) -> None:
        fresh = list(services)
        if fresh == self._services:
            return
        self._services = fresh
        self._zone = Zone(self._config, fresh)
        self._kept.clear()

    def answer_now(self, data: bytes, *, over_tcp: bool = False) -> bytes | Query | None:
        """An answer; or a query only :meth:`answer` can serve; None: say nothing."""
        if len(data) < 12 or data[2] & 0x80:
            return None
        quick = self._answer_again(data) if not over_tcp else None
        if quick is not None:
            return quick
        try:
            query = _parse_query(data, over_tcp=over_tcp)
        except DnsFormatError:
            return _refuse(data, FORMAT_ERROR)
        if isinstance(query, int):
            return _refuse(data, query)
        key = (data[12 : query.question_end].lower(), query.edns)
        kept = self._kept.get(key)
        if kept is None:
            name = query.question.name.lower()
            if not self._zone.covers(name):
                return query
            found = self._zone.answer(name, query.question.type)
            if found.follow:
                return query
            kept = self._render(query, found)
            if len(self._kept) >= _MAXIMUM_KEPT:
                self._kept.clear()
            self._kept[key] = kept
        return self._finish(data, query.question_end, query.limit, kept)

    def _answer_again(self, data: bytes) -> bytes | None:
        """The answer to a plain query for a question that was answered before.

        The name is not parsed: keys come from questions that were, so equal bytes are as good.
        """
        end = data.find(b"\0", 12) + 5
        edns, limit = False, PLAIN_UDP_BYTES
        if len(data) != end:
            if data[end : end + 3] != b"\0\0\x29" or len(data) < end + 11:
                return None
            if len(data) != end + 11 + (data[end + 9] << 8 | data[end + 10]):
                return None
            edns = True
            announced = data[end + 3] << 8 | data[end + 4]
            limit = max(PLAIN_UDP_BYTES, min(announced, EDNS_UDP_BYTES))
        kept = self._kept.get((data[12:end].lower(), edns))
        head = data[4:12]
        if kept is None or head != (_ONE_WITH_OPTIONS if edns else _ONE) or data[2] & 0x78:
            return None
        return self._finish(data, end, limit, kept)

    def _render(self, query: Query, found: Answer) -> _Kept:
        authorities = () if found.records else (self._zone.soa(),)
        additionals = found.extra + ((options_record(),) if query.edns else ())
        count = len(found.records)
        bodies = []
        for turn in range(max(1, min(count, _MAXIMUM_TURNS))):
            first = turn * count // _MAXIMUM_TURNS if count > _MAXIMUM_TURNS else turn
            message = Message(
                id=0,
                flags=QR | AUTHORITATIVE | RECURSION_AVAILABLE | found.rcode,
                questions=(query.question,),
                answers=found.records[first:] + found.records[:first],
                authorities=authorities,
                additionals=additionals,
            )
            data = render_message(message)
            flags = struct.unpack_from("!H", data, 2)[0]
            bodies.append((flags, data[4:12], data[query.question_end :]))
        return _Kept(bodies)

    @staticmethod
    def _finish(data: bytes, end: int, limit: int, kept: _Kept) -> bytes:
        flags, counts, body = kept.bodies[kept.turn % len(kept.bodies)]
        kept.turn += 1
        flags |= (data[2] & 1) << 8
        whole = data[:2] + flags.to_bytes(2, "big") + counts + data[12:end] + body
        if len(whole) <= limit:
            return whole
        return render_message(parse_message(whole), limit)

    async def answer(self, query: Query) -> bytes:
        """The answer to a query :meth:`answer_now` could not serve."""
        name = query.question.name.lower()
        try:
            if self._zone.covers(name):
                return await self._answer_alias(query, name)
            if not self._upstream.servers():
                return _refuse(query.data, REFUSED)
            data = await self._upstream.ask(query.data, query.question_end)
            if len(data) <= query.limit:
                return data
            return render_message(parse_message(data), query.limit)
        except (UpstreamError, DnsFormatError):
            return _refuse(query.data, SERVER_FAILURE)

    async def _answer_alias(self, query: Query, name: str) -> bytes:
        """A name of the zone that leads outside: our alias, then what upstream says of it."""
        found = self._zone.answer(name, query.question.type)
        rcode = found.rcode
        records: tuple[Record, ...] = found.records
        if found.follow and self._upstream.servers():
            outside = Message(0, RECURSION_DESIRED, (Question(found.follow, query.question.type),))
            asked = render_message(outside)
            reply = parse_message(await self._upstream.ask(asked, len(asked)))
            rcode, records = reply.rcode, records + reply.answers
        flags = QR | RECURSION_AVAILABLE | rcode | (query.data[2] & 1) << 8
        message = Message(
            id=int.from_bytes(query.data[:2], "big"),
            flags=flags,
            questions=(query.question,),
            answers=records,
            additionals=(options_record(),) if query.edns else (),
        )
        return render_message(message, query.limit)


def _parse_query(data: bytes, *, over_tcp: bool) -> Query | int:
    """The query, or the response code to refuse it with. Raises DnsFormatError."""
    if data[2] & 0x78:
        return NOT_IMPLEMENTED
    if data[4:6] != b"\0\1" or data[6:10] != b"\0\0\0\0":
        return FORMAT_ERROR
    name, offset = parse_name(data, 12, compressed=False)
    end = offset + 4
    if end > len(data):
        raise DnsFormatError("question is cut off")
    kind, klass = struct.unpack_from("!HH", data, offset)
    if klass != CLASS_IN or (kind >= AXFR - 1 and kind < 255):
        return REFUSED
    edns, size = False, PLAIN_UDP_BYTES
    extra = data[10] << 8 | data[11]
    offset = end
    if extra > 4:
        return FORMAT_ERROR
    for _ in range(extra):
        _, offset = parse_name(data, offset)
        if offset + _RECORD.size > len(data):
            raise DnsFormatError("record is cut off")
        record, announced, _, length = _RECORD.unpack_from(data, offset)
        offset += _RECORD.size + length
        if record == OPT:
            edns, size = True, max(PLAIN_UDP_BYTES, min(announced, EDNS_UDP_BYTES))
    if offset > len(data):
        raise DnsFormatError("record is cut off")
    limit = MAXIMUM_BYTES if over_tcp else size
    return Query(data, Question(name, kind, klass), end, limit, edns)


def _refuse(data: bytes, rcode: int) -> bytes:
    """An answer without records; it echoes the question when that can be read."""
    flags = QR | RECURSION_AVAILABLE | rcode | (data[2] & 0x79) << 8
    head = data[:2] + flags.to_bytes(2, "big")
    try:
        _, offset = parse_name(data, 12)
    except DnsFormatError:
        return head + bytes(8)
    if data[4:6] != b"\0\1" or offset + 4 > len(data):
        return head + bytes(8)
    return head + b"\0\1" + bytes(6) + data[12 : offset + 4]
