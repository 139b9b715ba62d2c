"""The byte stream over a transport, where the transport is not at its best."""

import asyncio

from kutter.http.stream import TransportStream


class Transport(asyncio.Transport):
    """A TLS transport of asyncio: once it is closing it can no longer be asked."""

    def __init__(self, *, tls):
        super().__init__()
        self._tls, self.closed, self.eof = tls, False, False

    def get_extra_info(self, name, default=None):
        if self.closed:
            raise AttributeError("'NoneType' object has no attribute '_get_extra_info'")
        return object() if self._tls and name == "ssl_object" else default

    def is_closing(self):
        return self.closed

    def can_write_eof(self):
        return not self._tls

    def write_eof(self):
        self.eof = True

    def close(self):
        self.closed = True


async def test_the_end_of_a_closing_tls_connection_is_no_error():
    stream, transport = TransportStream(), Transport(tls=True)
    stream.connection_made(transport)
    stream.close()
    assert transport.closed
    assert stream.eof_received() is False
    assert await stream.read() == b""


async def test_only_a_plain_connection_stays_half_open():
    for tls in (False, True):
        stream, transport = TransportStream(), Transport(tls=tls)
        stream.connection_made(transport)
        assert stream.eof_received() is (not tls)
        await stream.write_eof()
        assert (transport.eof, transport.closed) == (not tls, tls)
