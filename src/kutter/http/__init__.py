"""HTTP/1.1, WebSocket and SPDY/3.1 on both sides. Knows nothing of kinds."""

from kutter.http.messages import ByteStream, Handler, PeerCertificate, Request, Response
from kutter.http.server import HttpServer, Limits, serve
from kutter.http.tls import ServerTls, client_context

__all__ = [
    "ByteStream",
    "Handler",
    "HttpServer",
    "Limits",
    "PeerCertificate",
    "Request",
    "Response",
    "ServerTls",
    "client_context",
    "serve",
]
