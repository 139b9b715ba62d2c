"""Rule matching and covering against the definition, spelled out naively."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from kutter.apiserver.authn.identity import User
from kutter.apiserver.authz.rules import any_allows, compile_rules, uncovered_rules
from kutter.apiserver.ports import Attributes

VERBS = ["get", "list", "delete"]
GROUPS = ["", "apps"]
RESOURCES = ["pods", "pods/log", "deployments", "deployments/scale"]
NAMES = ["", "a", "b"]
PATHS = ["/api", "/api/v1", "/healthz", "/healthz/x"]


def lists(values: list[str], minimum: int = 1) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(values), min_size=minimum, max_size=3, unique=True)


rules = st.one_of(
    st.fixed_dictionaries(
        {
            "verbs": lists([*VERBS, "*"]),
            "apiGroups": lists([*GROUPS, "*"]),
            "resources": lists([*RESOURCES, "*", "*/scale", "*/log"]),
        },
        optional={"resourceNames": lists(["a", "b"], 0)},
    ),
    st.fixed_dictionaries(
        {
            "verbs": lists([*VERBS, "*"]),
            "nonResourceURLs": lists(["*", "/api", "/api/*", "/healthz", "/healthz*"]),
        }
    ),
)
rule_lists = st.lists(rules, max_size=4)
WHO = User("u")
REQUESTS = [
    Attributes(
        WHO, v, group=g, resource=r.split("/")[0], subresource="".join(r.split("/")[1:]),
        name=n, is_resource=True,
    )
    for v in VERBS for g in GROUPS for r in RESOURCES for n in NAMES
] + [Attributes(WHO, v, path=p) for v in VERBS for p in PATHS]  # fmt: skip


def naive(rule: dict[str, Any], a: Attributes) -> bool:
    if not any(v in ("*", a.verb) for v in rule["verbs"]):
        return False
    if not a.is_resource:
        for url in rule.get("nonResourceURLs", []):
            if url == a.path or (url.endswith("*") and a.path.startswith(url[:-1])):
                return True
        return False
    if not any(g in ("*", a.group) for g in rule.get("apiGroups", [])):
        return False
    full = f"{a.resource}/{a.subresource}" if a.subresource else a.resource
    fits = any(
        r in ("*", full) or (a.subresource != "" and r == f"*/{a.subresource}")
        for r in rule.get("resources", [])
    )
    names = rule.get("resourceNames", [])
    return fits and (not names or a.name in names)


@given(rule_lists)
@settings(max_examples=150, deadline=None)
def test_matching_equals_the_definition(policy: list[dict[str, Any]]) -> None:
    compiled = compile_rules(policy)
    for request in REQUESTS:
        assert any_allows(compiled, request) == any(naive(r, request) for r in policy)


@given(rule_lists, rule_lists)
@settings(max_examples=150, deadline=None)
def test_what_is_covered_allows_nothing_new(
    owned: list[dict[str, Any]], wanted: list[dict[str, Any]]
) -> None:
    lacking = uncovered_rules(owned, wanted)
    have, want = compile_rules([*owned, *lacking]), compile_rules(wanted)
    for request in REQUESTS:
        if any_allows(want, request):
            assert any_allows(have, request)
    assert uncovered_rules([*owned, *lacking], wanted) == []
    assert uncovered_rules(wanted, wanted) == []
