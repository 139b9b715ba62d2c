"""Ciphers: what is sealed opens, and nothing else does."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from kutter.apiserver.encryption.providers import (
    AesCbc,
    AesGcm,
    Codec,
    DecryptionError,
    Identity,
    SecretBox,
    Transformer,
)

KEY, OTHER = b"k" * 32, b"o" * 32
PLACE = "/registry/secrets/default/one"
CIPHERS = [AesGcm, AesCbc, SecretBox]


@pytest.mark.parametrize("cipher", CIPHERS)
@settings(deadline=None)
@given(plain=st.binary(max_size=300))
def test_what_was_sealed_opens_and_hides_what_it_is(cipher: type[AesGcm], plain: bytes) -> None:
    transformer = Transformer([cipher("key1", KEY)])
    stored = transformer.seal(plain, PLACE)
    prefix = b"k8s:enc:%s:v1:key1:" % cipher.__name__.lower().encode()
    assert stored.startswith(prefix)
    # The prefix says how it is sealed: hidden is what comes after it.
    assert len(plain) < 8 or plain not in stored.removeprefix(prefix)
    assert transformer.open(stored, PLACE) == plain
    assert transformer.seal(plain, PLACE) != stored


@pytest.mark.parametrize("cipher", [AesGcm, SecretBox])
@settings(deadline=None)
@given(plain=st.binary(min_size=1, max_size=64), at=st.integers(min_value=0), bit=st.integers(0, 7))
def test_a_flipped_bit_is_noticed(cipher: type[AesGcm], plain: bytes, at: int, bit: int) -> None:
    transformer = Transformer([cipher("key1", KEY)])
    stored = bytearray(transformer.seal(plain, PLACE))
    head = len(cipher("key1", KEY).prefix)
    stored[head + at % (len(stored) - head)] ^= 1 << bit
    with pytest.raises(DecryptionError):
        transformer.open(bytes(stored), PLACE)


@settings(deadline=None)
@given(garbage=st.binary(max_size=100))
@pytest.mark.parametrize("cipher", CIPHERS)
def test_garbage_is_refused_or_opened_never_worse(cipher: type[AesGcm], garbage: bytes) -> None:
    codec = cipher("key1", KEY)
    try:
        Transformer([codec]).open(codec.prefix + garbage, PLACE)
    except DecryptionError:
        return
    assert cipher is AesCbc  # not authenticated


def test_aesgcm_is_bound_to_the_place_it_was_written_to() -> None:
    transformer = Transformer([AesGcm("key1", KEY)])
    stored = transformer.seal(b"value", PLACE)
    with pytest.raises(DecryptionError, match="another place"):
        transformer.open(stored, "/registry/secrets/default/two")


def test_aesgcm_is_upstreams_wire_format() -> None:
    stored = Transformer([AesGcm("key1", KEY)]).seal(b"value", PLACE)
    body = stored.removeprefix(b"k8s:enc:aesgcm:v1:key1:")
    assert AESGCM(KEY).decrypt(body[:12], body[12:], PLACE.encode()) == b"value"


@pytest.mark.parametrize("cipher", [AesGcm, SecretBox])
def test_the_first_key_writes_and_all_read(cipher: type[AesGcm]) -> None:
    old = Transformer([cipher("key1", KEY), Identity()])
    new = Transformer([cipher("key2", OTHER), cipher("key1", KEY), Identity()])
    stored = old.seal(b"value", PLACE)
    assert new.open(stored, PLACE) == b"value"
    assert new.open(b"plain", PLACE) == b"plain"
    assert (old.is_stale(stored), new.is_stale(stored), new.is_stale(b"plain")) == (
        False,
        True,
        True,
    )
    renewed = new.seal(b"value", PLACE)
    assert not new.is_stale(renewed)
    with pytest.raises(DecryptionError):
        old.open(renewed, PLACE)


def test_a_key_of_the_same_name_and_other_bytes_opens_nothing() -> None:
    stored = Transformer([AesGcm("key1", KEY)]).seal(b"value", PLACE)
    codecs: list[Codec] = [AesGcm("key1", OTHER), Identity()]
    with pytest.raises(DecryptionError):
        Transformer(codecs).open(stored, PLACE)


def test_plain_text_is_stale_only_where_something_encrypts() -> None:
    backwards = Transformer([Identity(), AesGcm("key1", KEY)])
    stored = Transformer([AesGcm("key1", KEY)]).seal(b"value", PLACE)
    assert backwards.is_stale(stored)
    assert backwards.open(stored, PLACE) == b"value"
    assert backwards.seal(b"value", PLACE) == b"value"
    assert not backwards.is_stale(b"value")
    with pytest.raises(DecryptionError):
        Transformer([AesGcm("key1", KEY)]).open(b"value", PLACE)
