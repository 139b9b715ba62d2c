"""How this server speaks for its callers to other API servers.

Between the pipeline's :class:`User` and the headers that an aggregated server believes, because
they come over a connection with the front-proxy certificate. Headers of this kind that a caller
sends are never passed on.
https://kubernetes.io/docs/tasks/extend-kubernetes/configure-aggregation-layer/
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from urllib.parse import quote

from kutter.apiserver.authn.identity import GROUP_MASTERS, User
from kutter.http.tls import client_context

USER_HEADER, UID_HEADER = "X-Remote-User", "X-Remote-Uid"
GROUP_HEADER, EXTRA_PREFIX = "X-Remote-Group", "X-Remote-Extra-"
_PREFIX = "x-remote-"
# What the server asks for itself, it asks as this; nothing is refused to it.
AGGREGATOR = User("system:kube-aggregator", groups=(GROUP_MASTERS,))

Pairs = list[tuple[str, str]]


class FrontProxy:
    """The front-proxy certificate; renewed files count from the next connection on."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._certificate = certificate
        self._key = key

    def stamp(self) -> tuple[int, int]:
        """Changes when the files do. Raises OSError."""
        return (os.stat(self._certificate).st_mtime_ns, os.stat(self._key).st_mtime_ns)

    def context(self, *, ca_pem: bytes, insecure: bool) -> ssl.SSLContext:
        """TLS with this certificate towards a server of ``ca_pem``. Raises OSError."""
        return client_context(
            ca_data=ca_pem, insecure=insecure, cert_file=self._certificate, key_file=self._key
        )


def identity_headers(user: User) -> Pairs:
    """Headers that say who asks."""
    pairs = [(USER_HEADER, _bytes(user.name))]
    if user.uid:
        pairs.append((UID_HEADER, _bytes(user.uid)))
    pairs += [(GROUP_HEADER, _bytes(group)) for group in user.groups]
    for key, values in user.extra.items():
        # A key is part of a header's name, which has a small alphabet.
        name = EXTRA_PREFIX + quote(key.lower(), safe="!#$&'*+-.^_`|~")
        pairs += [(name, _bytes(value)) for value in values]
    return pairs


def _bytes(text: str) -> str:
    """Header text is written byte by byte: UTF-8 stays what it is."""
    return text.encode().decode("latin-1")


def without_identity(pairs: Pairs) -> Pairs:
    """Headers without what a caller may have said about who asks."""
    return [
        pair
        for pair in pairs
        if not pair[0].lower().startswith(_PREFIX) and pair[0].lower() != "authorization"
    ]
