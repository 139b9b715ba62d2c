"""Callers named by a proxy in front of this server, in headers.

Between a connection with a certificate of the front-proxy authority and the pipeline. Laws: the
headers are read only there, and only for certificates with an allowed name; they leave the request
in any case.
https://kubernetes.io/docs/reference/access-authn-authz/authentication/#authenticating-proxy
"""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import unquote

from cryptography import x509
from cryptography.x509.oid import NameOID

from kutter.apiserver.authn.identity import User
from kutter.http.heads import header_text
from kutter.http.messages import Request

ALLOWED_NAMES = ("front-proxy-client",)
USER_HEADERS, GROUP_HEADERS = ("x-remote-user",), ("x-remote-group",)
UID_HEADERS, EXTRA_PREFIXES = ("x-remote-uid",), ("x-remote-extra-",)
_PREFIX = "x-remote-"
_NAMES_MAX = 64


class RequestHeaderAuthenticator:
    """``names`` are common names of certificates that may speak for others; none: all may."""

    def __init__(self, names: Collection[str] = ALLOWED_NAMES) -> None:
        self._names = frozenset(names)
        self._known: dict[bytes, str] = {}

    def authenticate(self, request: Request, der: bytes) -> User | None:
        """The caller a proxy names; None when it names nobody or may not."""
        pairs = request.header_list or list(request.headers.items())
        found = [(name.lower(), header_text(value)) for name, value in pairs if _is_ours(name)]
        if not found or (self._names and self._name_of(der) not in self._names):
            return None
        request.headers = {k: v for k, v in request.headers.items() if not _is_ours(k)}
        request.header_list = [pair for pair in request.header_list if not _is_ours(pair[0])]
        name = next((v for k, v in found if k in USER_HEADERS and v), "")
        if not name:
            return None
        extra: dict[str, tuple[str, ...]] = {}
        for header, value in found:
            for prefix in EXTRA_PREFIXES:
                if header.startswith(prefix):
                    key = unquote(header.removeprefix(prefix)).lower()
                    extra[key] = (*extra.get(key, ()), value)
        return User(
            name,
            uid=next((v for k, v in found if k in UID_HEADERS and v), ""),
            groups=tuple(v for k, v in found if k in GROUP_HEADERS and v),
            extra=extra,
        )

    def _name_of(self, der: bytes) -> str:
        name = self._known.get(der)
        if name is None:
            if len(self._known) >= _NAMES_MAX:
                self._known.clear()
            subject = x509.load_der_x509_certificate(der).subject
            names = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
            name = self._known[der] = str(names[0].value) if names else ""
        return name


def _is_ours(name: str) -> bool:
    return name.lower().startswith(_PREFIX)
