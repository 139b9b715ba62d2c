"""Netlink sockets and their message format: between our plain calls and the kernel.

Written by hand because the library for it costs 24 MB and a quarter of a second to import
(docs/adr); what we need of it is this page. Laws: a socket belongs to the network namespace it
was made in, for ever; every request is acknowledged, and a refusal is an ``OSError`` with the
kernel's errno. Calls block (for microseconds, on the rtnl lock longer): use a worker thread.

Format: https://docs.kernel.org/userspace-api/netlink/intro.html
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

NETLINK_ROUTE = 0
NETLINK_NETFILTER = 12

NLM_REQUEST = 0x1
NLM_ACK = 0x4
NLM_REPLACE = 0x100
NLM_EXCLUSIVE = 0x200
NLM_CREATE = 0x400
NLM_DUMP = 0x300

_ERROR = 2
_DONE = 3
_MINIMUM_TYPE = 16
_NESTED = 0x8000
_CLONE_NEWNET = 0x40000000
_SOL_NETLINK = 270
_EXTENDED_ACK = 11
_STRICT_CHECK = 12
_RECEIVE_BYTES = 1 << 17

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")


def attribute(kind: int, payload: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    length = 4 + len(payload)
    return _ATTRIBUTE.pack(length, kind) + payload + b"\0" * (-length % 4)


def nested(kind: int, *parts: bytes) -> bytes:
    """An attribute made of attributes."""
    return attribute(kind | _NESTED, b"".join(parts))


def text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def u32(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=I", value))


def parse_attributes(data: bytes, offset: int = 0) -> dict[int, bytes]:
    """Attributes by kind; stops at the first malformed one."""
    found: dict[int, bytes] = {}
    end = len(data)
    while offset + 4 <= end:
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < 4 or offset + length > end:
            break
        found[kind & 0x3FFF] = data[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found


class NetlinkSocket:
    """One kernel socket, used by one thread at a time."""

    def __init__(self, protocol: int = NETLINK_ROUTE, *, timeout_s: float = 10.0) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol
        )
        self._socket.settimeout(timeout_s)
        self._socket.bind((0, 0))
        for option in (_EXTENDED_ACK, _STRICT_CHECK):
            self._socket.setsockopt(_SOL_NETLINK, option, 1)
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def request(self, kind: int, payload: bytes, flags: int = 0) -> None:
        """Send one request and wait for its acknowledgement. Raises OSError."""
        for _ in self._exchange(kind, payload, flags | NLM_ACK):
            pass

    def get(self, kind: int, payload: bytes) -> bytes:
        """Ask for one thing; answers the message's body. Raises OSError."""
        answers = list(self._exchange(kind, payload, NLM_ACK))
        return answers[0] if answers else b""

    def dump(self, kind: int, payload: bytes) -> list[bytes]:
        """Ask for all; answers the bodies. Raises OSError."""
        return list(self._exchange(kind, payload, NLM_DUMP))

    def _exchange(self, kind: int, payload: bytes, flags: int) -> Iterator[bytes]:
        self._sequence += 1
        length = _HEADER.size + len(payload)
        self._socket.send(
            _HEADER.pack(length, kind, flags | NLM_REQUEST, self._sequence, 0) + payload
        )
        while True:
            data = self._socket.recv(_RECEIVE_BYTES)
            offset = 0
            while offset + _HEADER.size <= len(data):
                length, answer, _, sequence, _ = _HEADER.unpack_from(data, offset)
                if length < _HEADER.size:
                    raise OSError("malformed netlink message")
                body = data[offset + _HEADER.size : offset + length]
                offset += (length + 3) & ~3
                if sequence != self._sequence:
                    continue  # the rest of an exchange that was given up
                if answer == _DONE:
                    return
                if answer == _ERROR:
                    _raise_refusal(body)
                    return
                if answer >= _MINIMUM_TYPE:
                    yield body


def _raise_refusal(body: bytes) -> None:
    code = -struct.unpack_from("=i", body)[0]
    if code == 0:
        return
    # An extended acknowledgement: the offending header (capped or whole), then attributes.
    message = os.strerror(code)
    echoed = struct.unpack_from("=I", body, 4)[0]
    for start in (4 + ((echoed + 3) & ~3), 4 + _HEADER.size):
        explained = parse_attributes(body, start).get(1)
        if explained:
            message += f" ({explained.rstrip(bytes(1)).decode(errors='replace')})"
            break
    raise OSError(code, message)


_libc = ctypes.CDLL(None, use_errno=True)


def _set_network_namespace(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"setns: {os.strerror(code)}")


def open_socket_in(namespace: Path | int, protocol: int = NETLINK_ROUTE) -> NetlinkSocket:
    """A socket that acts in another network namespace.

    Call it from a worker thread: the calling thread enters the namespace for the time it takes
    to make the socket, and comes back. Threads that cannot come back are not to be used again:
    that is an assertion failure, not an error.
    """
    here = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    opened = namespace if isinstance(namespace, int) else os.open(namespace, os.O_RDONLY)
    try:
        _set_network_namespace(opened)
        try:
            return NetlinkSocket(protocol)
        finally:
            try:
                _set_network_namespace(here)
            except OSError as error:
                raise AssertionError("worker thread lost its network namespace") from error
    finally:
        os.close(here)
        if not isinstance(namespace, int):
            os.close(opened)
