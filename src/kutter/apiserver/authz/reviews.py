"""Questions about rights, answered and not stored: the SubjectAccessReviews.

https://kubernetes.io/docs/reference/kubernetes-api/authorization-resources/
"""

from __future__ import annotations

from collections.abc import Callable

from kutter.api.errors import FieldError, bad_request, invalid, invalid_object
from kutter.apiserver.authn.identity import GROUP_MASTERS, User
from kutter.apiserver.authz.node import is_node
from kutter.apiserver.authz.rbac import ALLOWED_BY_RBAC, RbacIndex
from kutter.apiserver.authz.selectors import check_selectors, field_text, label_text
from kutter.apiserver.authz.union import UnionAuthorizer
from kutter.apiserver.ports import Attributes, Authorizer, Tree

GROUP = "authorization.k8s.io"

Explain = Callable[[Attributes], str]
"""Why RBAC allows what it allows."""


class SelfSubjectAccessReview:
    """May I?"""

    kind = "SelfSubjectAccessReview"

    def __init__(self, authorizer: Authorizer, explain: Explain) -> None:
        self._authorizer = authorizer
        self._explain = explain

    async def review(self, tree: Tree, user: User, namespace: str) -> Tree:
        """``tree`` with its status. Raises 422."""
        spec = tree.get("spec") or {}
        _raise_if_any([*_check_question(spec), *_check_metadata(tree)])
        tree["status"] = await _answer(self._authorizer, self._explain, attributes_of(spec, user))
        return tree


class SubjectAccessReview:
    """May somebody?"""

    kind = "SubjectAccessReview"

    def __init__(self, authorizer: Authorizer, explain: Explain) -> None:
        self._authorizer = authorizer
        self._explain = explain

    async def review(self, tree: Tree, user: User, namespace: str) -> Tree:
        """``tree`` with its status. Raises 422."""
        spec = tree.get("spec") or {}
        _raise_if_any([*_check_question(spec), *_check_subject(spec), *_check_metadata(tree)])
        tree["status"] = await _answer(
            self._authorizer, self._explain, attributes_of(spec, _subject_of(spec))
        )
        return tree


class LocalSubjectAccessReview:
    """May somebody in this namespace?"""

    kind = "LocalSubjectAccessReview"

    def __init__(self, authorizer: Authorizer, explain: Explain) -> None:
        self._authorizer = authorizer
        self._explain = explain

    async def review(self, tree: Tree, user: User, namespace: str) -> Tree:
        """``tree`` with its status. Raises 422."""
        spec = tree.get("spec") or {}
        tree.setdefault("metadata", {})["namespace"] = namespace
        errors = [*_check_question(spec), *_check_subject(spec)]
        errors += _check_metadata(tree, "must be empty except for namespace")
        asked, given = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
        where = None if asked is None else asked.get("namespace") or ""
        if where is not None and where != namespace:
            path = "spec.resourceAttributes.namespace"
            errors.append(invalid(path, where, "must match metadata.namespace"))
        if given is not None:
            text = "disallowed on this kind of request"
            errors.append(invalid("spec.nonResourceAttributes", _shown(given), text))
        _raise_if_any(errors)
        tree["status"] = await _answer(
            self._authorizer, self._explain, attributes_of(spec, _subject_of(spec))
        )
        return tree


