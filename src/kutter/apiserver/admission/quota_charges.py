"""What a request would cost which quota, and whether that is too much. Pure.

Between :mod:`kutter.api.quota`, which measures objects, and the admission plugin, which reserves.
Follows upstream's ``CheckRequest``; the texts are what clients match on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from kutter.api.quota.amounts import (
    Amounts,
    add,
    increase,
    only,
    over,
    read_amounts,
    render,
    render_names,
    without_zeros,
)
from kutter.api.quota.measures import Measure, scopes_of
from kutter.api.types.base import convert
from kutter.api.types.core_v1 import ResourceQuota, ScopedResourceSelectorRequirement
from kutter.apiserver.admission.plugin import refusal
from kutter.apiserver.ports import AdmissionRequest

Scopes = tuple[ScopedResourceSelectorRequirement, ...]


class Quota(msgspec.Struct, frozen=True):
    """One quota as admission sees it: what its *status* says."""

    name: str
    hard: Amounts
    used: Amounts
    scopes: Scopes = ()


class LimitedResource(msgspec.Struct, frozen=True):
    """What may be consumed only where a quota covers it (upstream's ``limitedResources``)."""

    resource: str
    group: str = ""
    match_contains: tuple[str, ...] = ()
    match_scopes: Scopes = ()

    @property
    def group_resource(self) -> str:
        return f"{self.resource}.{self.group}" if self.group else self.resource


class Item(msgspec.Struct):
    """One request, with its object in the form its measure reads."""

    request: AdmissionRequest
    measure: Measure
    new: Any
    old: Any = None
    paid: dict[str, Amounts] = msgspec.field(default_factory=dict)


def read_quota(tree: dict[str, Any]) -> Quota:
    """Raises QuantityError for a status nobody should have been able to write."""
    view = convert(ResourceQuota, tree)
    selector = view.spec.scope_selector
    return Quota(
        view.metadata.name,
        read_amounts(view.status.hard),
        read_amounts(view.status.used),
        scopes_of(view.spec.scopes, selector.match_expressions if selector is not None else ()),
    )


def make_item(request: AdmissionRequest, measure: Measure) -> Item:
    view = measure.view
    if view is None:
        return Item(request, measure, None)
    assert request.object is not None
    old = convert(view, request.old) if request.old is not None else None
    return Item(request, measure, convert(view, request.object), old)


def plan_charges(
    quotas: Sequence[Quota], item: Item, limited: Iterable[LimitedResource] = ()
) -> dict[str, Amounts]:
    """By how much each quota's ``used`` grows, by quota name; what is paid already left out.

    Raises 403 when that is too much, or when a quota cannot tell.
    """
    request, measure, now = item.request, item.measure, item.request.now
    covering = [quota for quota in quotas if _covers(quota, item, item.new)]
    covered: set[str] = set()
    for quota in covering:
        names = measure.names(quota.hard)
        missing = measure.missing(item.new, names)
        if missing:
            raise refusal(request, f"failed quota: {quota.name}: must specify {missing}")
        if any(name not in quota.used for name in names):
            raise refusal(
                request,
                f"status unknown for quota: {quota.name}, resources: {render_names(names)}",
            )
        covered.update(names)
    usage = measure.charge(item.new, now)
    negative = [name for name, amount in usage.items() if amount.nanos < 0]
    if negative:
        text = render_names(negative)
        raise refusal(request, f"quota usage is negative for resource(s): {text}")
    updating = request.operation == "UPDATE"
    grown = increase(usage, measure.charge(item.old, now)) if updating else usage
    charges: dict[str, Amounts] = {}
    for quota in covering:
        before = updating and measure.matches(item.old, quota.scopes)
        cost = without_zeros(grown if before else usage)
        if cost:
            charges[quota.name] = cost
    if not charges and (covering or not without_zeros(grown)):
        return {}
    _check_limited(quotas, item, usage, covered, limited)
    found: dict[str, Amounts] = {}
    for quota in covering:
        cost = only(charges.get(quota.name, {}), quota.hard)
        if quota.name in item.paid or not cost:
            continue
        _check_bounds(request, quota, cost)
        found[quota.name] = cost
    return found


def _covers(quota: Quota, item: Item, view: Any) -> bool:
    return bool(item.measure.names(quota.hard)) and item.measure.matches(view, quota.scopes)


def _check_bounds(request: AdmissionRequest, quota: Quota, cost: Amounts) -> None:
    # What the status of an object says has happened: it is counted, not refused.
    if request.subresource == "status":
        return
    after = only(add(quota.used, cost), cost)
    exceeded = over(after, quota.hard)
    if exceeded:
        asked, used, hard = (render(only(a, exceeded)) for a in (cost, quota.used, quota.hard))
        raise refusal(
            request,
            f"exceeded quota: {quota.name}, requested: {asked}, used: {used}, limited: {hard}",
        )


def _check_limited(
    quotas: Sequence[Quota],
    item: Item,
    usage: Amounts,
    covered: set[str],
    limited: Iterable[LimitedResource],
) -> None:
    request, measure = item.request, item.measure
    rules = [rule for rule in limited if rule.group_resource == measure.group_resource]
    if not rules:
        return
    consumed = {
        name
        for rule in rules
        for name, amount in usage.items()
        if amount.nanos > 0 and any(part in name for part in rule.match_contains)
    }
    if consumed - covered:
        text = render_names(consumed - covered)
        raise refusal(request, f"insufficient quota to consume: {text}")
    scoped = {
        wanted.scope_name
        for quota in quotas
        for wanted in quota.scopes
        if measure.in_scope(item.new, wanted)
    }
    lacking = [
        wanted
        for rule in rules
        for wanted in rule.match_scopes
        if measure.in_scope(item.new, wanted) and wanted.scope_name not in scoped
    ]
    if lacking:
        text = " ".join(f"{{{w.scope_name} {w.operator} [{' '.join(w.values)}]}}" for w in lacking)
        raise refusal(request, f"insufficient quota to match these scopes: [{text}]")
