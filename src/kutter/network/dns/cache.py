"""Answers of upstream servers, for as long as they say, within bounds; pure but for its clock.

Raw bytes are kept; a hit is the same bytes with every time to live reduced by the entry's age.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

from kutter.base.clock import Clock
from kutter.network.dns.codec import (
    NO_SUCH_NAME,
    OK,
    OPT,
    SOA,
    TRUNCATED,
    DnsFormatError,
    parse_name,
)

MAXIMUM_TTL_S = 300
MINIMUM_TTL_S = 1
NEGATIVE_TTL_S = 30  # at most
_HEADER = struct.Struct("!HHHHHH")
_RECORD = struct.Struct("!HHIH")


@dataclass(slots=True)
class _Entry:
    data: bytes
    ttl_offsets: list[int]
    stored_at: float
    expires_at: float


def scan_ttls(data: bytes) -> tuple[list[int], int]:
    """(where the times to live are, how many seconds the whole may be kept).

    0 seconds: not to be kept. Raises DnsFormatError.
    """
    try:
        _, flags, questions, *counts = _HEADER.unpack_from(data)
        offset = _HEADER.size
        for _ in range(questions):
            _, offset = parse_name(data, offset)
            offset += 4
        offsets: list[int] = []
        shortest = MAXIMUM_TTL_S
        negative = -1
        for section, count in enumerate(counts):
            for _ in range(count):
                _, offset = parse_name(data, offset)
                kind, _, ttl_s, length = _RECORD.unpack_from(data, offset)
                end = offset + _RECORD.size + length
                if end > len(data):
                    raise DnsFormatError("record runs past the end")
                if kind != OPT:
                    offsets.append(offset + 4)
                    shortest = min(shortest, ttl_s if ttl_s < 1 << 31 else 0)
                if kind == SOA and section == 1 and length >= 4:
                    negative = min(ttl_s, struct.unpack_from("!I", data, end - 4)[0])
                offset = end
    except struct.error as error:
        raise DnsFormatError("message is cut off") from error
    rcode = flags & 0xF
    if flags & TRUNCATED or rcode not in (OK, NO_SUCH_NAME):
        return offsets, 0
    if rcode == NO_SUCH_NAME or counts[0] == 0:
        return offsets, min(negative, NEGATIVE_TTL_S) if negative > 0 else 0
    return offsets, max(shortest, MINIMUM_TTL_S)


class AnswerCache:
    """Bounded by number; the one used longest ago goes first."""

    def __init__(self, clock: Clock, size: int = 4096) -> None:
        self._clock = clock
        self._size = size
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, key: Hashable, data: bytes) -> None:
        """Keep an answer when it may be kept. Raises DnsFormatError."""
        offsets, keep_s = scan_ttls(data)
        if keep_s <= 0:
            return
        now = self._clock.monotonic()
        self._entries[key] = _Entry(data, offsets, now, now + keep_s)
        self._entries.move_to_end(key)
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)

    def get(self, key: Hashable) -> bytes | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        now = self._clock.monotonic()
        if now >= entry.expires_at:
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        age = int(now - entry.stored_at)
        if not age:
            return entry.data
        data = bytearray(entry.data)
        for offset in entry.ttl_offsets:
            ttl_s = struct.unpack_from("!I", data, offset)[0]
            struct.pack_into("!I", data, offset, max(0, ttl_s - age))
        return bytes(data)

    def clear(self) -> None:
        self._entries.clear()
