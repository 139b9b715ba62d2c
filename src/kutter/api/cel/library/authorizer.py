"""Asking whether a user may: ``authorizer.group('').resource('pods').check('get').allowed()``.

The answer comes from outside: an :class:`Authorizer` is bound with a function that decides.
Upstream: https://kubernetes.io/docs/reference/using-api/cel/#kubernetes-authorizer-library
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from kutter.api.cel.types import opaque
from kutter.api.cel.values import Opaque

_PREFIX = "kubernetes.authorization"
AUTHORIZER = opaque(f"{_PREFIX}.Authorizer")
PATH_CHECK = opaque(f"{_PREFIX}.PathCheck")
GROUP_CHECK = opaque(f"{_PREFIX}.GroupCheck")
RESOURCE_CHECK = opaque(f"{_PREFIX}.ResourceCheck")
DECISION = opaque(f"{_PREFIX}.Decision")


class Question(msgspec.Struct, frozen=True):
    """What is asked. ``service_account`` is (namespace, name) where another than the request's
    user is meant; a ``path`` is asked for what is no resource.
    """

    verb: str = ""
    path: str = ""
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    field_selector: str = ""
    label_selector: str = ""
    service_account: tuple[str, str] | None = None


class Answer(msgspec.Struct, frozen=True):
    """What was decided; ``error`` where deciding failed."""

    allowed: bool
    reason: str = ""
    error: str = ""


class Decide(Protocol):
    def __call__(self, question: Question, /) -> Answer: ...


class Asking(Opaque):
    """A question on its way. Two are equal when they ask the same of the same one."""

    __slots__ = ("decide", "question")

    def __init__(self, decide: Decide, question: Question) -> None:
        self.decide = decide
        self.question = question

    def __eq__(self, other: object) -> bool:
        return (
            type(self) is type(other)
            and isinstance(other, Asking)
            and self.decide is other.decide
            and self.question == other.question
        )

    def __hash__(self) -> int:
        return hash(self.question)


class Authorizer(Asking):
    """The value of the variable ``authorizer``."""

    __slots__ = ()
    cel_type = AUTHORIZER

    def __init__(self, decide: Decide, question: Question | None = None) -> None:
        super().__init__(decide, question or Question())


class PathCheck(Asking):
    __slots__ = ()
    cel_type = PATH_CHECK


class GroupCheck(Asking):
    __slots__ = ()
    cel_type = GROUP_CHECK


class ResourceCheck(Asking):
    """The value of ``authorizer.requestResource``."""

    __slots__ = ()
    cel_type = RESOURCE_CHECK


class Decision(Opaque):
    __slots__ = ("answer",)
    cel_type = DECISION

    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Decision) and self.answer == other.answer

    def __hash__(self) -> int:
        return hash(self.answer)
