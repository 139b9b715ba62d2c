"""Service-account tokens: what they claim, how they are issued, when they still hold.

Between :mod:`token_keys` (signatures) and the read cache (do the account, the pod, the node and
the secret a token is bound to still exist). Claims are upstream's, so that any Kubernetes library
reads them: https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/
"""

from __future__ import annotations

import base64
import hmac
import secrets
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from kutter.apiserver.authn.identity import GROUP_AUTHENTICATED, User
from kutter.apiserver.authn.token_keys import (
    Claims,
    InvalidTokenError,
    TokenKeys,
    looks_like_jwt,
    unverified_issuer,
)
from kutter.apiserver.ports import Reader, Tree
from kutter.base.clock import Clock, parse_time

LEGACY_ISSUER = "kubernetes/serviceaccount"
ALL_ACCOUNTS = "system:serviceaccounts"
USER_PREFIX = "system:serviceaccount:"
DEFAULT_LIFETIME_S = 3600
# What kubelets ask for on behalf of pods that never asked: such tokens live longer than told, as
# clients of old do not reload them; ``warnafter`` says when they should have.
WARN_AFTER_S = 3607
EXTENDED_LIFETIME_S = 365 * 24 * 3600
# An object on its way out still counts for this long.
_DELETED_LEEWAY = timedelta(seconds=60)
_EXTRA = "authentication.kubernetes.io/"


class Binding(msgspec.Struct, frozen=True):
    """The object a token lives and dies with. ``resource`` is pods, secrets or nodes."""

    resource: str
    name: str
    uid: str
    node_name: str = ""
    node_uid: str = ""


class Verified(msgspec.Struct, frozen=True):
    """A token that holds: whose it is, for whom, until when, and what it depends on.

    ``holds`` says whether this may be used again without verifying; None: it may not.
    """

    user: User
    audiences: tuple[str, ...]
    expires: datetime | None
    depends_on: tuple[tuple[str, str, str], ...]
    holds: Callable[[], bool] | None = None


def split_username(name: str) -> tuple[str, str] | None:
    """Namespace and name of the account behind a user name."""
    if not name.startswith(USER_PREFIX):
        return None
    namespace, _, account = name[len(USER_PREFIX) :].partition(":")
    return (namespace, account) if namespace and account else None


def account_user(
    namespace: str, name: str, uid: str, extra: Mapping[str, tuple[str, ...]] | None = None
) -> User:
    """The user a service account acts as."""
    groups = (ALL_ACCOUNTS, f"{ALL_ACCOUNTS}:{namespace}", GROUP_AUTHENTICATED)
    return User(f"{USER_PREFIX}{namespace}:{name}", uid, groups, extra or {})


class TokenIssuer:
    """Makes bound tokens of one issuer."""

    def __init__(
        self,
        keys: TokenKeys,
        issuer: str,
        *,
        clock: Clock,
        new_id: Callable[[], str] | None = None,
    ) -> None:
        self._keys = keys
        self.issuer = issuer
        self._clock = clock
        self._new_id = new_id or _random_id

    def issue(
        self,
        account: Tree,
        *,
        audiences: Sequence[str],
        lifetime_s: int,
        binding: Binding | None = None,
        warn_after_s: int = 0,
    ) -> str:
        """A token for ``account`` (a ServiceAccount)."""
        now = int(self._clock.now().timestamp())
        metadata = account["metadata"]
        private: dict[str, Any] = {
            "namespace": metadata["namespace"],
            "serviceaccount": {"name": metadata["name"], "uid": metadata["uid"]},
        }
        if binding is not None:
            private[binding.resource.removesuffix("s")] = {
                "name": binding.name,
                "uid": binding.uid,
            }
            if binding.node_name:
                node = {"name": binding.node_name}
                private["node"] = {**node, "uid": binding.node_uid} if binding.node_uid else node
        if warn_after_s:
            private["warnafter"] = now + warn_after_s
        claims: Claims = {
            "aud": list(audiences),
            "exp": now + lifetime_s,
            "iat": now,
            "iss": self.issuer,
            "jti": self._new_id(),
            "kubernetes.io": private,
            "nbf": now,
            "sub": f"{USER_PREFIX}{metadata['namespace']}:{metadata['name']}",
        }
        return self._keys.sign(claims)

    def issue_for_secret(self, namespace: str, account: str, uid: str, secret: str) -> str:
        """A token without an end, that holds for as long as its secret and its account do."""
        prefix = "kubernetes.io/serviceaccount/"
        return self._keys.sign(
            {
                "iss": LEGACY_ISSUER,
                f"{prefix}namespace": namespace,
                f"{prefix}secret.name": secret,
                f"{prefix}service-account.name": account,
                f"{prefix}service-account.uid": uid,
                "sub": f"{USER_PREFIX}{namespace}:{account}",
            }
        )


