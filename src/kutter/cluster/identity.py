"""Puts authentication and authorization together from their settings.

Between upstream's flags (``ApiServerOptions``) and the API server's :class:`Security`: files are
read, the older flags are put into the structured form, webhooks get their callers. Whatever is
wrong is a ConfigurationError (a ValueError) at the start.
"""

from __future__ import annotations

from pathlib import Path

from kutter.apiserver.authn.authentication_configuration import (
    AuthenticationConfiguration,
    Checked,
    ClaimMappings,
    ClaimValidationRule,
    Issuer,
    JwtAuthenticator,
    PrefixedClaim,
    check_authentication,
)
from kutter.apiserver.authn.authenticator import RemoteAuthenticator, TokenAuthenticator
from kutter.apiserver.authn.jwt_issuers import ALGORITHMS
from kutter.apiserver.authn.remote_cache import CachedRemote
from kutter.apiserver.authn.static_tokens import StaticTokens
from kutter.apiserver.authn.structured import StructuredAuthentication
from kutter.apiserver.authn.webhook_tokens import WebhookTokens
from kutter.apiserver.authz.authorization_configuration import (
    AuthorizationConfiguration,
    AuthorizerSettings,
    ConnectionInfo,
    Webhook,
    check_authorization,
)
from kutter.apiserver.authz.structured import StructuredAuthorization
from kutter.apiserver.configuration_file import ConfigurationError, ConfigurationFile
from kutter.apiserver.security import Security
from kutter.apiserver.webhooks.caller import WebhookCaller
from kutter.apiserver.webhooks.reviews import ReviewWebhook, read_webhook_file
from kutter.base.clock import Clock
from kutter.base.tasks import Scope, supervise
from kutter.cluster.api_options import ApiServerOptions, seconds_of

_TOKEN_TIMEOUT_S = 30.0
_DEFAULT_MODE = "Node,RBAC"
_REVIEW_VERSIONS = ("v1", "v1beta1")


def first_tokens(options: ApiServerOptions, audiences: tuple[str, ...]) -> list[TokenAuthenticator]:
    """The kinds of tokens asked before service accounts' own. Raises ConfigurationError."""
    if not options.token_auth_file:
        return []
    return [StaticTokens(Path(options.token_auth_file), audiences=audiences)]


class Identity:
    """What is configured about callers, in force. ``start`` follows its files."""

    def __init__(self, options: ApiServerOptions, security: Security, *, clock: Clock) -> None:
        """Raises ConfigurationError."""
        self._caller = WebhookCaller()
        self._clock = clock
        own = security.issuer.issuer
        self._authentication = StructuredAuthentication(
            security.authenticator,
            own_issuers=[own],
            api_audiences=security.audiences,
            webhook=self._token_webhook(options, security),
            clock=clock,
        )
        oidc = _oidc_configuration(options, own)
        if options.authentication_config:
            if oidc is not None:
                raise ConfigurationError(
                    "--authentication-config and --oidc-issuer-url exclude each other"
                )
            self._authentication.read(ConfigurationFile(Path(options.authentication_config)))
        elif oidc is not None:
            self._authentication.apply(oidc)
        self._authorization = StructuredAuthorization(
            security.authorizer, security.authorizers, self._webhook, clock=clock
        )
        if options.authorization_config:
            if options.authorization_mode != _DEFAULT_MODE:
                raise ConfigurationError(
                    "--authorization-config and --authorization-mode exclude each other"
                )
            self._authorization.read(ConfigurationFile(Path(options.authorization_config)))
        elif options.authorization_mode != _DEFAULT_MODE:
            self._authorization.apply(_mode_configuration(options))

    def _webhook(self, file: Path, timeout_s: float) -> ReviewWebhook:
        config = read_webhook_file(file)
        return ReviewWebhook(config, self._caller, timeout_s=timeout_s, clock=self._clock)

    def _token_webhook(
        self, options: ApiServerOptions, security: Security
    ) -> RemoteAuthenticator | None:
        if not options.authentication_token_webhook_config_file:
            return None
        version = options.authentication_token_webhook_version
        if version not in _REVIEW_VERSIONS:
            raise ConfigurationError(
                f"--authentication-token-webhook-version is {version}, expected v1 or v1beta1"
            )
        file = Path(options.authentication_token_webhook_config_file)
        ttl_s = seconds_of(options, "authentication_token_webhook_cache_ttl")
        tokens = WebhookTokens(
            self._webhook(file, _TOKEN_TIMEOUT_S),
            version=version,
            api_audiences=security.audiences,
        )
        return CachedRemote(tokens, ttl_s=ttl_s, refused_ttl_s=ttl_s, clock=self._clock)

    def start(self, scope: Scope) -> None:
        for name, run in (
            ("authentication-config", self._authentication.run),
            ("authorization-config", self._authorization.run),
        ):
            scope.start(supervise(name, run), name)

    async def close(self) -> None:
        await self._authentication.close()
        await self._caller.close()


