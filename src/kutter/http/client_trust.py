"""Whose client certificates hold: decided per certificate, not by the handshake.

Between the TLS handshake, which takes any certificate whose key the client proves to have, and
the requests of the connection. A handshake that fails tells a client nothing it could act on;
an answer 401 does, as upstream's does. So the handshake is told to go on
(:func:`accept_any_client`) and the chain is verified here, once per certificate.
"""

from __future__ import annotations

import _ssl
import ctypes
import platform
import ssl
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from kutter.base.clock import Clock

_ENTRIES_MAX = 1024
_CHAIN_MAX = 10
_FOR_CLIENTS = {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}


class ClientTrust:
    """Judges client certificates by a CA bundle (PEM). Raises ValueError for a bundle that is
    none.
    """

    def __init__(self, bundle_pem: bytes, *, clock: Clock) -> None:
        self._clock = clock
        authorities = x509.load_pem_x509_certificates(bundle_pem)
        self._policy = (
            PolicyBuilder()
            .store(Store(authorities))
            .extension_policies(ca_policy=_authorities(), ee_policy=ExtensionPolicy.permit_all())
        )
        self._known: dict[bytes, tuple[datetime, datetime, str]] = {}

    def problem_of(self, chain: Sequence[bytes]) -> str:
        """Why the chain (DER, the client's own certificate first) does not hold; empty: it does."""
        der = chain[0]
        now = self._clock.now()
        known = self._known.get(der)
        if known is None or not known[0] <= now <= known[1]:
            if len(self._known) >= _ENTRIES_MAX:
                self._known.clear()
            known = self._known[der] = self._judge(chain, now)
        return known[2]

    def _judge(self, chain: Sequence[bytes], now: datetime) -> tuple[datetime, datetime, str]:
        """A verdict and the span it holds in: a refusal for this moment only."""
        try:
            leaf, *rest = [x509.load_der_x509_certificate(der) for der in chain[:_CHAIN_MAX]]
            verified = self._policy.time(now).build_client_verifier().verify(leaf, rest)
            if not _is_for_clients(leaf):
                return (now, now, "certificate is not for clients")
        except (VerificationError, ValueError, x509.UnsupportedGeneralNameType) as error:
            return (now, now, f"certificate is not trusted: {error}")
        begin = max(c.not_valid_before_utc for c in verified.chain)
        return (begin, min(c.not_valid_after_utc for c in verified.chain), "")


def _authorities() -> ExtensionPolicy:
    """What is asked of authorities: that they are some. Private ones often say no more."""

    def check(policy: Policy, certificate: x509.Certificate, found: x509.BasicConstraints) -> None:
        if not found.ca:
            raise ValueError("the issuer is no authority")

    return ExtensionPolicy.permit_all().require_present(
        x509.BasicConstraints, Criticality.AGNOSTIC, check
    )


def _is_for_clients(certificate: x509.Certificate) -> bool:
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return bool(_FOR_CLIENTS & set(usage))


def chain_of(connection: ssl.SSLObject) -> list[bytes]:
    """The certificates the client sent, its own first, unverified; empty when it sent none."""
    own = connection.getpeercert(binary_form=True)
    if not own:
        return []
    ask: Any = getattr(connection, "get_unverified_chain", None)
    if ask is None:  # before Python 3.13
        ask = connection._sslobj.get_unverified_chain  # type: ignore[attr-defined]
    encoding = _ssl.ENCODING_DER
    found = [c if isinstance(c, bytes) else c.public_bytes(encoding) for c in ask() or ()]
    return [own, *(c for c in found if c != own)]


# -- the handshake -----------------------------------------------------------------------

_Verify = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)


# Kept here for as long as OpenSSL may call it: always.
_go_on = _Verify(lambda _context, _argument: 1)


def accept_any_client(context: ssl.SSLContext) -> bool:
    """Let handshakes of ``context`` succeed whatever the client's certificate is worth.

    The ssl module has no way to ask for a certificate without judging it, OpenSSL has one. False
    where its library cannot be reached (then handshakes go on judging). Whoever calls this must
    judge the certificates: see :class:`ClientTrust`.
    """
    if platform.python_implementation() != "CPython" or not hasattr(_ssl, "__file__"):
        return False
    try:
        library: Any = ctypes.CDLL(_ssl.__file__)
        get_mode, set_verify = (
            library.SSL_CTX_get_verify_mode,
            library.SSL_CTX_set_cert_verify_callback,
        )
        get_options = library.SSL_CTX_get_options
    except (OSError, AttributeError):
        return False
    get_mode.argtypes = get_options.argtypes = (ctypes.c_void_p,)
    get_options.restype = ctypes.c_uint64
    set_verify.argtypes, set_verify.restype = (ctypes.c_void_p, _Verify, ctypes.c_void_p), None
    # The object's first field behind its head, since Python 3.2.
    native = ctypes.c_void_p.from_address(id(context) + object.__basicsize__)
    if get_mode(native) != context.verify_mode or get_options(native) & 0xFFFFFFFF != (
        context.options & 0xFFFFFFFF
    ):
        return False
    set_verify(native, _go_on, None)
    return True
