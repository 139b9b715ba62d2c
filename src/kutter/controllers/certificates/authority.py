"""The cluster's authority as a signer: from a request to a certificate.

What a certificate says is the request's; how long it holds and what it is for is the signer's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

LIFETIME = timedelta(days=365)
_SHORTEST = timedelta(minutes=10)
_BACKDATED = timedelta(minutes=5)
# Certificates this short are not shortened further by what they are backdated.
_SHORT = timedelta(hours=8)

_EXTENDED = {
    "any": ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
    "server auth": ExtendedKeyUsageOID.SERVER_AUTH,
    "client auth": ExtendedKeyUsageOID.CLIENT_AUTH,
    "code signing": ExtendedKeyUsageOID.CODE_SIGNING,
    "email protection": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "s/mime": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "ipsec end system": x509.ObjectIdentifier("1.3.6.1.5.5.7.3.5"),
    "ipsec tunnel": x509.ObjectIdentifier("1.3.6.1.5.5.7.3.6"),
    "ipsec user": x509.ObjectIdentifier("1.3.6.1.5.5.7.3.7"),
    "timestamping": ExtendedKeyUsageOID.TIME_STAMPING,
    "ocsp signing": ExtendedKeyUsageOID.OCSP_SIGNING,
    "microsoft sgc": x509.ObjectIdentifier("1.3.6.1.4.1.311.10.3.3"),
    "netscape sgc": x509.ObjectIdentifier("2.16.840.1.113730.4.1"),
}
_BITS = {
    "signing": "digital_signature",
    "digital signature": "digital_signature",
    "content commitment": "content_commitment",
    "key encipherment": "key_encipherment",
    "key agreement": "key_agreement",
    "data encipherment": "data_encipherment",
    "cert sign": "key_cert_sign",
    "crl sign": "crl_sign",
    "encipher only": "encipher_only",
    "decipher only": "decipher_only",
}


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority and its key, PEM. Raises ValueError for what is none."""

    certificate_pem: bytes
    key_pem: bytes = field(repr=False)
    lifetime: timedelta = LIFETIME

    def sign(
        self,
        request: x509.CertificateSigningRequest,
        usages: Sequence[str],
        expiration_s: int | None,
        now: datetime,
    ) -> bytes:
        """A certificate (PEM). Raises ValueError for a request that is not its key's."""
        if not request.is_signature_valid:
            raise ValueError("unable to verify certificate request signature")
        own = x509.load_pem_x509_certificate(self.certificate_pem)
        key = serialization.load_pem_private_key(self.key_pem, password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
            raise ValueError("the authority's key can sign no certificates")  # noqa: TRY004
        begin, end = self._span(expiration_s, now)
        builder = (
            x509.CertificateBuilder()
            .subject_name(request.subject)
            .issuer_name(own.subject)
            .public_key(request.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(min(end, own.not_valid_after_utc))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()),
                critical=False,
            )
        )
        for extension, critical in _extensions(request, usages):
            builder = builder.add_extension(extension, critical=critical)
        certificate = builder.sign(key, hashes.SHA256())
        return certificate.public_bytes(serialization.Encoding.PEM)

    def _span(self, expiration_s: int | None, now: datetime) -> tuple[datetime, datetime]:
        lifetime = self.lifetime
        if expiration_s is not None:
            lifetime = min(max(timedelta(seconds=expiration_s), _SHORTEST), self.lifetime)
        end = now + lifetime
        return now - _BACKDATED, end if lifetime < _SHORT else end - _BACKDATED


def _extensions(
    request: x509.CertificateSigningRequest, usages: Sequence[str]
) -> list[tuple[x509.ExtensionType, bool]]:
    found: list[tuple[x509.ExtensionType, bool]] = []
    bits = {_BITS[usage] for usage in usages if usage in _BITS}
    if bits:
        if "key_agreement" not in bits:
            bits -= {"encipher_only", "decipher_only"}
        flags = {name: name in bits for name in set(_BITS.values())}
        found.append((x509.KeyUsage(**flags), True))
    purposes = list(dict.fromkeys(_EXTENDED[u] for u in usages if u in _EXTENDED))
    if purposes:
        found.append((x509.ExtendedKeyUsage(purposes), False))
    try:
        names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return found
    return [*found, (names.value, names.critical)]
