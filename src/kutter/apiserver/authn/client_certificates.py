"""Client certificates: the common name is the user, the organizations are the groups.

Between the TLS layer, which verified the chain against the cluster's CA, and the pipeline. A
parsed certificate is remembered (bounded); its dates are checked on every request, because a
connection may outlive its certificate.
"""

from __future__ import annotations

import hashlib
from datetime import datetime

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kutter.apiserver.authn.identity import User, with_authenticated
from kutter.base.clock import Clock

_ENTRIES_MAX = 1024
_CREDENTIAL_ID = "authentication.kubernetes.io/credential-id"

_Entry = tuple[datetime, datetime, User | None]


class CertificateAuthenticator:
    """Users of verified client certificates."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._entries: dict[bytes, _Entry] = {}

    def authenticate(self, der: bytes) -> User | None:
        """The certificate's user; None for one that names nobody, is no client's or is out of
        date.
        """
        entry = self._entries.get(der)
        if entry is None:
            if len(self._entries) >= _ENTRIES_MAX:
                self._entries.clear()
            entry = self._entries[der] = _parse(der)
        begin, end, user = entry
        return user if user is not None and begin <= self._clock.now() <= end else None


def _parse(der: bytes) -> _Entry:
    certificate = x509.load_der_x509_certificate(der)
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    name = str(names[0].value) if names else ""
    if not name or not _is_for_clients(certificate):
        return (begin, end, None)
    groups = tuple(
        str(a.value) for a in certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    )
    credential = f"X509SHA256={hashlib.sha256(der).hexdigest()}"
    user = User(name, groups=groups, extra={_CREDENTIAL_ID: (credential,)})
    return (begin, end, with_authenticated(user))


def _is_for_clients(certificate: x509.Certificate) -> bool:
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return bool(
        {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE} & set(usage)
    )
