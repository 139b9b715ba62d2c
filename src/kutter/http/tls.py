"""Between certificate files and :class:`ssl.SSLContext`, for both sides.

A server's certificate and client CA bundle are looked at again on each handshake (at most once
a second): renewed files take effect without a restart and with no work while idle. Session
tickets are off, so a changed CA bundle is never bypassed by a resumed session.

A client's certificate that does not hold does not fail the handshake: see
:mod:`kutter.http.client_trust`.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Sequence
from pathlib import Path

from kutter.base.clock import SYSTEM_CLOCK, Clock
from kutter.base.log import get_logger
from kutter.http.client_trust import ClientTrust, accept_any_client, chain_of
from kutter.http.messages import PeerCertificate

_log = get_logger("http.tls")
_CHECK_EVERY_S = 1.0


class ServerContext(ssl.SSLContext):
    """A server's context that knows who judges its clients' certificates."""

    #: None: the handshake does.
    trust: ClientTrust | None = None
    #: Whose certificates may speak for others.
    proxy_trust: ClientTrust | None = None


def read_peer(connection: ssl.SSLObject) -> tuple[PeerCertificate | None, str]:
    """The client's certificate if it holds; else why it does not (empty: it gave none)."""
    context = connection.context
    trust = context.trust if isinstance(context, ServerContext) else None
    if trust is None:
        der = connection.getpeercert(binary_form=True)
        return (PeerCertificate(der), "") if der else (None, "")
    chain = chain_of(connection)
    if not chain:
        return None, ""
    problem = trust.problem_of(chain)
    proxies = context.proxy_trust if isinstance(context, ServerContext) else None
    for_proxy = proxies is not None and not proxies.problem_of(chain)
    if problem and not for_proxy:
        return None, problem
    return PeerCertificate(chain[0], for_client=not problem, for_proxy=for_proxy), ""


class ServerTls:
    """A server's identity and whom it trusts; hand ``context`` to :func:`kutter.http.serve`.

    Client certificates are optional and verified when given, if ``client_ca_file`` is set; one
    that does not hold is told to the requests (``refused_certificate``). ``proxy_ca_file``: whose
    certificates are proxies' that may speak for others.
    Raises OSError or ValueError at construction if the files cannot be used.
    """

    def __init__(
        self,
        cert_file: Path,
        key_file: Path,
        *,
        client_ca_file: Path | None = None,
        proxy_ca_file: Path | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._cert_file = cert_file
        self._key_file = key_file
        self._client_ca_file = client_ca_file
        self._proxy_ca_file = proxy_ca_file
        self._clock = clock
        self._state = self._look()
        # Connections begin with the first context, and go on with the current one.
        self.context = self._current = self._build()
        self._checked = clock.monotonic()
        self.context.sni_callback = self._on_client_hello

    def reload(self) -> bool:
        """Read the files again if they changed; answers whether new ones are in use.

        Half-written or mismatched files keep the old identity until they are whole.
        """
        try:
            state = self._look()
            if state == self._state:
                return False
            self._current = self._build()
        except (OSError, ValueError) as error:
            _log.warning(
                "renewed certificate not usable yet", file=str(self._cert_file), error=repr(error)
            )
            return False
        self._state = state
        _log.info("certificate reloaded", file=str(self._cert_file))
        return True

    def _on_client_hello(self, connection: object, name: str | None, _: object) -> None:
        now = self._clock.monotonic()
        if now - self._checked >= _CHECK_EVERY_S:
            self._checked = now
            self.reload()
        connection.context = self._current  # type: ignore[attr-defined]

    def _look(self) -> list[tuple[int, int, int]]:
        files = [self._cert_file, self._key_file]
        files += [f for f in (self._client_ca_file, self._proxy_ca_file) if f is not None]
        stats = [os.stat(f) for f in files]
        return [(s.st_ino, s.st_mtime_ns, s.st_size) for s in stats]

    def _build(self) -> ServerContext:
        context = ServerContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
        context.num_tickets = 0
        context.set_alpn_protocols(["http/1.1"])
        context.load_cert_chain(self._cert_file, self._key_file)
        if self._client_ca_file is not None:
            context.load_verify_locations(self._client_ca_file)
            context.verify_mode = ssl.CERT_OPTIONAL
            trust = ClientTrust(self._client_ca_file.read_bytes(), clock=self._clock)
            if accept_any_client(context):
                context.trust = trust
                if self._proxy_ca_file is not None:
                    proxies = self._proxy_ca_file.read_bytes()
                    context.proxy_trust = ClientTrust(proxies, clock=self._clock)
        return context


def client_context(
    *,
    ca_file: Path | None = None,
    ca_data: bytes = b"",
    cert_file: Path | None = None,
    key_file: Path | None = None,
    cert_data: bytes = b"",
    key_data: bytes = b"",
    insecure: bool = False,
    alpn: Sequence[str] = ("http/1.1",),
) -> ssl.SSLContext:
    """A client's TLS: its own certificate and the CA it trusts (the system's when none given).

    ``*_data`` are PEM bytes and win over files. ``insecure`` checks nothing about the server.
    Raises OSError or ssl.SSLError for unusable files.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(list(alpn))
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif ca_data:
        # Bundles name authorities in comments, which may be of any script.
        bundle = ca_data.decode("ascii", "ignore")
        if not bundle:
            raise ssl.SSLError("no certificate in the bundle")
        context.load_verify_locations(cadata=bundle)
    elif ca_file is not None:
        context.load_verify_locations(ca_file)
    else:
        context.load_default_certs()
    if cert_data or key_data:
        _load_pem(context, cert_data, key_data, cert_file, key_file)
    elif cert_file is not None:
        context.load_cert_chain(cert_file, key_file)
    return context


def _load_pem(
    context: ssl.SSLContext,
    cert_data: bytes,
    key_data: bytes,
    cert_file: Path | None,
    key_file: Path | None,
) -> None:
    # OpenSSL's chain loader wants paths; a memory file keeps the key off every disk.
    cert = cert_data or (cert_file.read_bytes() if cert_file else b"")
    key = key_data or (key_file.read_bytes() if key_file else b"")
    pem = cert.rstrip() + b"\n" + key
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("client-identity", os.MFD_CLOEXEC)
        try:
            os.write(descriptor, pem)
            context.load_cert_chain(f"/proc/self/fd/{descriptor}")
        finally:
            os.close(descriptor)
        return
    import tempfile  # no Linux comes here

    with tempfile.NamedTemporaryFile() as file:
        file.write(pem)
        file.flush()
        context.load_cert_chain(file.name)
