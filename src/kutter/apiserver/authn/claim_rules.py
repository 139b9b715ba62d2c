"""From the claims of a token to a user: mappings and rules, as claims or as expressions.

Pure. Compiled once per configuration; evaluating takes microseconds and has a budget.
https://kubernetes.io/docs/reference/access-authn-authz/authentication/#using-authentication-configuration
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from kutter.api.cel.environment import Program
from kutter.api.cel.errors import CelError
from kutter.api.errors import FieldError
from kutter.apiserver.authn.identity import User
from kutter.apiserver.authn.token_keys import Claims, InvalidTokenError


class ClaimMapping(msgspec.Struct):
    """A value out of the claims: a claim with a prefix, or an expression."""

    claim: str = ""
    prefix: str = ""
    program: Program | None = None


class CompiledRules(msgspec.Struct):
    """What is asked of tokens of one issuer."""

    username: ClaimMapping = msgspec.field(default_factory=ClaimMapping)
    groups: ClaimMapping = msgspec.field(default_factory=ClaimMapping)
    uid: ClaimMapping = msgspec.field(default_factory=ClaimMapping)
    extra: list[tuple[str, Program]] = msgspec.field(default_factory=list)
    required: dict[str, str] = msgspec.field(default_factory=dict)
    claim_rules: list[tuple[Program, str]] = msgspec.field(default_factory=list)
    user_rules: list[tuple[Program, str]] = msgspec.field(default_factory=list)
    errors: list[FieldError] = msgspec.field(default_factory=list)

    def user_of(self, claims: Claims) -> User:
        """The user a verified token's claims stand for. Raises InvalidTokenError."""
        user = User(
            self._username(claims), self._uid(claims), self._groups(claims), self._extra(claims)
        )
        for claim, wanted in self.required.items():
            if claim not in claims:
                raise InvalidTokenError(f"required claim {claim} not present in ID token")
            if claims[claim] != wanted:
                raise InvalidTokenError(f"required claim {claim} value does not match")
        _check(self.claim_rules, {"claims": claims}, "claim")
        if self.user_rules:
            info = {
                "username": user.name,
                "uid": user.uid,
                "groups": list(user.groups),
                "extra": {key: list(values) for key, values in user.extra.items()},
            }
            _check(self.user_rules, {"user": info}, "user info")
        return user

    def _username(self, claims: Claims) -> str:
        mapping = self.username
        if mapping.program is not None:
            value = _evaluate(mapping.program, claims, "username claim")
            if not isinstance(value, str):
                raise InvalidTokenError("username claim expression must return a string")
        else:
            value = claims.get(mapping.claim)
            if not isinstance(value, str):
                raise InvalidTokenError(f"username claim {mapping.claim} is missing or no string")
            if mapping.claim == "email" and claims.get("email_verified", True) is not True:
                raise InvalidTokenError("email not verified")
        if not value:
            raise InvalidTokenError("the user name is empty")
        return mapping.prefix + value

    def _groups(self, claims: Claims) -> tuple[str, ...]:
        mapping = self.groups
        if mapping.program is not None:
            return _strings(_evaluate(mapping.program, claims, "group claim"), "group claim")
        if not mapping.claim or mapping.claim not in claims:
            return ()
        value = claims[mapping.claim]
        found = [value] if isinstance(value, str) else value
        if not isinstance(found, list) or not all(isinstance(g, str) for g in found):
            raise InvalidTokenError(f"groups claim {mapping.claim} is no list of strings")
        return tuple(mapping.prefix + group for group in found)

    def _uid(self, claims: Claims) -> str:
        mapping = self.uid
        if mapping.program is not None:
            value = _evaluate(mapping.program, claims, "uid claim")
        elif mapping.claim:
            value = claims.get(mapping.claim)
        else:
            return ""
        if not isinstance(value, str):
            raise InvalidTokenError("uid is no string")
        return value

    def _extra(self, claims: Claims) -> dict[str, tuple[str, ...]]:
        found = {}
        for key, program in self.extra:
            values = _strings(_evaluate(program, claims, "extra claim"), "extra claim")
            if values:
                found[key] = values
        return found


def _evaluate(program: Program, claims: Claims, what: str) -> Any:
    try:
        return program.evaluate({"claims": claims})
    except CelError as error:
        raise InvalidTokenError(f"error evaluating {what} expression: {error}") from error


def _strings(value: Any, what: str) -> tuple[str, ...]:
    """A string or a list of strings; empty strings and null count as nothing."""
    if value is None or value == "":
        return ()
    if isinstance(value, str):
        return (value,)
    try:
        found = tuple(value)
    except TypeError:
        found = (None,)
    if isinstance(value, Mapping) or not all(isinstance(v, str) for v in found):
        raise InvalidTokenError(f"{what} expression must return a string or a list of strings")
    return tuple(v for v in found if v)


def _check(rules: Sequence[tuple[Program, str]], bindings: Mapping[str, Any], what: str) -> None:
    for program, message in rules:
        try:
            holds = program.evaluate(bindings)
        except CelError as error:
            raise InvalidTokenError(f"error evaluating {what} rule: {error}") from error
        if holds is not True:
            text = f"validation expression '{program.text}' failed"
            raise InvalidTokenError(f"{text}: {message}" if message else text)
