"""Pod specifications that were found valid before are not looked at again.

Between a pod's validation and its validators. Most pods are made from a template, and most updates
leave the specification alone, so the same one is validated again and again: a fifth of what
creating a pod costs. Laws: only what was found to be without any error is remembered, by its whole
content; what is remembered is bounded. Validating is a pure function of the specification (and of
the pod's name where it names claims: such specifications are never remembered).
"""

from __future__ import annotations

from typing import Any

import orjson

from kutter.base.memo import exact

Tree = dict[str, Any]

LIMIT = 512
# Templates are small; what is big is rare and would only push others out.
SIZE_LIMIT_BYTES = 16 << 10
# Admission gives each pod's token volume a name of its own: the one thing in which the pods of a
# template differ. It stands for itself alone, so any other such name serves as well.
_TOKEN_VOLUME = b"kube-api-access-"
_ANY_TOKEN_VOLUME = b"kube-api-access-*"


class ValidSpecs:
    """What is valid, by its key. All are forgotten when there are too many."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._keys: set[bytes] = set()

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, key: bytes) -> bool:
        return key in self._keys

    def add(self, key: bytes) -> None:
        if len(self._keys) >= self._limit:
            self._keys.clear()
        self._keys.add(key)


class Recent:
    """The key of the specification that was validated last: for whoever looks at it next.

    It goes by identity, and says what the specification was when it was validated.
    """

    def __init__(self) -> None:
        self._spec: Tree | None = None
        self._key: bytes | None = None

    def keep(self, spec: Tree, key: bytes | None) -> None:
        self._spec, self._key = spec, key

    def key(self, spec: Tree) -> bytes | None:
        return self._key if spec is self._spec else None


def key_of(spec: Tree) -> bytes | None:
    """What a specification is remembered by; None if it is not."""
    try:
        encoded = exact(orjson.dumps(spec))
    except TypeError:
        return None
    if len(encoded) > SIZE_LIMIT_BYTES or b'"ephemeral"' in encoded:
        return None
    at = encoded.find(_TOKEN_VOLUME)
    if at < 0:
        return encoded
    name = encoded[at : at + len(_TOKEN_VOLUME) + 5]
    # A second such name could be a mount of a volume that is not there.
    if encoded.count(_TOKEN_VOLUME) != encoded.count(name + b'"') or not name.isascii():
        return None
    suffix = name[len(_TOKEN_VOLUME) :].decode()
    if not suffix.isalnum() or suffix != suffix.lower():
        return None
    return encoded.replace(name, _ANY_TOKEN_VOLUME)