def _oidc_configuration(options: ApiServerOptions, own_issuer: str) -> Checked | None:
    """The older flags in the structured form."""
    if not options.oidc_issuer_url and not options.oidc_client_id:
        return None
    if not options.oidc_issuer_url or not options.oidc_client_id:
        raise ConfigurationError("--oidc-issuer-url and --oidc-client-id go together")
    algorithms = tuple(a for a in options.oidc_signing_algs.split(",") if a)
    unknown = [a for a in algorithms if a not in ALGORITHMS]
    if unknown or not algorithms:
        raise ConfigurationError(f"--oidc-signing-algs: unsupported algorithm {unknown or ''}")
    prefix = options.oidc_username_prefix
    if prefix == "-":
        prefix = ""
    elif not prefix and options.oidc_username_claim != "email":
        # Names of two issuers must not be taken for each other.
        prefix = f"{options.oidc_issuer_url}#"
    rules = []
    for pair in filter(None, options.oidc_required_claim.split(",")):
        claim, equals, value = pair.partition("=")
        if not claim or not equals:
            raise ConfigurationError(f"--oidc-required-claim: {pair!r} is no key=value pair")
        rules.append(ClaimValidationRule(claim=claim, required_value=value))
    authority = ""
    if options.oidc_ca_file:
        authority = ConfigurationFile(Path(options.oidc_ca_file)).read().decode("ascii", "replace")
    groups = PrefixedClaim()
    if options.oidc_groups_claim:
        groups = PrefixedClaim(claim=options.oidc_groups_claim, prefix=options.oidc_groups_prefix)
    jwt = JwtAuthenticator(
        issuer=Issuer(
            url=options.oidc_issuer_url,
            certificate_authority=authority,
            audiences=(options.oidc_client_id,),
        ),
        claim_validation_rules=tuple(rules),
        claim_mappings=ClaimMappings(
            username=PrefixedClaim(claim=options.oidc_username_claim, prefix=prefix),
            groups=groups,
        ),
        signing_algorithms=algorithms,
    )
    configuration = AuthenticationConfiguration(jwt=(jwt,))
    return check_authentication(configuration, own_issuers=[own_issuer])


def _mode_configuration(options: ApiServerOptions) -> AuthorizationConfiguration:
    settings = []
    for mode in options.authorization_mode.split(","):
        webhook = None
        if mode == "Webhook":
            file = options.authorization_webhook_config_file
            webhook = Webhook(
                authorized_ttl=options.authorization_webhook_cache_authorized_ttl,
                unauthorized_ttl=options.authorization_webhook_cache_unauthorized_ttl,
                timeout="30s",
                subject_access_review_version=options.authorization_webhook_version,
                failure_policy="NoOpinion",
                connection_info=ConnectionInfo(
                    type="KubeConfigFile", kube_config_file=str(Path(file).absolute())
                ),
            )
        settings.append(AuthorizerSettings(type=mode, name=mode.lower(), webhook=webhook))
    configuration = AuthorizationConfiguration(authorizers=tuple(settings))
    errors = check_authorization(configuration)
    if errors:
        raise ConfigurationError.of("--authorization-mode", errors)
    return configuration
