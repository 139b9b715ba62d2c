"""The keys of service-account tokens: signing, checking signatures, publishing them as JWKS.

Between PEM files and the claims of a token. Laws:

* A token is checked with the one algorithm its key stands for, whatever its header says: ``none``
  and an HMAC made with the public key never pass.
* Only the first key signs; further ones are accepted, so that keys can be rotated.
* Nothing here looks at a clock: what the claims say is for the caller to judge.

PyJWT is imported where it is first needed: it brings a web client along, and a start waits for
imports. Whoever starts a server reads it in once the server answers.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import Any

import orjson
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
Claims = dict[str, Any]

_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
# Larger than any honest token; checked before anything is decoded.
_TOKEN_MAX_BYTES = 16 * 1024


class InvalidTokenError(Exception):
    """The token does not hold. The text is for logs and TokenReview, never holds the token."""


class TokenKeys:
    """One signing key and the public keys that are accepted."""

    def __init__(self, private_pem: bytes, *, accepted_pems: Sequence[bytes] = ()) -> None:
        """Raises ValueError for what is no RSA or ECDSA key."""
        key = serialization.load_pem_private_key(private_pem, password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
            raise ValueError("service-account tokens need an RSA or ECDSA key")  # noqa: TRY004
        self._private = key
        publics = [key.public_key(), *(_load_public(pem) for pem in accepted_pems)]
        self._accepted: dict[str, tuple[PublicKey, str]] = {
            key_id(public): (public, _algorithm(public)) for public in publics
        }
        self._key_id = key_id(publics[0])
        self.algorithm = _algorithm(publics[0])

    def sign(self, claims: Claims) -> str:
        """A compact JWT with ``claims``."""
        import jwt

        return jwt.encode(
            claims, self._private, algorithm=self.algorithm, headers={"kid": self._key_id}
        )

    def verify(self, token: str) -> Claims:
        """The claims of a token whose signature holds. Raises InvalidTokenError."""
        import jwt

        if len(token) > _TOKEN_MAX_BYTES:
            raise InvalidTokenError("token is too long")
        try:
            wanted = jwt.get_unverified_header(token).get("kid")
        except jwt.PyJWTError as error:
            raise InvalidTokenError("not a JSON web token") from error
        if wanted in self._accepted:
            keys = [self._accepted[wanted]]
        elif wanted:
            raise InvalidTokenError("signed with an unknown key")
        else:
            keys = list(self._accepted.values())
        for key, algorithm in keys:
            try:
                return jwt.decode(token, key, algorithms=[algorithm], options=_SIGNATURE_ONLY)
            except jwt.PyJWTError:
                continue
        raise InvalidTokenError("signature does not hold")

    def jwks(self) -> bytes:
        """The body of ``/openid/v1/jwks``."""
        keys = [
            {"use": "sig", "kid": kid, "alg": algorithm, **_jwk(public)}
            for kid, (public, algorithm) in self._accepted.items()
        ]
        return orjson.dumps({"keys": keys})

    @property
    def algorithms(self) -> list[str]:
        """Of all accepted keys, sorted."""
        return sorted({algorithm for _, algorithm in self._accepted.values()})


_SIGNATURE_ONLY: Any = {
    "verify_signature": True,
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "verify_aud": False,
    "verify_iss": False,
    "verify_sub": False,
    "verify_jti": False,
}


def looks_like_jwt(token: str) -> bool:
    return token.count(".") == 2


def unverified_issuer(token: str) -> str:
    """The issuer a token claims, to find out whose it is; empty when it cannot be read."""
    try:
        payload = token.split(".")[1]
        claims = orjson.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (ValueError, IndexError):
        return ""
    issuer = claims.get("iss") if isinstance(claims, dict) else None
    return issuer if isinstance(issuer, str) else ""


def key_id(public: PublicKey) -> str:
    """The id of a key: the digest of its DER form."""
    der = public.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return _base64url(hashlib.sha256(der).digest())


def _load_public(pem: bytes) -> PublicKey:
    key = serialization.load_pem_public_key(pem)
    if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        raise ValueError("service-account tokens need an RSA or ECDSA key")  # noqa: TRY004
    return key


def _algorithm(public: PublicKey) -> str:
    if isinstance(public, rsa.RSAPublicKey):
        return "RS256"
    algorithm = _CURVES.get(public.curve.name)
    if algorithm is None:
        raise ValueError(f"no token algorithm for curve {public.curve.name}")
    return algorithm


def _jwk(public: PublicKey) -> dict[str, str]:
    if isinstance(public, rsa.RSAPublicKey):
        rsa_numbers = public.public_numbers()
        return {"kty": "RSA", "n": _number(rsa_numbers.n), "e": _number(rsa_numbers.e)}
    numbers = public.public_numbers()
    size = (public.curve.key_size + 7) // 8
    names = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
    return {
        "kty": "EC",
        "crv": names[public.curve.name],
        "x": _base64url(numbers.x.to_bytes(size, "big")),
        "y": _base64url(numbers.y.to_bytes(size, "big")),
    }


def _number(value: int) -> str:
    return _base64url(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
