"""What can be asked of an authorizer, step by step; the values are :mod:`.authorizer`'s.

Upstream: https://kubernetes.io/docs/reference/using-api/cel/#kubernetes-authorizer-library
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from kutter.api.cel.declarations import Cost, Library, Overload
from kutter.api.cel.errors import EvaluationError
from kutter.api.cel.estimates import CallEstimate, Range, Sized
from kutter.api.cel.library.authorizer import (
    AUTHORIZER,
    DECISION,
    GROUP_CHECK,
    PATH_CHECK,
    RESOURCE_CHECK,
    Asking,
    Authorizer,
    Decision,
    GroupCheck,
    PathCheck,
    ResourceCheck,
)
from kutter.api.cel.library.costs import LIST_BASE, OBJECT_BASE, TEXT, estimate_fixed, fixed
from kutter.api.cel.types import BOOL, STRING, Type
from kutter.api.names import check_dns_label, check_dns_subdomain

_CHECK_COST = 350_000


def _path(asking: Authorizer, path: str) -> PathCheck:
    if not path.strip():
        raise EvaluationError("path must not be empty")
    return PathCheck(asking.decide, replace(asking.question, path=path))


def _service_account(asking: Authorizer, namespace: str, name: str) -> Authorizer:
    if check_dns_subdomain(name):
        raise EvaluationError("Invalid service account name")
    if check_dns_label(namespace):
        raise EvaluationError("Invalid service account namespace")
    question = replace(asking.question, service_account=(namespace, name))
    return Authorizer(asking.decide, question)


def _resource(asking: GroupCheck, resource: str) -> ResourceCheck:
    if not resource.strip():
        raise EvaluationError("resource must not be empty")
    return ResourceCheck(asking.decide, replace(asking.question, resource=resource))


def _with(field: str) -> Callable[[ResourceCheck, str], ResourceCheck]:
    def add(asking: ResourceCheck, value: str) -> ResourceCheck:
        more: dict[str, Any] = {field: value}
        return ResourceCheck(asking.decide, replace(asking.question, **more))

    return add


def _check(asking: Asking, verb: str) -> Decision:
    return Decision(asking.decide(replace(asking.question, verb=verb)))


def _selector_range(size: Range) -> Range:
    """Reading a selector, and a requirement for every second character of it."""
    each = size.times(0.5).times(LIST_BASE + OBJECT_BASE)
    return Range(LIST_BASE, LIST_BASE).plus(size.times(TEXT)).plus(each)


def _selector_cost(result: Any, asking: Any, selector: str) -> int:
    return _selector_range(Range(len(selector), len(selector))).most


def _estimate_selector(target: Sized | None, arguments: list[Sized]) -> CallEstimate:
    return CallEstimate(_selector_range(arguments[0].size()))


def _member(
    id: str,
    of: Type,
    result: Type,
    code: Callable[..., Any],
    *more: Type,
    cost: Cost | None = None,
) -> Overload:
    return Overload(id, (of, *more), result, code, member=True, cost=cost)


def _build(id: str, field: str) -> tuple[Overload, ...]:
    return (_member(id, RESOURCE_CHECK, RESOURCE_CHECK, _with(field), STRING),)


def _select(id: str, field: str) -> tuple[Overload, ...]:
    return (
        Overload(
            id,
            (RESOURCE_CHECK, STRING),
            RESOURCE_CHECK,
            _with(field),
            member=True,
            cost=_selector_cost,
            estimate=_estimate_selector,
        ),
    )


def _ask(id: str, of: Type) -> Overload:
    return Overload(
        id,
        (of, STRING),
        DECISION,
        _check,
        member=True,
        cost=fixed(_CHECK_COST),
        estimate=estimate_fixed(_CHECK_COST),
    )


def _group(asking: Authorizer, group: str) -> GroupCheck:
    return GroupCheck(asking.decide, replace(asking.question, group=group))


AUTHORIZATION = Library(
    "kubernetes.authz",
    functions={
        "path": (_member("authorizer_path", AUTHORIZER, PATH_CHECK, _path, STRING),),
        "group": (_member("authorizer_group", AUTHORIZER, GROUP_CHECK, _group, STRING),),
        "serviceAccount": (
            _member(
                "authorizer_serviceaccount",
                AUTHORIZER,
                AUTHORIZER,
                _service_account,
                STRING,
                STRING,
            ),
        ),
        "resource": (
            _member("groupcheck_resource", GROUP_CHECK, RESOURCE_CHECK, _resource, STRING),
        ),
        "subresource": _build("resourcecheck_subresource", "subresource"),
        "namespace": _build("resourcecheck_namespace", "namespace"),
        "name": _build("resourcecheck_name", "name"),
        "fieldSelector": _select("authorizer_fieldselector", "field_selector"),
        "labelSelector": _select("authorizer_labelselector", "label_selector"),
        "check": (
            _ask("pathcheck_check", PATH_CHECK),
            _ask("resourcecheck_check", RESOURCE_CHECK),
        ),
        "errored": (_member("decision_errored", DECISION, BOOL, lambda d: bool(d.answer.error)),),
        "error": (_member("decision_error", DECISION, STRING, lambda d: d.answer.error),),
        "allowed": (_member("decision_allowed", DECISION, BOOL, lambda d: d.answer.allowed),),
        "reason": (_member("decision_reason", DECISION, STRING, lambda d: d.answer.reason),),
    },
    types={
        kind.name: kind for kind in (AUTHORIZER, PATH_CHECK, GROUP_CHECK, RESOURCE_CHECK, DECISION)
    },
)
