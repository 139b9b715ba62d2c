"""Compiles what an authentication configuration says about claims and users, and checks it.

Pure. What is wrong is gathered, in upstream's words; the rules themselves are evaluated in
:mod:`kutter.apiserver.authn.claim_rules`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from kutter.api.cel.environment import Program
from kutter.api.cel.errors import CompileError, ResultTypeError
from kutter.api.cel.kubernetes import environment
from kutter.api.cel.syntax import (
    Call,
    Comprehension,
    CreateList,
    CreateMap,
    CreateObject,
    Expression,
    Ident,
    Select,
)
from kutter.api.cel.types import BOOL, DYN, STRING, Field, list_of, map_of, object_type
from kutter.api.errors import FieldError, duplicate, invalid, required
from kutter.apiserver.authn.claim_rules import ClaimMapping, CompiledRules
from kutter.apiserver.validation import text

_STRINGS = list_of(STRING)
_USER = object_type(
    "kubernetes.UserInfo",
    {
        "username": Field("username", STRING),
        "uid": Field("uid", STRING),
        "groups": Field("groups", _STRINGS),
        "extra": Field("extra", map_of(STRING, _STRINGS)),
    },
)
_RESERVED = re.compile(r"(.*\.)?(kubernetes|k8s)\.io")


class RuleCompiler:
    """Compiles the rules of one authenticator, gathering what is wrong."""

    def __init__(self) -> None:
        self.rules = CompiledRules()
        self._claims = environment({"claims": map_of(STRING, DYN)})
        self._user = environment({"user": _USER}, {"kubernetes.UserInfo": _USER})
        self._email = self._verified = False

    def validations(self, path: str, rules: Sequence[Mapping[str, Any]]) -> None:
        expressions: set[str] = set()
        for index, rule in enumerate(rules):
            here, claim, expression = f"{path}[{index}]", rule["claim"], rule["expression"]
            if claim and expression:
                self._wrong(invalid(here, claim, "claim and expression can't both be set"))
            elif not claim and not expression:
                self._wrong(required(here, "claim or expression is required"))
            elif claim:
                if rule["message"]:
                    detail = "may not be specified when claim is set"
                    self._wrong(invalid(f"{here}.message", rule["message"], detail))
                if claim in self.rules.required:
                    self._wrong(duplicate(f"{here}.claim", claim))
                self.rules.required[claim] = rule["required_value"]
            else:
                if rule["required_value"]:
                    detail = "may not be specified when expression is set"
                    self._wrong(invalid(f"{here}.requiredValue", rule["required_value"], detail))
                if expression in expressions:
                    self._wrong(duplicate(f"{here}.expression", expression))
                    continue
                expressions.add(expression)
                program = self._compile(f"{here}.expression", expression, boolean=True)
                if program is not None:
                    self.rules.claim_rules.append((program, rule["message"]))

    def username(self, path: str, mapping: Mapping[str, Any]) -> None:
        self._email = False
        self.rules.username = self._mapping(path, mapping, needed=True, of_user=True)

    def groups(self, path: str, mapping: Mapping[str, Any]) -> None:
        self.rules.groups = self._mapping(path, mapping, needed=False)

    def uid(self, path: str, mapping: Mapping[str, Any]) -> None:
        if mapping["claim"] and mapping["expression"]:
            self._wrong(invalid(path, "", "claim and expression can't both be set"))
        elif mapping["expression"]:
            program = self._compile(f"{path}.expression", mapping["expression"])
            self.rules.uid = ClaimMapping(program=program)
        else:
            self.rules.uid = ClaimMapping(claim=mapping["claim"])

    def extra_value(self, path: str, key: str, expression: str) -> None:
        here = f"{path}.key"
        domain, slash, rest = key.partition("/")
        if not key:
            self._wrong(required(here))
        elif not slash or not rest or text.dns_subdomain(domain):
            detail = 'must be a domain-prefixed path (such as "acme.io/foo")'
            self._wrong(invalid(here, key, detail))
        if key != key.lower():
            self._wrong(invalid(here, key, "must be lowercase"))
        if slash and _RESERVED.fullmatch(domain):
            detail = "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use"
            self._wrong(invalid(here, key, detail))
        if key in dict(self.rules.extra):
            self._wrong(duplicate(here, key))
        elif not expression:
            self._wrong(required(f"{path}.valueExpression"))
        else:
            program = self._compile(f"{path}.valueExpression", expression, verifies=True)
            if program is not None:
                self.rules.extra.append((key, program))

    def user_rules(self, path: str, rules: Sequence[Mapping[str, Any]]) -> None:
        seen: set[str] = set()
        for index, rule in enumerate(rules):
            here, expression = f"{path}[{index}].expression", rule["expression"]
            if not expression:
                self._wrong(required(here))
            elif expression in seen:
                self._wrong(duplicate(here, expression))
            else:
                seen.add(expression)
                program = self._compile(here, expression, boolean=True, of_user=True)
                if program is not None:
                    self.rules.user_rules.append((program, rule["message"]))

    def check_email(self, path: str) -> None:
        """Whoever takes an address for a name has to ask whether it was verified."""
        if self._email and not self._verified:
            program = self.rules.username.program
            assert program is not None, "an expression used the address"
            self._wrong(
                invalid(
                    path,
                    program.text,
                    "claims.email_verified must be used in claimMappings.username.expression or"
                    " claimMappings.extra[*].valueExpression or"
                    " claimValidationRules[*].expression when claims.email is used in"
                    " claimMappings.username.expression",
                )
            )

    # -- pieces -----------------------------------------------------------------------------

    def _mapping(
        self, path: str, mapping: Mapping[str, Any], *, needed: bool, of_user: bool = False
    ) -> ClaimMapping:
        claim, prefix, expression = mapping["claim"], mapping["prefix"], mapping["expression"]
        if claim and expression:
            self._wrong(invalid(path, "", "claim and expression can't both be set"))
        elif not claim and not expression:
            if needed:
                self._wrong(required(path, "claim or expression is required"))
        elif expression:
            if prefix is not None:
                detail = "may not be specified when expression is set"
                self._wrong(invalid(f"{path}.prefix", prefix, detail))
            program = self._compile(f"{path}.expression", expression, verifies=of_user)
            if of_user and program is not None:
                self._email = _selects(self._claims.parse(expression), "email")
            return ClaimMapping(program=program)
        elif prefix is None:
            detail = (
                "prefix is required when claim is set. It can be set to an empty string to disable"
                " prefixing"
            )
            self._wrong(required(f"{path}.prefix", detail))
        return ClaimMapping(claim=claim, prefix=prefix or "")

    def _compile(
        self,
        path: str,
        expression: str,
        *,
        boolean: bool = False,
        of_user: bool = False,
        verifies: bool = False,
    ) -> Program | None:
        chosen = self._user if of_user and boolean else self._claims
        try:
            program = chosen.compile(expression, *((BOOL,) if boolean else ()))
        except CompileError as error:
            self._wrong(invalid(path, expression, f"compilation failed: {error}"))
            return None
        except ResultTypeError as error:
            self._wrong(invalid(path, expression, str(error)))
            return None
        if verifies or (boolean and not of_user):
            self._verified = self._verified or _selects(chosen.parse(expression), "email_verified")
        return program

    def _wrong(self, error: FieldError) -> None:
        self.rules.errors.append(error)


def _selects(tree: Expression, name: str) -> bool:
    """Whether ``claims.name`` (or ``claims.?name``) occurs in an expression."""
    if (
        isinstance(tree, Select)
        and tree.field == name
        and isinstance(tree.operand, Ident)
        and tree.operand.name == "claims"
    ):
        return True
    return any(_selects(child, name) for child in _children(tree))


def _children(tree: Expression) -> list[Expression]:
    match tree:
        case Select():
            return [tree.operand]
        case Call():
            return [*([tree.target] if tree.target is not None else []), *tree.arguments]
        case CreateList():
            return tree.elements
        case CreateMap():
            return [part for key, value, _ in tree.entries for part in (key, value)]
        case CreateObject():
            return [value for _, _, value, _ in tree.entries]
        case Comprehension():
            return [tree.range, tree.initial, tree.condition, tree.step, tree.result]
    return []
