"""A gRPC health service small enough to read: answers SERVING, or NOT_SERVING while a file exists.

Usage: grpc_health_server.py PORT FILE. Speaks just enough HTTP/2 (RFC 9113) without reading header
compression: every request on every stream gets the same answer.
"""

from __future__ import annotations

import os
import socketserver
import struct
import sys

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _SETTINGS, _PING = 0, 1, 4, 6
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    head = struct.pack("!I", len(payload))[1:] + bytes((kind, flags))
    return head + struct.pack("!I", stream) + payload


def literal(name: str, value: str) -> bytes:
    """A header field without indexing and without Huffman coding."""
    return b"\0" + bytes((len(name),)) + name.encode() + bytes((len(value),)) + value.encode()


class Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        if self.rfile.read(len(_PREFACE)) != _PREFACE:
            return
        self.wfile.write(frame(_SETTINGS, 0, 0, b""))
        while len(head := self.rfile.read(9)) == 9:
            length = int.from_bytes(head[:3], "big")
            kind, flags = head[3], head[4]
            stream = int.from_bytes(head[5:], "big") & 0x7FFFFFFF
            payload = self.rfile.read(length)
            if kind == _SETTINGS and not flags & _ACK:
                self.wfile.write(frame(_SETTINGS, _ACK, 0, b""))
            elif kind == _PING and not flags & _ACK:
                self.wfile.write(frame(_PING, _ACK, 0, payload))
            elif kind in (_DATA, _HEADERS) and flags & _END_STREAM:
                self._answer(stream)

    def _answer(self, stream: int) -> None:
        serving = b"\x08\x02" if os.path.exists(sys.argv[2]) else b"\x08\x01"
        start = b"\x88" + literal("content-type", "application/grpc")  # 0x88: status 200
        message = b"\0" + struct.pack("!I", len(serving)) + serving
        self.wfile.write(frame(_HEADERS, _END_HEADERS, stream, start))
        self.wfile.write(frame(_DATA, 0, stream, message))
        end = literal("grpc-status", "0")
        self.wfile.write(frame(_HEADERS, _END_HEADERS | _END_STREAM, stream, end))


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


if __name__ == "__main__":
    Server(("", int(sys.argv[1])), Handler).serve_forever()
