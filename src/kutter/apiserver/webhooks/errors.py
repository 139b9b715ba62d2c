"""What went wrong with a call, in the words of upstream's clients: people and tools search them."""

from __future__ import annotations

import socket
import ssl

import orjson

from kutter.http.client_connection import HttpProtocolError

_BY_STATUS = {
    400: "the server rejected our request for an unknown reason",
    401: "the server has asked for the client to provide credentials",
    404: "the server could not find the requested resource",
    405: "the server does not allow this method on the requested resource",
    409: "the server reported a conflict",
    422: "the server rejected our request due to an error in our request",
    429: "the server has received too many requests and has asked us to try again later",
    503: "the server is currently unable to handle the request",
    504: "the server was unable to return a response in the time allotted, but may still be "
    "processing the request",
}
_SHOWN_BYTES = 1024
_UNKNOWN = (2, 7, 18, 19, 20, 21, 24, 27)  # no chain of valid signatures to the authority
_EXPIRED_OR_EARLY = (9, 10)
_OTHER_NAME = (62, 64)


class WebhookCallError(Exception):
    """The webhook gave no usable answer. ``timed_out``: because it took too long."""

    def __init__(self, message: str, *, status: int = 0, timed_out: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.timed_out = timed_out


def describe_failure(error: OSError, place: str) -> str:
    """The reason without the URL; ``place`` is host and port that were dialed."""
    match error:
        case TimeoutError():
            return "context deadline exceeded"
        case ConnectionRefusedError():
            return f"dial tcp {place}: connect: connection refused"
        case ssl.SSLCertVerificationError():
            return f"tls: failed to verify certificate: x509: {_certificate(error)}"
        case ssl.SSLError():
            # Only OpenSSL's own errors have a reason.
            return f"tls: {getattr(error, 'reason', None) or error}".lower()
        case socket.gaierror():
            return f"dial tcp: lookup {place.rpartition(':')[0]}: no such host"
        case HttpProtocolError():
            return str(error)
        case ConnectionError():
            return "EOF"
    return f"dial tcp {place}: {error.strerror or error}".lower()


def _certificate(error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code in _UNKNOWN:
        return "certificate signed by unknown authority"
    if error.verify_code in _EXPIRED_OR_EARLY:
        return "certificate has expired or is not yet valid"
    if error.verify_code in _OTHER_NAME:
        return f"certificate is not valid for the name: {error.verify_message}"
    return error.verify_message


def describe_status(status: int, body: bytes) -> str:
    """What an answer that is no success says: its own Status, or the usual sentence."""
    try:
        tree = orjson.loads(body)
    except ValueError:
        tree = None
    if isinstance(tree, dict) and tree.get("kind") == "Status" and tree.get("message"):
        return str(tree["message"])
    shown = body[:_SHOWN_BYTES].decode(errors="replace").strip()
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status == 403:
        return shown
    if status >= 500:
        quoted = orjson.dumps(shown or "unknown").decode()
        return f"an error on the server ({quoted}) has prevented the request from succeeding"
    return f"the server responded with the status code {status} but did not return more information"
