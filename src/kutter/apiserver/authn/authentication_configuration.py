"""``AuthenticationConfiguration``: whose JSON Web Tokens hold, and where nobody is somebody.

Read and checked as upstream does; the older ``--oidc-*`` flags are put into the same form.
https://kubernetes.io/docs/reference/access-authn-authz/authentication/#using-authentication-configuration
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec

from kutter.api.errors import (
    FieldError,
    duplicate,
    invalid,
    required,
    too_many,
)
from kutter.apiserver.authn.claim_compiler import RuleCompiler
from kutter.apiserver.authn.claim_rules import CompiledRules
from kutter.apiserver.configuration_file import ConfigurationError, Part, parse_configuration
from kutter.http.tls import client_context

KIND = "AuthenticationConfiguration"
_VERSIONS = ("v1", "v1beta1", "v1alpha1")
_ISSUERS_MAX = 64


class Issuer(Part):
    url: str = ""
    discovery_url: str = msgspec.field(default="", name="discoveryURL")
    certificate_authority: str = ""
    audiences: tuple[str, ...] = ()
    audience_match_policy: str = ""
    egress_selector_type: str = ""


class ClaimValidationRule(Part):
    claim: str = ""
    required_value: str = ""
    expression: str = ""
    message: str = ""


class PrefixedClaim(Part):
    claim: str = ""
    prefix: str | None = None
    expression: str = ""


class Claim(Part):
    claim: str = ""
    expression: str = ""


class Extra(Part):
    key: str = ""
    value_expression: str = ""


class ClaimMappings(Part):
    username: PrefixedClaim = msgspec.field(default_factory=PrefixedClaim)
    groups: PrefixedClaim = msgspec.field(default_factory=PrefixedClaim)
    uid: Claim = msgspec.field(default_factory=Claim)
    extra: tuple[Extra, ...] = ()


class UserValidationRule(Part):
    expression: str = ""
    message: str = ""


class JwtAuthenticator(Part):
    issuer: Issuer = msgspec.field(default_factory=Issuer)
    claim_validation_rules: tuple[ClaimValidationRule, ...] = ()
    claim_mappings: ClaimMappings = msgspec.field(default_factory=ClaimMappings)
    user_validation_rules: tuple[UserValidationRule, ...] = ()
    # Not of the file: what --oidc-signing-algs says; none: all.
    signing_algorithms: tuple[str, ...] = ()


class Condition(Part):
    path: str = ""


class AnonymousSettings(Part):
    enabled: bool = False
    conditions: tuple[Condition, ...] = ()


class AuthenticationConfiguration(Part):
    jwt: tuple[JwtAuthenticator, ...] = ()
    anonymous: AnonymousSettings | None = None


class Checked(msgspec.Struct):
    """A configuration in force: each authenticator with its rules, compiled."""

    jwt: list[tuple[JwtAuthenticator, CompiledRules]]
    anonymous: AnonymousSettings | None


def parse_authentication(content: bytes, *, own_issuers: Sequence[str]) -> Checked:
    """Raises ConfigurationError. ``own_issuers`` are this server's: nobody else may be them."""
    found = parse_configuration(content, KIND, _VERSIONS, AuthenticationConfiguration)
    if any(jwt.signing_algorithms for jwt in found.jwt):
        raise ConfigurationError(f"{KIND} is malformed: unknown field `signingAlgorithms`")
    return check_authentication(found, own_issuers=own_issuers)


def check_authentication(
    configuration: AuthenticationConfiguration, *, own_issuers: Sequence[str]
) -> Checked:
    """Raises ConfigurationError, telling all that is wrong."""
    errors: list[FieldError] = []
    if len(configuration.jwt) > _ISSUERS_MAX:
        errors.append(too_many("jwt", len(configuration.jwt), _ISSUERS_MAX))
        raise ConfigurationError.of(KIND, errors)
    seen: dict[str, set[str]] = {"url": set(), "discoveryURL": set()}
    compiled = []
    for index, jwt in enumerate(configuration.jwt):
        path = f"jwt[{index}]"
        errors += _check_issuer(f"{path}.issuer", jwt.issuer, own_issuers)
        rules = compile_rules(path, jwt)
        errors += rules.errors
        compiled.append((jwt, rules))
        for field, value in (("url", jwt.issuer.url), ("discoveryURL", jwt.issuer.discovery_url)):
            if value and value in seen[field]:
                errors.append(duplicate(f"{path}.issuer.{field}", value))
            seen[field].add(value)
    anonymous = configuration.anonymous
    if anonymous is not None and anonymous.conditions and not anonymous.enabled:
        paths = [condition.path for condition in anonymous.conditions]
        text = "enabled should be set to true when conditions are defined"
        errors.append(invalid("anonymous.conditions", paths, text))
    if errors:
        raise ConfigurationError.of(KIND, errors)
    return Checked(compiled, anonymous)


