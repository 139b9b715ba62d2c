"""The values of what expressions name, for one request and one version of its objects."""

from __future__ import annotations

from kutter.api.cel.library.authorizer import Answer, Authorizer, Question, ResourceCheck
from kutter.api.resources import Resource
from kutter.apiserver.admission.dynamic.evaluation import Decisions
from kutter.apiserver.admission.dynamic.review import render_request
from kutter.apiserver.admission.dynamic.subject import Subject
from kutter.apiserver.authn.identity import GROUP_AUTHENTICATED, User
from kutter.apiserver.ports import Attributes, Tree


async def bindings_of(
    subject: Subject,
    matched: Resource,
    decisions: Decisions,
    *,
    params: Tree | None = None,
    namespace: bool = True,
) -> Tree:
    """Without ``namespace`` (match conditions) ``namespaceObject`` is null. Raises ApiError."""
    key = f"{matched.api_version} {namespace}"
    found = subject.bindings.get(key)
    if found is None:
        found = subject.bindings[key] = await _base(subject, matched, decisions, namespace)
    return {**found, "params": params}


async def _base(subject: Subject, matched: Resource, decisions: Decisions, namespace: bool) -> Tree:
    """What is the same for all expressions of a request in one version."""
    decide = _Decide(subject, decisions)
    return {
        "object": await subject.new_in(matched),
        "oldObject": await subject.old_in(matched),
        "request": render_request(subject, matched, ""),
        "namespaceObject": _namespace(subject) if namespace else None,
        "authorizer": Authorizer(decide),
        "authorizer.requestResource": ResourceCheck(decide, _own_question(subject)),
    }


def _own_question(subject: Subject) -> Question:
    """What the request itself needs a right to."""
    place = subject.place
    return Question(
        group=place.resource.group,
        resource=place.resource.plural,
        subresource=place.subresource,
        namespace=place.namespace,
        name=place.name,
    )


class _Decide:
    """Answers questions about rights: of the user who asks, or of a service account named."""

    def __init__(self, subject: Subject, decisions: Decisions) -> None:
        self._user = subject.request.user
        self._decisions = decisions

    def __call__(self, question: Question) -> Answer:
        user = self._user
        if question.service_account is not None:
            user = _service_account(*question.service_account)
        asked = Attributes(
            user=user,
            verb=question.verb,
            group=question.group,
            version="*" if not question.path else "",
            resource=question.resource,
            subresource=question.subresource,
            namespace=question.namespace,
            name=question.name,
            path=question.path,
            is_resource=not question.path,
            field_selector=question.field_selector,
            label_selector=question.label_selector,
        )
        decision = self._decisions.decide(asked)
        return Answer(decision.allowed, decision.reason)


def _service_account(namespace: str, name: str) -> User:
    groups = (
        "system:serviceaccounts",
        f"system:serviceaccounts:{namespace}",
        GROUP_AUTHENTICATED,
    )
    return User(f"system:serviceaccount:{namespace}:{name}", groups=groups)


def _namespace(subject: Subject) -> Tree | None:
    place = subject.place
    if not place.namespace or (place.resource.plural == "namespaces" and not place.resource.group):
        return None
    return subject.namespace_object()
