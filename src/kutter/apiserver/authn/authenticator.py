"""Who calls: a proxy's word, client certificate, bearer token, or nobody where nobody may look.

Between the HTTP request and everything that trusts a :class:`User`. Laws:

* Credentials that do not hold are 401 everywhere, also where none are needed.
* The caller's token leaves the request here, so that nothing behind can pass it on.
* Each kind of token is one entry of ``tokens``; those that ask somebody else (OpenID Connect,
  webhooks) come after them, in ``remote``.
* Who may come without credentials is :class:`Anonymous`' to say.

https://kubernetes.io/docs/reference/access-authn-authz/authentication/
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import msgspec

from kutter.api.errors import unauthorized
from kutter.apiserver.authn.client_certificates import CertificateAuthenticator
from kutter.apiserver.authn.identity import ANONYMOUS, User, with_authenticated
from kutter.apiserver.authn.request_header import RequestHeaderAuthenticator
from kutter.apiserver.authn.service_accounts import Verified
from kutter.apiserver.authn.token_keys import InvalidTokenError
from kutter.base.log import get_logger
from kutter.http.messages import Request

ANONYMOUS_PATHS = frozenset({"/livez", "/readyz", "/healthz", "/version"})
_WEBSOCKET_PROTOCOLS = "sec-websocket-protocol"
_WEBSOCKET_BEARER = "base64url.bearer.authorization.k8s.io."

_log = get_logger("authn")


class TokenAuthenticator(Protocol):
    """One kind of bearer token."""

    def verify(self, token: str, audiences: Sequence[str] = ()) -> Verified | None:
        """None for a token of another kind. Raises InvalidTokenError."""
        ...


class RemoteAuthenticator(Protocol):
    """A kind of bearer token that takes asking somebody."""

    async def verify(self, token: str, audiences: Sequence[str] = ()) -> Verified | None:
        """As :meth:`TokenAuthenticator.verify`."""
        ...


class Anonymous(msgspec.Struct, frozen=True):
    """Where requests without credentials pass as ``system:anonymous``; ``paths`` None: anywhere."""

    enabled: bool = True
    paths: frozenset[str] | None = ANONYMOUS_PATHS

    def admits(self, path: str) -> bool:
        return self.enabled and (self.paths is None or path in self.paths)


class _Known(NamedTuple):
    """Whose a connection's header block is, for as long as its token ``holds``; and its headers
    without the token.
    """

    user: User
    holds: Callable[[], bool]
    header_list: list[tuple[str, str]]


class RequestAuthenticator:
    """The ``Authenticator`` of the API server. ``remote`` and ``anonymous`` may be replaced."""

    def __init__(
        self,
        *,
        certificates: CertificateAuthenticator,
        tokens: Sequence[TokenAuthenticator],
        proxies: RequestHeaderAuthenticator | None = None,
        remote: Sequence[RemoteAuthenticator] = (),
        anonymous: Anonymous | None = None,
    ) -> None:
        self._certificates = certificates
        self._tokens = tuple(tokens)
        self._proxies = proxies
        self.remote = tuple(remote)
        self.anonymous = anonymous or Anonymous()

    async def authenticate(self, request: Request) -> User | None:
        """The caller. Raises 401 Unauthorized."""
        remembered = request.remembered
        if remembered is not None:
            known: _Known | None = remembered.get(self)
            if known is not None:
                if known.holds():
                    del request.headers["authorization"]
                    request.header_list = known.header_list
                    return known.user
                del remembered[self]
        shown = "authorization" in request.headers
        token = take_bearer_token(request)
        peer = request.peer_certificate
        if peer is not None:
            user = None
            if peer.for_proxy and self._proxies is not None:
                user = self._proxies.authenticate(request, peer.der)
            if user is None and peer.for_client:
                user = self._certificates.authenticate(peer.der)
            if user is not None:
                return with_authenticated(user)
        if token is not None:
            verified = await self.authenticate_token(token)
            if verified is None:
                raise unauthorized()
            user = with_authenticated(verified.user)
            taken = shown and "authorization" not in request.headers
            if remembered is not None and taken and verified.holds is not None and peer is None:
                remembered[self] = _Known(user, verified.holds, request.header_list)
            return user
        if peer is not None or request.refused_certificate:
            # It named nobody, is out of date or of another authority.
            raise unauthorized()
        return ANONYMOUS if self.anonymous.admits(request.path) else None

    async def authenticate_token(
        self, token: str, audiences: Sequence[str] = ()
    ) -> Verified | None:
        """Whose token this is; None when it does not hold, for whatever reason."""
        for tokens in self._tokens:
            try:
                verified = tokens.verify(token, audiences)
            except InvalidTokenError as error:
                _log.info("token refused", reason=str(error))
                continue
            if verified is not None:
                return verified
        for remote in self.remote:
            try:
                verified = await remote.verify(token, audiences)
            except InvalidTokenError as error:
                _log.info("token refused", reason=str(error))
                continue
            if verified is not None:
                return verified
        return None


def take_bearer_token(request: Request) -> str | None:
    """Remove the caller's token from the request's headers and answer it; None without one."""
    header = request.headers.get("authorization")
    if header is not None:
        scheme, _, token = header.strip().partition(" ")
        if scheme.lower() == "bearer":
            del request.headers["authorization"]
            if request.header_list:
                request.header_list = [
                    pair for pair in request.header_list if pair[0].lower() != "authorization"
                ]
            token = token.strip()
            return token or None
    protocols = request.headers.get(_WEBSOCKET_PROTOCOLS)
    if protocols is not None and _WEBSOCKET_BEARER in protocols:
        return _take_websocket_token(request, protocols)
    return None


def _take_websocket_token(request: Request, protocols: str) -> str | None:
    """The token browsers send as a subprotocol, as they can set no headers."""
    offered = [p.strip() for p in protocols.split(",")]
    kept = [p for p in offered if not p.startswith(_WEBSOCKET_BEARER)]
    if not kept:  # the peer must be able to choose another protocol
        raise unauthorized()
    request.headers[_WEBSOCKET_PROTOCOLS] = ", ".join(kept)
    if request.header_list:
        rest = [pair for pair in request.header_list if pair[0].lower() != _WEBSOCKET_PROTOCOLS]
        request.header_list = [*rest, (_WEBSOCKET_PROTOCOLS, ", ".join(kept))]
    encoded = next(p for p in offered if p.startswith(_WEBSOCKET_BEARER))[len(_WEBSOCKET_BEARER) :]
    try:
        return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        raise unauthorized() from None