# -- issuers -------------------------------------------------------------------------------


def _check_issuer(path: str, issuer: Issuer, own_issuers: Sequence[str]) -> list[FieldError]:
    errors: list[FieldError] = []
    if not issuer.url:
        errors.append(required(f"{path}.url"))
    else:
        errors += _check_url(f"{path}.url", issuer.url, own_issuers)
    if issuer.discovery_url:
        here = f"{path}.discoveryURL"
        if issuer.url.rstrip("/") == issuer.discovery_url.rstrip("/"):
            text = "discoveryURL must be different from URL"
            errors.append(invalid(here, issuer.discovery_url, text))
        errors += _check_url(here, issuer.discovery_url, ())
    errors += _check_audiences(path, issuer)
    if issuer.certificate_authority:
        try:
            client_context(ca_data=issuer.certificate_authority.encode())
        except (OSError, ValueError) as error:
            errors.append(invalid(f"{path}.certificateAuthority", "<omitted>", str(error)))
    if issuer.egress_selector_type:
        text = "this server has no egress selectors"
        errors.append(invalid(f"{path}.egressSelectorType", issuer.egress_selector_type, text))
    return errors


def _check_url(path: str, url: str, disallowed: Sequence[str]) -> list[FieldError]:
    errors: list[FieldError] = []
    if url in disallowed:
        listed = " ".join(sorted(disallowed))
        text = f"URL must not overlap with disallowed issuers: [{listed}]"
        errors.append(invalid(path, url, text))
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        return [*errors, invalid(path, url, f'parse "{url}": {error}')]
    for wrong, text in (
        (parts.scheme != "https", "URL scheme must be https"),
        ("@" in parts.netloc, "URL must not contain a username or password"),
        (bool(parts.query), "URL must not contain a query"),
        (bool(parts.fragment), "URL must not contain a fragment"),
    ):
        if wrong:
            errors.append(invalid(path, url, text))
    return errors


def _check_audiences(path: str, issuer: Issuer) -> list[FieldError]:
    here = f"{path}.audiences"
    if not issuer.audiences:
        return [required(here, f"at least one {here} is required")]
    errors: list[FieldError] = []
    for index, audience in enumerate(issuer.audiences):
        if not audience:
            errors.append(required(f"{here}[{index}]"))
        if audience in issuer.audiences[:index]:
            errors.append(duplicate(f"{here}[{index}]", audience))
    policy = issuer.audience_match_policy
    if policy != "MatchAny" and (policy or len(issuer.audiences) > 1):
        text = (
            "audienceMatchPolicy must be MatchAny for multiple audiences"
            if len(issuer.audiences) > 1
            else "audienceMatchPolicy must be empty or MatchAny for single audience"
        )
        errors.append(invalid(f"{path}.audienceMatchPolicy", policy, text))
    return errors


# -- rules ---------------------------------------------------------------------------------


def compile_rules(path: str, jwt: JwtAuthenticator) -> CompiledRules:
    """The rules of one authenticator; what is wrong with them is in ``errors``."""
    compiler = RuleCompiler()
    compiler.validations(f"{path}.claimValidationRules", _plain(jwt.claim_validation_rules))
    here, mappings = f"{path}.claimMappings", jwt.claim_mappings
    compiler.username(f"{here}.username", _tree(mappings.username))
    compiler.groups(f"{here}.groups", _tree(mappings.groups))
    compiler.uid(f"{here}.uid", _tree(mappings.uid))
    for index, extra in enumerate(mappings.extra):
        compiler.extra_value(f"{here}.extra[{index}]", extra.key, extra.value_expression)
    compiler.check_email(f"{here}.username.expression")
    compiler.user_rules(f"{path}.userValidationRules", _plain(jwt.user_validation_rules))
    return compiler.rules


def _tree(part: Part) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.structs.asdict(part)
    return found


def _plain(parts: Sequence[Part]) -> list[dict[str, Any]]:
    return [_tree(part) for part in parts]
