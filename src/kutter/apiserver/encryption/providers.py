"""The ciphers of upstream's providers, byte for byte, and a list of them as one transformer.

Between plain bytes and stored bytes. The store's key is authenticated along with the value where
the cipher can (aesgcm), so that a value moved to another key does not decrypt.
https://kubernetes.io/docs/tasks/administer-cluster/encrypt-data/
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.padding import PKCS7

from kutter.apiserver.configuration_file import ConfigurationError
from kutter.apiserver.encryption.configuration import Keys, Provider

ENCRYPTED = b"k8s:enc:"
_NONCE_BYTES = 12
_BLOCK_BYTES = 16
_BOX_NONCE_BYTES = 24


class DecryptionError(Exception):
    """A stored value that no key of the configuration opens; the message names no value."""


class Codec(Protocol):
    """One key of one provider. ``prefix`` marks what it wrote."""

    prefix: bytes

    def seal(self, plain: bytes, context: bytes) -> bytes:
        """Ciphertext without the prefix."""
        ...

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """Raises ValueError."""
        ...


class AesGcm:
    """Authenticated, also by the store's key. A random nonce of 96 bits for each write: rotate
    the key long before 2^32 writes.
    """

    def __init__(self, name: str, key: bytes) -> None:
        self.prefix = b"k8s:enc:aesgcm:v1:%s:" % name.encode()
        self._cipher = AESGCM(key)

    def seal(self, plain: bytes, context: bytes) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plain, context)

    def open(self, sealed: bytes, context: bytes) -> bytes:
        try:
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], context)
        except InvalidTag:
            raise ValueError("it is damaged, or of another place or key") from None


class AesCbc:
    """Not authenticated; kept for what upstream wrote with it."""

    def __init__(self, name: str, key: bytes) -> None:
        self.prefix = b"k8s:enc:aescbc:v1:%s:" % name.encode()
        self._key = key

    def seal(self, plain: bytes, context: bytes) -> bytes:
        vector = secrets.token_bytes(_BLOCK_BYTES)
        padder = PKCS7(_BLOCK_BYTES * 8).padder()
        encryptor = Cipher(algorithms.AES(self._key), modes.CBC(vector)).encryptor()
        padded = padder.update(plain) + padder.finalize()
        return vector + encryptor.update(padded) + encryptor.finalize()

    def open(self, sealed: bytes, context: bytes) -> bytes:
        vector, rest = sealed[:_BLOCK_BYTES], sealed[_BLOCK_BYTES:]
        decryptor = Cipher(algorithms.AES(self._key), modes.CBC(vector)).decryptor()
        padded = decryptor.update(rest) + decryptor.finalize()
        unpadder = PKCS7(_BLOCK_BYTES * 8).unpadder()
        return unpadder.update(padded) + unpadder.finalize()


class SecretBox:
    """XSalsa20 and Poly1305 by libsodium, from the package PyNaCl."""

    def __init__(self, name: str, key: bytes) -> None:
        try:
            from nacl.exceptions import CryptoError
            from nacl.secret import SecretBox as Box
        except ImportError:
            raise ConfigurationError(
                "the provider secretbox needs the package PyNaCl: pip install 'kutter[secretbox]'"
            ) from None
        self.prefix = b"k8s:enc:secretbox:v1:%s:" % name.encode()
        self._box: Any = Box(key)
        self._error: type[Exception] = CryptoError

    def seal(self, plain: bytes, context: bytes) -> bytes:
        return bytes(self._box.encrypt(plain, secrets.token_bytes(_BOX_NONCE_BYTES)))

    def open(self, sealed: bytes, context: bytes) -> bytes:
        try:
            return bytes(self._box.decrypt(sealed))
        except self._error:
            raise ValueError("it is damaged or of another key") from None


class Identity:
    """Plain text, and nothing that looks encrypted."""

    prefix = b""

    def seal(self, plain: bytes, context: bytes) -> bytes:
        return plain

    def open(self, sealed: bytes, context: bytes) -> bytes:
        if sealed.startswith(ENCRYPTED):
            raise ValueError("it is encrypted with a key that is not configured")
        return sealed


class Transformer:
    """All keys of one rule: the first writes, each reads what it wrote."""

    def __init__(self, codecs: Sequence[Codec]) -> None:
        self._codecs = tuple(codecs)
        self._writer = codecs[0]

    def seal(self, plain: bytes, key: str) -> bytes:
        return self._writer.prefix + self._writer.seal(plain, key.encode())

    def open(self, stored: bytes, key: str) -> bytes:
        """Raises DecryptionError."""
        problem = "no provider of the configuration wrote it"
        for codec in self._codecs:
            if stored.startswith(codec.prefix):
                try:
                    return codec.open(stored[len(codec.prefix) :], key.encode())
                except ValueError as error:
                    problem = str(error)
        raise DecryptionError(f"{key} cannot be decrypted: {problem}")

    def is_stale(self, stored: bytes) -> bool:
        """Whether another key than the writing one, or none, was used."""
        prefix = self._writer.prefix
        return not stored.startswith(prefix) if prefix else stored.startswith(ENCRYPTED)


_CIPHERS: dict[str, type[AesGcm | AesCbc | SecretBox]] = {
    "aesgcm": AesGcm,
    "aescbc": AesCbc,
    "secretbox": SecretBox,
}


def build_transformer(providers: Sequence[Provider]) -> Transformer:
    """Raises ConfigurationError where a provider's library is missing."""
    codecs: list[Codec] = []
    for provider in providers:
        if provider.identity is not None:
            codecs.append(Identity())
        for name, cipher in _CIPHERS.items():
            keys: Keys | None = getattr(provider, name)
            codecs += [cipher(key.name, key.bytes) for key in keys.keys] if keys else []
    return Transformer(codecs)
