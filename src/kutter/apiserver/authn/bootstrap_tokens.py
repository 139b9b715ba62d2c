"""Bootstrap tokens: ``abcdef.0123456789abcdef``, kept in secrets of kube-system.

Between the bearer header and the read cache. A token lasts as long as its secret, its expiration
and its ``usage-bootstrap-authentication`` say; what it may do is a matter of its groups.
https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Sequence

from kutter.apiserver.authn.identity import User
from kutter.apiserver.authn.service_accounts import Verified
from kutter.apiserver.authn.token_keys import InvalidTokenError
from kutter.apiserver.ports import Reader, Tree
from kutter.base.clock import Clock, parse_time

SECRET_TYPE = "bootstrap.kubernetes.io/token"  # noqa: S105  (a type)
NAMESPACE = "kube-system"
_SECRET_PREFIX = "bootstrap-token-"  # noqa: S105  (of names)
_USER_PREFIX = "system:bootstrap:"
_GROUP = "system:bootstrappers"
_TOKEN = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})")
_EXTRA_GROUP = re.compile(r"system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]")


class BootstrapTokens:
    """A kind of bearer token."""

    def __init__(self, reader: Reader, *, audiences: Sequence[str], clock: Clock) -> None:
        self._reader = reader
        self._audiences = tuple(audiences)
        self._clock = clock

    def verify(self, token: str, audiences: Sequence[str] = ()) -> Verified | None:
        """None for a token of another form. Raises InvalidTokenError."""
        found = _TOKEN.fullmatch(token)
        if found is None:
            return None
        token_id, token_secret = found.groups()
        name = _SECRET_PREFIX + token_id
        secret = self._reader.get("secrets", NAMESPACE, name)
        problem, groups = self._judge(secret, token_id, token_secret)
        if problem:
            raise InvalidTokenError(f"bootstrap token {token_id}: {problem}")
        shared = tuple(a for a in (audiences or self._audiences) if a in self._audiences)
        if not shared:
            raise InvalidTokenError("token is for other audiences")
        user = User(_USER_PREFIX + token_id, groups=groups)
        return Verified(user, shared, None, (("secrets", NAMESPACE, name),))

    def _judge(
        self, secret: Tree | None, token_id: str, token_secret: str
    ) -> tuple[str, tuple[str, ...]]:
        """What is wrong (empty: nothing), and the groups."""
        if secret is None or secret["metadata"].get("deletionTimestamp"):
            return "there is none", ()
        if secret.get("type") != SECRET_TYPE:
            return "its secret has another type", ()
        if not hmac.compare_digest(text_of(secret, "token-secret").encode(), token_secret.encode()):
            return "it is another one", ()
        if text_of(secret, "token-id") != token_id:
            return "its secret names another id", ()
        if is_expired(secret, self._clock):
            return "it is expired", ()
        if text_of(secret, "usage-bootstrap-authentication") != "true":
            return "it is not for authentication", ()
        extra = text_of(secret, "auth-extra-groups")
        groups = sorted({_GROUP, *(extra.split(",") if extra else ())})
        if not all(g == _GROUP or _EXTRA_GROUP.fullmatch(g) for g in groups):
            return "its extra groups are not of system:bootstrappers", ()
        return "", tuple(groups)


def text_of(secret: Tree, key: str) -> str:
    """A value of the secret's data; empty where there is none."""
    try:
        return base64.b64decode((secret.get("data") or {}).get(key) or "").decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


def is_expired(secret: Tree, clock: Clock) -> bool:
    """A date nobody can read has passed."""
    expiration = text_of(secret, "expiration")
    if not expiration:
        return False
    try:
        return parse_time(expiration) <= clock.now()
    except ValueError:
        return True