def _random_id() -> str:
    return str(uuid.UUID(bytes=secrets.token_bytes(16), version=4))


class TokenVerifier:
    """Checks tokens of ``issuers`` against the keys and against what exists now."""

    def __init__(
        self,
        keys: TokenKeys,
        issuers: Sequence[str],
        *,
        reader: Reader,
        clock: Clock,
        default_audiences: Sequence[str],
    ) -> None:
        self._keys = keys
        self._issuers = frozenset(issuers)
        self._reader = reader
        self._clock = clock
        self._default_audiences = tuple(default_audiences)

    def verify(self, token: str, audiences: Sequence[str] = ()) -> Verified | None:
        """Who the token stands for; None when it is not one of ours.

        ``audiences`` (default: the API server's) must share one with the token. Raises
        InvalidTokenError for a token of ours that does not hold.
        """
        if not looks_like_jwt(token):
            return None
        issuer = unverified_issuer(token)
        if issuer == LEGACY_ISSUER:
            return self._verify_legacy(token, self._keys.verify(token), audiences)
        if issuer not in self._issuers:
            return None
        return self._verify_bound(self._keys.verify(token), audiences)

    # -- bound tokens -------------------------------------------------------------

    def _verify_bound(self, claims: Claims, audiences: Sequence[str]) -> Verified:
        expires = _check_times(claims, self._clock.now())
        shared = self._shared_audiences(claims.get("aud"), audiences)
        private = claims.get("kubernetes.io")
        if not isinstance(private, dict):
            raise InvalidTokenError("claims of a service account are missing")
        namespace = _text(private.get("namespace"))
        name, uid = _name_and_uid(private.get("serviceaccount"))
        if claims.get("sub") != f"{USER_PREFIX}{namespace}:{name}":
            raise InvalidTokenError("subject and account differ")
        depends: list[tuple[str, str, str]] = []
        self._check("serviceaccounts", namespace, (name, uid), depends)
        extra: dict[str, tuple[str, ...]] = {}
        if secret := private.get("secret"):
            self._check("secrets", namespace, _name_and_uid(secret), depends)
        node = private.get("node")
        if pod := private.get("pod"):
            pod_name, pod_uid = _name_and_uid(pod)
            self._check("pods", namespace, (pod_name, pod_uid), depends)
            extra[f"{_EXTRA}pod-name"] = (pod_name,)
            extra[f"{_EXTRA}pod-uid"] = (pod_uid,)
        elif node:
            self._check("nodes", "", _name_and_uid(node), depends)
        if isinstance(node, dict):
            extra[f"{_EXTRA}node-name"] = (_text(node.get("name")),)
            if node.get("uid"):
                extra[f"{_EXTRA}node-uid"] = (_text(node.get("uid")),)
        if claims.get("jti"):
            extra[f"{_EXTRA}credential-id"] = (f"JTI={_text(claims['jti'])}",)
        user = account_user(namespace, name, uid, extra)
        return Verified(user, shared, expires, tuple(depends))

    def _shared_audiences(self, claimed: Any, wanted: Sequence[str]) -> tuple[str, ...]:
        held = [claimed] if isinstance(claimed, str) else list(claimed or ())
        shared = tuple(a for a in (wanted or self._default_audiences) if a in held)
        if not shared:
            raise InvalidTokenError("token is for other audiences")
        return shared

    def _check(
        self,
        resource: str,
        namespace: str,
        reference: tuple[str, str],
        depends: list[tuple[str, str, str]],
    ) -> None:
        name, uid = reference
        now = self._clock.now()
        tree = self._reader.get(resource, namespace, name)
        if tree is None:
            raise InvalidTokenError(f"{resource} {namespace}/{name} is gone")
        metadata = tree["metadata"]
        if not hmac.compare_digest(str(metadata.get("uid", "")).encode(), uid.encode()):
            raise InvalidTokenError(f"{resource} {namespace}/{name} is another one now")
        deleted = metadata.get("deletionTimestamp")
        if deleted and parse_time(deleted) < now - _DELETED_LEEWAY:
            raise InvalidTokenError(f"{resource} {namespace}/{name} is deleted")
        depends.append((resource, namespace, name))

    # -- tokens of secrets ----------------------------------------------------------

    def _verify_legacy(self, token: str, claims: Claims, audiences: Sequence[str]) -> Verified:
        prefix = "kubernetes.io/serviceaccount/"
        namespace = _text(claims.get(f"{prefix}namespace"))
        name = _text(claims.get(f"{prefix}service-account.name"))
        uid = _text(claims.get(f"{prefix}service-account.uid"))
        secret_name = _text(claims.get(f"{prefix}secret.name"))
        if claims.get("sub") != f"{USER_PREFIX}{namespace}:{name}":
            raise InvalidTokenError("subject and account differ")
        depends: list[tuple[str, str, str]] = []
        self._check("serviceaccounts", namespace, (name, uid), depends)
        secret = self._reader.get("secrets", namespace, secret_name)
        if secret is None or secret["metadata"].get("deletionTimestamp"):
            raise InvalidTokenError("the token's secret is gone")
        if not _is_token_of(secret, name, uid, token):
            raise InvalidTokenError("the token is not the one of its secret")
        depends.append(("secrets", namespace, secret_name))
        shared = tuple(
            a for a in (audiences or self._default_audiences) if a in self._default_audiences
        )
        if not shared:
            raise InvalidTokenError("token is for other audiences")
        return Verified(account_user(namespace, name, uid), shared, None, tuple(depends))


def _is_token_of(secret: Tree, account: str, account_uid: str, token: str) -> bool:
    annotations = secret["metadata"].get("annotations") or {}
    held = base64.b64decode((secret.get("data") or {}).get("token", ""))
    return (
        secret.get("type") == "kubernetes.io/service-account-token"
        and annotations.get("kubernetes.io/service-account.name") == account
        and annotations.get("kubernetes.io/service-account.uid", account_uid) == account_uid
        and hmac.compare_digest(held, token.encode())
    )


def _check_times(claims: Claims, now: datetime) -> datetime:
    stamp = now.timestamp()
    expires, begins = claims.get("exp"), claims.get("nbf", 0)
    if not isinstance(expires, int | float) or not isinstance(begins, int | float):
        raise InvalidTokenError("token has no life time")
    if stamp >= expires:
        raise InvalidTokenError("token is expired")
    if stamp < begins - 60:
        raise InvalidTokenError("token is not valid yet")
    return now + timedelta(seconds=expires - stamp)


def _name_and_uid(reference: Any) -> tuple[str, str]:
    if not isinstance(reference, dict):
        raise InvalidTokenError("claims are malformed")
    return _text(reference.get("name")), _text(reference.get("uid"))


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidTokenError("claims are malformed")
    return value
