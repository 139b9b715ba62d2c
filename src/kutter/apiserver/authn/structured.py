"""Authentication as configured: issuers of JSON Web Tokens, a webhook, where anonymous passes.

Between the configuration file (followed) and :class:`RequestAuthenticator`, whose remote kinds of
tokens it replaces as a whole: a request sees the old configuration or the new one. A configuration
that is wrong changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from kutter.apiserver.authn.authentication_configuration import (
    AnonymousSettings,
    Checked,
    JwtAuthenticator,
    parse_authentication,
)
from kutter.apiserver.authn.authenticator import (
    Anonymous,
    RemoteAuthenticator,
    RequestAuthenticator,
)
from kutter.apiserver.authn.claim_rules import CompiledRules
from kutter.apiserver.authn.issuer_keys import TIMEOUT_S, IssuerKeys
from kutter.apiserver.authn.jwt_issuers import JwtIssuer
from kutter.apiserver.authn.remote_cache import CachedRemote
from kutter.apiserver.configuration_file import ConfigurationFile
from kutter.base.clock import Clock
from kutter.http.client import HttpClient
from kutter.http.tls import client_context

# As upstream: a token that held is not looked at again for this long.
TOKEN_TTL_S = 10.0
_ANSWER_LIMIT_BYTES = 1024 * 1024


class StructuredAuthentication:
    """``webhook`` is asked last, whatever the file says."""

    def __init__(
        self,
        authenticator: RequestAuthenticator,
        *,
        own_issuers: Sequence[str],
        api_audiences: Sequence[str],
        webhook: RemoteAuthenticator | None = None,
        clock: Clock,
    ) -> None:
        self._authenticator = authenticator
        self._own_issuers = tuple(own_issuers)
        self._api_audiences = tuple(api_audiences)
        self._webhook = webhook
        self._clock = clock
        self._fetchers: list[_Fetcher] = []
        self._file: ConfigurationFile | None = None
        self.apply(Checked([], None))

    def read(self, file: ConfigurationFile) -> None:
        """Put a file into force. Raises ConfigurationError."""
        self._file = file
        self.apply(parse_authentication(file.read(), own_issuers=self._own_issuers))

    def apply(self, checked: Checked) -> None:
        """Put a checked configuration into force."""
        remote: list[RemoteAuthenticator] = []
        fetchers = []
        for jwt, rules in checked.jwt:
            fetcher = _Fetcher(jwt.issuer.certificate_authority)
            fetchers.append(fetcher)
            issuer = self._make_issuer(jwt, rules, fetcher)
            remote.append(CachedRemote(issuer, ttl_s=TOKEN_TTL_S, clock=self._clock))
        if self._webhook is not None:
            remote.append(self._webhook)
        old, self._fetchers = self._fetchers, fetchers
        self._authenticator.remote = tuple(remote)
        self._authenticator.anonymous = _anonymous(checked.anonymous)
        for fetcher in old:
            fetcher.retire()

    def _make_issuer(
        self, jwt: JwtAuthenticator, rules: CompiledRules, fetcher: _Fetcher
    ) -> JwtIssuer:
        issuer = jwt.issuer
        return JwtIssuer(
            issuer.url,
            IssuerKeys(issuer.url, issuer.discovery_url, fetcher, self._clock),
            rules,
            audiences=issuer.audiences,
            api_audiences=self._api_audiences,
            algorithms=jwt.signing_algorithms,
            clock=self._clock,
        )

    async def run(self) -> None:
        """Follow the file until cancelled; returns where there is none."""
        if self._file is not None:
            await self._file.follow(self._clock, self._reload)

    async def _reload(self, content: bytes) -> None:
        self.apply(parse_authentication(content, own_issuers=self._own_issuers))

    async def close(self) -> None:
        for fetcher in self._fetchers:
            await fetcher.close()


def _anonymous(settings: AnonymousSettings | None) -> Anonymous:
    if settings is None:
        return Anonymous()
    paths = frozenset(condition.path for condition in settings.conditions)
    return Anonymous(settings.enabled, paths or None)


class _Fetcher:
    """GET from one issuer, trusting its authority (the system's without one)."""

    def __init__(self, authority_pem: str) -> None:
        self._client = HttpClient(tls=client_context(ca_data=authority_pem.encode()))

    async def __call__(self, url: str) -> bytes:
        answer = await self._client.request(
            "GET", url, timeout_s=TIMEOUT_S, limit_bytes=_ANSWER_LIMIT_BYTES
        )
        if answer.status != 200:
            raise OSError(f"{url} answered {answer.status}")
        return answer.body

    def retire(self) -> None:
        self._client.retire()

    async def close(self) -> None:
        await self._client.close()
