"""DNS messages ↔ bytes (RFC 1035, EDNS0 of RFC 6891); pure, no I/O.

Names are text without the last dot; a dot or backslash inside a label is written with a
backslash before it, other bytes as Latin-1, so every name survives the round trip. Whatever the
bytes, :func:`parse_message` answers a message or raises :class:`DnsFormatError`, in time linear
in their number: a compression pointer must point backwards.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass, field, replace
from typing import NamedTuple, cast

A, NS, CNAME, SOA, PTR, TXT, AAAA, SRV, OPT = 1, 2, 5, 6, 12, 16, 28, 33, 41
AXFR, ANY = 252, 255
CLASS_IN = 1
OK, FORMAT_ERROR, SERVER_FAILURE, NO_SUCH_NAME, NOT_IMPLEMENTED, REFUSED = range(6)
QR, AUTHORITATIVE, TRUNCATED, RECURSION_DESIRED, RECURSION_AVAILABLE = (
    0x8000,
    0x0400,
    0x0200,
    0x0100,
    0x0080,
)
PLAIN_UDP_BYTES = 512
EDNS_UDP_BYTES = 1232  # no fragments on any sane path: https://www.dnsflagday.net/2020/
MAXIMUM_BYTES = 65535

_HEADER = struct.Struct("!HHHHHH")
_QUESTION = struct.Struct("!HH")
_RECORD = struct.Struct("!HHIH")
_SRV = struct.Struct("!HHH")
_SOA = struct.Struct("!IIIII")
_POINTER_LIMIT = 0x4000
_MAXIMUM_NAME = 255
_MAXIMUM_RECORDS = 4096


class DnsFormatError(ValueError):
    """The bytes are not a DNS message, or a name or record cannot be written as one."""


class Question(NamedTuple):
    name: str
    type: int
    klass: int = CLASS_IN


class SrvData(NamedTuple):
    priority: int
    weight: int
    port: int
    target: str


class SoaData(NamedTuple):
    primary: str
    mailbox: str
    serial: int
    refresh_s: int
    retry_s: int
    expire_s: int
    minimum_s: int


RecordData = str | SrvData | SoaData | tuple[bytes, ...] | bytes


class Record(NamedTuple):
    """``data``: address text for A and AAAA, a name for CNAME, PTR and NS, bytes if unknown."""

    name: str
    type: int
    ttl_s: int
    data: RecordData
    klass: int = CLASS_IN


@dataclass(frozen=True, slots=True)
class Message:
    """``flags`` is the whole second word, with the response code in its last four bits."""

    id: int
    flags: int
    questions: tuple[Question, ...] = ()
    answers: tuple[Record, ...] = ()
    authorities: tuple[Record, ...] = ()
    additionals: tuple[Record, ...] = field(default=())

    @property
    def rcode(self) -> int:
        return self.flags & 0xF


def split_name(name: str) -> list[bytes]:
    """The labels of a name. Raises DnsFormatError."""
    if not name:
        return []
    if "\\" not in name:
        labels = [part.encode("latin-1", "replace") for part in name.split(".")]
    else:
        labels = _split_escaped(name)
    if any(not 0 < len(label) < 64 for label in labels):
        raise DnsFormatError(f"name {name[:80]!r} has an empty or too long label")
    if sum(map(len, labels)) + len(labels) + 1 > _MAXIMUM_NAME:
        raise DnsFormatError(f"name {name[:80]!r} is too long")
    return labels


def _split_escaped(name: str) -> list[bytes]:
    labels, current = [], bytearray()
    position = 0
    while position < len(name):
        character = name[position]
        if character == "\\" and position + 1 < len(name):
            position += 1
            current += name[position].encode("latin-1", "replace")
        elif character == ".":
            labels.append(bytes(current))
            current.clear()
        else:
            current += character.encode("latin-1", "replace")
        position += 1
    labels.append(bytes(current))
    return labels


def parse_name(data: bytes, offset: int, *, compressed: bool = True) -> tuple[str, int]:
    """(name, offset behind it). Raises DnsFormatError, also for a pointer unless allowed."""
    labels: list[str] = []
    end = -1
    size = 1
    floor = offset
    while True:
        if offset >= len(data):
            raise DnsFormatError("name runs past the end")
        length = data[offset]
        if length == 0:
            return ".".join(labels), (offset + 1 if end < 0 else end)
        if length >= 0xC0:
            if not compressed or offset + 2 > len(data):
                raise DnsFormatError("pointer where none can be")
            target = (length & 0x3F) << 8 | data[offset + 1]
            if end < 0:
                end = offset + 2
            if target >= floor:
                raise DnsFormatError("pointer does not point backwards")
            offset = floor = target
            continue
        if length >= 64:
            raise DnsFormatError("unknown label type")
        label = data[offset + 1 : offset + 1 + length]
        size += length + 1
        if len(label) != length or size > _MAXIMUM_NAME:
            raise DnsFormatError("name is cut off or too long")
        text = label.decode("latin-1")
        if "." in text or "\\" in text:
            text = text.replace("\\", "\\\\").replace(".", "\\.")
        labels.append(text)
        offset += length + 1


def parse_message(data: bytes) -> Message:
    """Raises DnsFormatError."""
    try:
        return _parse(data)
    except struct.error as error:
        raise DnsFormatError("message is cut off") from error


def _parse(data: bytes) -> Message:
    identity, flags, *counts = _HEADER.unpack_from(data)
    if sum(counts) > _MAXIMUM_RECORDS:
        raise DnsFormatError("too many records")
    offset = _HEADER.size
    questions = []
    for _ in range(counts[0]):
        name, offset = parse_name(data, offset)
        questions.append(Question(name, *_QUESTION.unpack_from(data, offset)))
        offset += _QUESTION.size
    sections: list[tuple[Record, ...]] = []
    for count in counts[1:]:
        records = []
        for _ in range(count):
            record, offset = _parse_record(data, offset)
            records.append(record)
        sections.append(tuple(records))
    return Message(identity, flags, tuple(questions), *sections)


def _parse_record(data: bytes, offset: int) -> tuple[Record, int]:
    name, offset = parse_name(data, offset)
    kind, klass, ttl_s, length = _RECORD.unpack_from(data, offset)
    offset += _RECORD.size
    end = offset + length
    if end > len(data):
        raise DnsFormatError("record runs past the end")
    return Record(name, kind, ttl_s, _parse_data(data, offset, end, kind), klass), end


def _parse_data(data: bytes, offset: int, end: int, kind: int) -> RecordData:
    value: RecordData
    stop = end
    if kind == A and end - offset == 4:
        return str(ipaddress.IPv4Address(data[offset:end]))
    if kind == AAAA and end - offset == 16:
        return str(ipaddress.IPv6Address(data[offset:end]))
    if kind in (CNAME, PTR, NS):
        value, stop = parse_name(data, offset)
    elif kind == SRV:
        priority, weight, port = _SRV.unpack_from(data, offset)
        target, stop = parse_name(data, offset + _SRV.size)
        value = SrvData(priority, weight, port, target)
    elif kind == SOA:
        primary, offset = parse_name(data, offset)
        mailbox, offset = parse_name(data, offset)
        value = SoaData(primary, mailbox, *_SOA.unpack_from(data, offset))
        stop = offset + _SOA.size
    elif kind == TXT:
        strings = []
        while offset < end:
            length = data[offset]
            strings.append(data[offset + 1 : offset + 1 + length])
            offset += length + 1
        value, stop = tuple(strings), offset
    elif kind in (A, AAAA):
        raise DnsFormatError("address of the wrong size")
    else:
        return data[offset:end]
    if stop != end:
        raise DnsFormatError("record data of the wrong size")
    return value


class _Writer:
    def __init__(self) -> None:
        self.data = bytearray(_HEADER.size)
        self._known: dict[tuple[bytes, ...], int] = {}

    def name(self, name: str, *, compress: bool = True) -> None:
        labels = tuple(split_name(name))
        folded = tuple(label.lower() for label in labels)
        for index in range(len(labels)):
            seen = self._known.get(folded[index:])
            if seen is not None and compress:
                self.data += struct.pack("!H", 0xC000 | seen)
                return
            if len(self.data) < _POINTER_LIMIT:
                self._known.setdefault(folded[index:], len(self.data))
            self.data.append(len(labels[index]))
            self.data += labels[index]
        self.data.append(0)

    def question(self, question: Question) -> None:
        self.name(question.name)
        self.data += _QUESTION.pack(question.type, question.klass)

    def record(self, record: Record) -> None:
        self.name(record.name)
        start = len(self.data)
        self.data += _RECORD.pack(record.type, record.klass, record.ttl_s, 0)
        self._value(record)
        length = len(self.data) - start - _RECORD.size
        if length > MAXIMUM_BYTES:
            raise DnsFormatError("record data is too long")
        struct.pack_into("!H", self.data, start + 8, length)

    def _value(self, record: Record) -> None:
        value = record.data
        if isinstance(value, bytes):
            self.data += value
        elif isinstance(value, SrvData):
            self.data += _SRV.pack(value.priority, value.weight, value.port)
            self.name(value.target, compress=False)  # RFC 2782
        elif isinstance(value, SoaData):
            self.name(value.primary)
            self.name(value.mailbox)
            self.data += _SOA.pack(*value[2:])
        elif isinstance(value, tuple):
            for part in cast("tuple[bytes, ...]", value):
                if len(part) > 255:
                    raise DnsFormatError("string of a TXT record is too long")
                self.data.append(len(part))
                self.data += part
        elif record.type in (A, AAAA):
            self.data += ipaddress.ip_address(value).packed
        else:
            self.name(value)

    def rewind(self, length: int) -> None:
        del self.data[length:]
        self._known = {k: v for k, v in self._known.items() if v < length}


def render_message(message: Message, limit: int = MAXIMUM_BYTES) -> bytes:
    """Write a message in at most ``limit`` bytes.

    What does not fit is left out by whole records, with the truncation flag if an answer is
    among them. An OPT record always stays. Raises DnsFormatError.
    """
    options = [record for record in message.additionals if record.type == OPT]
    reserved = sum(11 + len(o.data) for o in options if isinstance(o.data, bytes))
    writer = _Writer()
    for question in message.questions:
        writer.question(question)
    counts = [0, 0, 0]
    flags = message.flags
    extra = tuple(record for record in message.additionals if record.type != OPT)
    full = False
    for index, section in enumerate((message.answers, message.authorities, extra)):
        for record in section:
            before = len(writer.data)
            writer.record(record)
            if len(writer.data) + reserved > limit:
                writer.rewind(before)
                full = True
                break
            counts[index] += 1
        if full:
            if index < 2:
                flags |= TRUNCATED
            break
    for record in options:
        writer.record(record)
        counts[2] += 1
    _HEADER.pack_into(writer.data, 0, message.id, flags, len(message.questions), *counts)
    return bytes(writer.data)


def options_record(size: int = EDNS_UDP_BYTES) -> Record:
    """An EDNS0 OPT record that announces ``size``."""
    return Record("", OPT, 0, b"", size)


def reply_to(query: Message, rcode: int) -> Message:
    """An empty answer with this response code."""
    flags = QR | RECURSION_AVAILABLE | (query.flags & (0x7800 | RECURSION_DESIRED)) | rcode
    return replace(query, flags=flags, answers=(), authorities=(), additionals=())
