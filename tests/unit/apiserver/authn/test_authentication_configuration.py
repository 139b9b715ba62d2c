"""AuthenticationConfiguration: what is right, what it makes of claims, what is said otherwise."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from kutter.apiserver.authn.authentication_configuration import Checked, parse_authentication
from kutter.apiserver.authn.token_keys import InvalidTokenError
from kutter.apiserver.configuration_file import ConfigurationError

OWN = "https://kubernetes.default.svc"
ISSUER = {"url": "https://issuer.example", "audiences": ["kutter"]}
NAME = {"username": {"claim": "sub", "prefix": "oidc:"}}


def jwt(**more: Any) -> dict[str, Any]:
    return {"issuer": ISSUER, "claimMappings": NAME, **more}


def parse(*jwts: dict[str, Any], version: str = "v1", **more: Any) -> Checked:
    tree = {
        "apiVersion": f"apiserver.config.k8s.io/{version}",
        "kind": "AuthenticationConfiguration",
        "jwt": list(jwts),
        **more,
    }
    return parse_authentication(orjson.dumps(tree), own_issuers=[OWN])


@pytest.mark.parametrize("version", ["v1", "v1beta1", "v1alpha1"])
def test_versions(version: str) -> None:
    assert len(parse(jwt(), version=version).jwt) == 1
    assert parse(version=version).jwt == []


def user_of(claims: dict[str, Any], **more: Any) -> Any:
    return parse(jwt(**more)).jwt[0][1].user_of(claims)


def test_claims_are_mapped_with_prefixes() -> None:
    mappings = {
        "username": {"claim": "email", "prefix": "e:"},
        "groups": {"claim": "roles", "prefix": "g:"},
        "uid": {"claim": "id"},
    }
    claims = {"email": "a@b.c", "email_verified": True, "roles": ["x", "y"], "id": "7"}
    user = user_of(claims, claimMappings=mappings)
    assert (user.name, user.groups, user.uid) == ("e:a@b.c", ("g:x", "g:y"), "7")
    one = user_of({**claims, "roles": "x"}, claimMappings=mappings)
    assert one.groups == ("g:x",)
    del claims["roles"]
    assert user_of(claims, claimMappings=mappings).groups == ()


def test_expressions_map_claims() -> None:
    mappings = {
        "username": {"expression": "'ext:' + claims.sub"},
        "groups": {"expression": "claims.roles.map(r, 'x:' + r)"},
        "uid": {"expression": "claims.?id.orValue('none')"},
        "extra": [
            {"key": "example.com/tenant", "valueExpression": "claims.tenant"},
            {"key": "example.com/none", "valueExpression": "''"},
        ],
    }
    user = user_of(
        {"sub": "jane", "roles": ["a", "b"], "tenant": ["t1", "t2"]}, claimMappings=mappings
    )
    assert (user.name, user.groups, user.uid) == ("ext:jane", ("x:a", "x:b"), "none")
    assert user.extra == {"example.com/tenant": ("t1", "t2")}


@pytest.mark.parametrize(
    ("claims", "more"),
    [
        ({}, {}),
        ({"sub": 7}, {}),
        ({"sub": ""}, {}),
        ({"sub": "x"}, {"claimValidationRules": [{"claim": "hd", "requiredValue": "y"}]}),
        (
            {"sub": "x", "hd": "z"},
            {"claimValidationRules": [{"claim": "hd", "requiredValue": "y"}]},
        ),
        ({"sub": "x"}, {"claimValidationRules": [{"expression": "claims.hd == 'y'"}]}),
        (
            {"sub": "x", "exp": 20, "nbf": 0},
            {"claimValidationRules": [{"expression": "claims.exp - claims.nbf <= 10"}]},
        ),
        (
            {"sub": "system:admin"},
            {
                "claimMappings": {"username": {"claim": "sub", "prefix": ""}},
                "userValidationRules": [{"expression": "!user.username.startsWith('system:')"}],
            },
        ),
        (
            {"email": "a@b.c", "email_verified": False},
            {"claimMappings": {"username": {"claim": "email", "prefix": ""}}},
        ),
        ({"sub": "x"}, {"claimMappings": {**NAME, "groups": {"expression": "claims.groups"}}}),
        (
            {"sub": "x", "g": {"a": "b"}},
            {"claimMappings": {**NAME, "groups": {"expression": "claims.g"}}},
        ),
        (
            {"sub": "x", "g": [1]},
            {"claimMappings": {**NAME, "groups": {"claim": "g", "prefix": ""}}},
        ),
        ({"sub": "x", "id": 4}, {"claimMappings": {**NAME, "uid": {"claim": "id"}}}),
    ],
)
def test_tokens_whose_claims_do_not_hold(claims: dict[str, Any], more: dict[str, Any]) -> None:
    with pytest.raises(InvalidTokenError):
        user_of(claims, **more)


def test_a_rules_message_is_told() -> None:
    rules = [{"expression": "claims.hd == 'y'", "message": "only y may come"}]
    with pytest.raises(InvalidTokenError, match="only y may come"):
        user_of({"sub": "x", "hd": "z"}, claimValidationRules=rules)


@pytest.mark.parametrize(
    ("jwts", "said"),
    [
        ([jwt(issuer={**ISSUER, "url": ""})], "jwt[0].issuer.url: Required value"),
        ([jwt(issuer={**ISSUER, "url": "http://x"})], "URL scheme must be https"),
        ([jwt(issuer={**ISSUER, "url": "https://a:b@x"})], "must not contain a username"),
        ([jwt(issuer={**ISSUER, "url": "https://x?y"})], "must not contain a query"),
        ([jwt(issuer={**ISSUER, "url": "https://x#y"})], "must not contain a fragment"),
        ([jwt(issuer={**ISSUER, "url": OWN})], "must not overlap with disallowed issuers"),
        (
            [jwt(issuer={**ISSUER, "discoveryURL": "https://issuer.example/"})],
            "discoveryURL must be different from URL",
        ),
        ([jwt(issuer={**ISSUER, "audiences": []})], "jwt[0].issuer.audiences: Required value"),
        ([jwt(issuer={**ISSUER, "audiences": ["a", "b"]})], "must be MatchAny for multiple"),
        ([jwt(issuer={**ISSUER, "certificateAuthority": "x"})], "certificateAuthority"),
        ([jwt(), jwt()], 'jwt[1].issuer.url: Duplicate value: "https://issuer.example"'),
        ([jwt(claimMappings={})], "claimMappings.username: Required value: claim or expression"),
        ([jwt(claimMappings={"username": {"claim": "sub"}})], "prefix is required when claim is"),
        (
            [jwt(claimMappings={"username": {"claim": "sub", "expression": "claims.sub"}})],
            "claim and expression can't both be set",
        ),
        ([jwt(claimMappings={"username": {"expression": "claims."}})], "compilation failed"),
        ([jwt(claimMappings={"username": {"expression": "user.name"}})], "undeclared reference"),
        (
            [jwt(claimMappings={"username": {"expression": "claims.email"}})],
            "claims.email_verified must be used",
        ),
        ([jwt(claimValidationRules=[{}])], "claim or expression is required"),
        ([jwt(claimValidationRules=[{"expression": "'a'"}])], "must evaluate to bool"),
        (
            [jwt(claimValidationRules=[{"claim": "a", "message": "b"}])],
            "may not be specified when claim is set",
        ),
        ([jwt(userValidationRules=[{"expression": "user.nme == ''"}])], "undefined field 'nme'"),
        ([jwt(userValidationRules=[{}])], "userValidationRules[0].expression: Required value"),
        (
            [jwt(claimMappings={**NAME, "extra": [{"key": "k", "valueExpression": "'a'"}]})],
            "must be a domain-prefixed path",
        ),
        (
            [
                jwt(
                    claimMappings={
                        **NAME,
                        "extra": [{"key": "x.k8s.io/a", "valueExpression": "''"}],
                    }
                )
            ],
            "reserved for Kubernetes use",
        ),
        (
            [jwt(claimMappings={**NAME, "extra": [{"key": "a.b/C", "valueExpression": "''"}]})],
            "must be lowercase",
        ),
        ([jwt(colour="red")], "unknown field `colour`"),
        ([jwt(signingAlgorithms=["RS256"])], "unknown field `signingAlgorithms`"),
    ],
)
def test_what_is_wrong_is_said(jwts: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse(*jwts)
    assert said in str(caught.value)


def test_an_address_is_a_name_once_it_is_verified() -> None:
    for more in (
        {"claimValidationRules": [{"expression": "claims.email_verified"}]},
        {"claimValidationRules": [{"expression": "claims.?email_verified.orValue(true)"}]},
    ):
        parse(jwt(claimMappings={"username": {"expression": "claims.email"}}, **more))


def test_conditions_of_anonymous_need_it_enabled() -> None:
    conditions = [{"path": "/livez"}]
    found = parse(anonymous={"enabled": True, "conditions": conditions}).anonymous
    assert found is not None
    assert [c.path for c in found.conditions] == ["/livez"]
    with pytest.raises(ConfigurationError, match="enabled should be set to true"):
        parse(anonymous={"enabled": False, "conditions": conditions})