class SelfSubjectRulesReview:
    """What may I do here?"""

    kind = "SelfSubjectRulesReview"

    def __init__(self, index: RbacIndex, union: UnionAuthorizer) -> None:
        self._index = index
        self._union = union

    async def review(self, tree: Tree, user: User, namespace: str) -> Tree:
        """``tree`` with its status. Raises 400 without a namespace."""
        where = (tree.get("spec") or {}).get("namespace")
        if not where:
            raise bad_request("no namespace on request")
        rules = [dict(rule) for rule in self._index.rules_for(user, where)]
        if GROUP_MASTERS in user.groups:
            rules.append({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]})
            rules.append({"verbs": ["*"], "nonResourceURLs": ["*"]})
        fields = ("verbs", "apiGroups", "resources", "resourceNames")
        status: Tree = {
            "resourceRules": [
                {f: list(r[f]) for f in fields if r.get(f)} for r in rules if r.get("resources")
            ],
            "nonResourceRules": [
                {"verbs": list(r["verbs"]), "nonResourceURLs": list(r["nonResourceURLs"])}
                for r in rules
                if r.get("nonResourceURLs")
            ],
            "incomplete": False,
        }
        problems = [
            f"{name} authorizer does not support user rule resolution"
            for name in self._silent(user)
        ]
        if problems:
            status["incomplete"] = True
            status["evaluationError"] = (
                problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
            )
        tree["status"] = status
        return tree

    def _silent(self, user: User) -> list[str]:
        """The authorizers that decide and cannot tell by which rules."""
        # Webhooks are read in where some are configured, or once the server answers.
        from kutter.apiserver.authz.webhook import WebhookAuthorizer

        found = ["node"] if is_node(user) else []
        hooks = [a for a in self._union.authorizers if isinstance(a, WebhookAuthorizer)]
        return found + ["webhook"] * bool(hooks)


def attributes_of(spec: Tree, user: User) -> Attributes:
    """What a review's spec asks, about ``user``."""
    asked = spec.get("resourceAttributes")
    if asked:
        return Attributes(
            user,
            asked.get("verb", ""),
            group=asked.get("group", ""),
            version=asked.get("version", ""),
            resource=asked.get("resource", ""),
            subresource=asked.get("subresource", ""),
            namespace=asked.get("namespace", ""),
            name=asked.get("name", ""),
            is_resource=True,
            field_selector=field_text(asked.get("fieldSelector")),
            label_selector=label_text(asked.get("labelSelector")),
        )
    path = spec.get("nonResourceAttributes") or {}
    return Attributes(user, path.get("verb", ""), path=path.get("path", ""))


def _subject_of(spec: Tree) -> User:
    extra = {key: tuple(values) for key, values in (spec.get("extra") or {}).items()}
    return User(spec.get("user", ""), spec.get("uid", ""), tuple(spec.get("groups") or ()), extra)


async def _answer(authorizer: Authorizer, explain: Explain, attributes: Attributes) -> Tree:
    decision = await authorizer.authorize(attributes)
    status: Tree = {"allowed": decision.allowed}
    if decision.denied:
        status["denied"] = True
    # Which binding it was is only looked for where somebody asks.
    reason = explain(attributes) if decision is ALLOWED_BY_RBAC else decision.reason
    if reason:
        status["reason"] = reason
    return status


def _check_question(spec: Tree) -> list[FieldError]:
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    errors: list[FieldError] = []
    if resource is not None and path is not None:
        text = "cannot be specified in combination with resourceAttributes"
        errors.append(invalid("spec.nonResourceAttributes", _shown(path), text))
    if resource is None and path is None:
        text = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        errors.append(invalid("spec.resourceAttributes", None, text))
    if resource is not None:
        errors += check_selectors("spec.resourceAttributes", resource)
    return errors


def _shown(path: Tree) -> Tree:
    """``nonResourceAttributes`` as upstream's Go struct, which errors show."""
    return {"Path": path.get("path") or "", "Verb": path.get("verb") or ""}


def _check_subject(spec: Tree) -> list[FieldError]:
    if spec.get("user") or spec.get("groups"):
        return []
    text = "at least one of user or group must be specified"
    return [invalid("spec.user", spec.get("user", ""), text)]


def _check_metadata(tree: Tree, detail: str = "must be empty") -> list[FieldError]:
    """A review is no object: it has no name and no labels."""
    metadata = tree.get("metadata") or {}
    return [invalid("metadata", metadata, detail)] if metadata.keys() - {"namespace"} else []


def _raise_if_any(errors: list[FieldError]) -> None:
    """Raises 422; upstream does not say of which kind."""
    if errors:
        raise invalid_object("", "", errors, GROUP)
