"""Rows of networking, admission, flow control, certificates, devices."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from kutter.apiserver.printing.age import human_duration
from kutter.apiserver.printing.columns import (
    NONE,
    UNSET,
    Tree,
    age_of,
    name_of,
    selector_text,
    with_more,
)
from kutter.apiserver.printing.core import load_balancer_text


def ingress_cells(tree: Tree, now: datetime) -> list[Any]:
    spec = tree.get("spec") or {}
    hosts = [r["host"] for r in spec.get("rules") or () if r.get("host")]
    return [
        name_of(tree),
        spec.get("ingressClassName") or NONE,
        with_more(hosts) or "*",
        load_balancer_text(tree),
        "80, 443" if spec.get("tls") else "80",
        age_of(tree, now),
    ]


def ingress_class_cells(tree: Tree, now: datetime) -> list[Any]:
    spec = tree.get("spec") or {}
    parameters, text = spec.get("parameters"), NONE
    if parameters:
        text = parameters.get("kind") or ""
        if parameters.get("apiGroup"):
            text += f".{parameters['apiGroup']}"
        text += f"/{parameters.get('name', '')}"
    annotations = (tree.get("metadata") or {}).get("annotations") or {}
    default = annotations.get("ingressclass.kubernetes.io/is-default-class") == "true"
    name = name_of(tree) + " (default)" * default
    return [name, spec.get("controller") or "", text, age_of(tree, now)]


def network_policy_cells(tree: Tree, now: datetime) -> list[Any]:
    selector = (tree.get("spec") or {}).get("podSelector")
    return [name_of(tree), selector_text(selector), age_of(tree, now)]


def service_cidr_cells(tree: Tree, now: datetime) -> list[Any]:
    ranges = (tree.get("spec") or {}).get("cidrs") or ()
    return [name_of(tree), ",".join(ranges), age_of(tree, now)]


def ip_address_cells(tree: Tree, now: datetime) -> list[Any]:
    reference = (tree.get("spec") or {}).get("parentRef") or {}
    text = "/".join(
        v
        for v in (
            f"{reference.get('resource', '')}.{reference['group']}"
            if reference.get("group")
            else reference.get("resource"),
            reference.get("namespace"),
            reference.get("name"),
        )
        if v
    )
    return [name_of(tree), text or NONE]


def signing_request_cells(tree: Tree, now: datetime) -> list[Any]:
    spec, status = tree.get("spec") or {}, tree.get("status") or {}
    found = {c.get("type") for c in status.get("conditions") or ()}
    word = "Denied" if "Denied" in found else "Approved" if "Approved" in found else "Pending"
    if "Failed" in found:
        word += ",Failed"
    if status.get("certificate"):
        word += ",Issued"
    seconds = spec.get("expirationSeconds")
    return [
        name_of(tree),
        age_of(tree, now),
        spec.get("signerName") or NONE,
        spec.get("username") or "",
        NONE if seconds is None else human_duration(seconds),
        word,
    ]


def runtime_class_cells(tree: Tree, now: datetime) -> list[Any]:
    return [name_of(tree), tree.get("handler") or "", age_of(tree, now)]


def webhook_cells(tree: Tree, now: datetime) -> list[Any]:
    return [name_of(tree), len(tree.get("webhooks") or ()), age_of(tree, now)]


def admission_policy_cells(tree: Tree, now: datetime) -> list[Any]:
    spec = tree.get("spec") or {}
    kind = spec.get("paramKind")
    text = f"{kind.get('apiVersion', '')}/{kind.get('kind', '')}" if kind else UNSET
    what = spec.get("validations") or spec.get("mutations") or ()
    return [name_of(tree), len(what), text, age_of(tree, now)]


def admission_binding_cells(tree: Tree, now: datetime) -> list[Any]:
    spec = tree.get("spec") or {}
    reference = spec.get("paramRef")
    text = UNSET
    if reference:
        # Whether a parameter is namespaced cannot be told from here.
        if reference.get("name"):
            text = f"{reference.get('namespace') or '*'}/{reference['name']}"
        elif reference.get("selector") is not None:
            text = selector_text(reference["selector"])
    return [name_of(tree), spec.get("policyName") or "", text, age_of(tree, now)]


def flow_schema_cells(tree: Tree, now: datetime) -> list[Any]:
    spec = tree.get("spec") or {}
    conditions = (tree.get("status") or {}).get("conditions") or ()
    dangling = next((c.get("status") for c in conditions if c.get("type") == "Dangling"), "?")
    return [
        name_of(tree),
        (spec.get("priorityLevelConfiguration") or {}).get("name") or "",
        spec.get("matchingPrecedence") or 0,
        (spec.get("distinguisherMethod") or {}).get("type") or NONE,
        age_of(tree, now),
        dangling,
    ]


def flow_schema_order(tree: Tree) -> Any:
    """As they are asked: the lowest precedence first."""
    return (tree.get("spec") or {}).get("matchingPrecedence") or 0, name_of(tree)


def priority_level_cells(tree: Tree, now: datetime) -> list[Any]:
    spec = tree.get("spec") or {}
    limits = spec.get("limited") or {}
    queuing = (limits.get("limitResponse") or {}).get("queuing") or {}
    shares = limits.get("nominalConcurrencyShares")
    return [
        name_of(tree),
        spec.get("type") or "",
        NONE if shares is None else shares,
        *(queuing.get(f, NONE) for f in ("queues", "handSize", "queueLengthLimit")),
        age_of(tree, now),
    ]


def resource_claim_cells(tree: Tree, now: datetime) -> list[Any]:
    status = tree.get("status") or {}
    words = []
    if (tree.get("metadata") or {}).get("deletionTimestamp"):
        words.append("deleted")
    if status.get("allocation"):
        words.append("allocated")
        if status.get("reservedFor"):
            words.append("reserved")
    elif not words:
        words.append("pending")
    return [name_of(tree), ",".join(words), age_of(tree, now)]


def resource_slice_cells(tree: Tree, now: datetime) -> list[Any]:
    spec = tree.get("spec") or {}
    return [
        name_of(tree),
        spec.get("nodeName") or "",
        spec.get("driver") or "",
        (spec.get("pool") or {}).get("name") or "",
        age_of(tree, now),
    ]


def trust_bundle_cells(tree: Tree, now: datetime) -> list[Any]:
    return [name_of(tree), (tree.get("spec") or {}).get("signerName") or NONE]


def storage_migration_cells(tree: Tree, now: datetime) -> list[Any]:
    named = (tree.get("spec") or {}).get("resource") or {}
    text = ".".join(filter(None, (named.get("resource"), named.get("group"))))
    word = "Unknown"
    for condition in (tree.get("status") or {}).get("conditions") or ():
        if condition.get("status") == "True" and condition.get("type") in _MIGRATION:
            word = condition["type"]
    return [name_of(tree), text, word]


_MIGRATION = frozenset({"Running", "Failed", "Succeeded"})
