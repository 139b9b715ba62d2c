"""Authorization towards registries: Basic and the token protocol.

https://distribution.github.io/distribution/spec/auth/token/. Laws: credentials go to the
registry they are for and to the token server it names, and to neither in the clear unless
the registry itself is configured so. Tokens are kept in memory only.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

from kutter.http.client import HttpClient
from kutter.runtime.cri import Auth, ImageAuthError, ImagePullError

_PARAMETER = re.compile(r'([a-zA-Z_]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))')
_ANSWER_MAX_BYTES = 1 << 20
_CLIENT_ID = "kutter"


def parse_challenge(header: str) -> tuple[str, dict[str, str]]:
    """(scheme in lower case, parameters) of the strongest challenge in ``WWW-Authenticate``."""
    found: dict[str, dict[str, str]] = {}
    for part in re.split(r"(?i)(?:^|,\s*)(?=(?:bearer|basic)\b)", header):
        scheme, _, rest = part.strip().partition(" ")
        if scheme.lower() in ("bearer", "basic"):
            found[scheme.lower()] = {
                name.lower(): quoted or plain for name, quoted, plain in _PARAMETER.findall(rest)
            }
    for scheme in ("bearer", "basic"):
        if scheme in found:
            return scheme, found[scheme]
    return "", {}


def render_basic(auth: Auth) -> str:
    """The Authorization header for a name and password."""
    return "Basic " + base64.b64encode(f"{auth.username}:{auth.password}".encode()).decode()


@dataclass(slots=True)
class Authorizer:
    """Answers challenges of one registry endpoint for one repository."""

    client: HttpClient
    auth: Auth | None
    repository: str
    secure: bool
    header: str = field(default="", repr=False)
    _tried: set[str] = field(default_factory=set, repr=False)

    async def answer(self, challenge: str) -> None:
        """Set :attr:`header` for another try. Raises ImageAuthError when there is no way."""
        scheme, parameters = parse_challenge(challenge)
        if scheme == "basic":
            if self.auth is None or not self.auth.username or "basic" in self._tried:
                raise ImageAuthError("authorization failed: no basic auth credentials")
            self._tried.add("basic")
            self.header = render_basic(self.auth)
        elif scheme == "bearer":
            # A token may run out in a long pull: once more, not for ever.
            key = f"bearer {self.header}"
            if key in self._tried or len(self._tried) > 8:
                raise ImageAuthError("authorization failed: the registry refuses its token")
            self._tried.add(key)
            self.header = "Bearer " + await self._fetch_token(parameters)
        else:
            raise ImageAuthError("authorization failed: unknown challenge")

    async def _fetch_token(self, parameters: dict[str, str]) -> str:
        realm = parameters.get("realm", "")
        parts = urlsplit(realm)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ImageAuthError("authorization failed: the challenge names no token server")
        with_secret = self.auth is not None
        if with_secret and self.secure and parts.scheme != "https":
            raise ImageAuthError("authorization failed: the token server is not secure")
        scope = parameters.get("scope") or f"repository:{self.repository}:pull"
        query = {"service": parameters.get("service", ""), "scope": scope}
        try:
            if self.auth is not None and self.auth.identity_token:
                form = {
                    **query,
                    "grant_type": "refresh_token",
                    "client_id": _CLIENT_ID,
                    "refresh_token": self.auth.identity_token,
                }
                answer = await self.client.request(
                    "POST",
                    realm,
                    headers={"Content-Type": "application/x-www-form-urlencoded"},
                    body=urlencode(form).encode(),
                    limit_bytes=_ANSWER_MAX_BYTES,
                )
            else:
                headers = {}
                if self.auth is not None and self.auth.username:
                    headers["Authorization"] = render_basic(self.auth)
                    query["account"] = self.auth.username
                separator = "&" if parts.query else "?"
                url = realm + separator + urlencode({k: v for k, v in query.items() if v})
                answer = await self.client.request(
                    "GET", url, headers=headers, limit_bytes=_ANSWER_MAX_BYTES
                )
        except OSError as error:
            raise ImagePullError(f"failed to fetch a token: {error}") from None
        if answer.status in (400, 401, 403):
            raise ImageAuthError(f"authorization failed: token server answers {answer.status}")
        if answer.status != 200:
            raise ImagePullError(f"failed to fetch a token: unexpected status {answer.status}")
        return _read_token(answer.body)


def _read_token(body: bytes) -> str:
    try:
        value = json.loads(body)
        token = value.get("token") or value.get("access_token")
    except (ValueError, AttributeError):
        token = None
    if not isinstance(token, str) or not token:
        raise ImageAuthError("authorization failed: the token server gives no token")
    return token
