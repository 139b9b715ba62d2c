"""What an aggregated ClusterRole holds."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from kutter.api.types.base import convert
from kutter.api.types.rbac_v1 import ClusterRole
from kutter.apiserver.authz.policy import default_cluster_roles
from kutter.controllers.cluster_roles import plan_rules


def rule(*verbs: str, resource: str = "pods") -> dict[str, Any]:
    return {"apiGroups": [""], "resources": [resource], "verbs": list(verbs)}


def role(name: str, *rules: dict[str, Any], labels: dict[str, str] | None = None, **more: Any):
    tree = {"metadata": {"name": name, "labels": labels or {}}, "rules": list(rules), **more}
    return convert(ClusterRole, tree)


def whole(*selectors: dict[str, Any], name: str = "whole") -> ClusterRole:
    return role(name, aggregationRule={"clusterRoleSelectors": list(selectors)})


PART = {"matchLabels": {"part": "yes"}}


def test_parts_count_in_order_of_their_names_and_each_rule_once() -> None:
    parts = [
        role("b", rule("list"), rule("get"), labels={"part": "yes"}),
        role("a", rule("get"), labels={"part": "yes"}),
        role("c", rule("delete"), labels={"part": "no"}),
    ]
    found = plan_rules(whole(PART), parts)
    assert found is not None
    assert [r.verbs for r in found] == [("get",), ("list",)]


def test_who_aggregates_nothing_is_left_alone() -> None:
    assert plan_rules(role("plain", rule("get")), []) is None
    assert plan_rules(whole(), [role("a", rule("get"))]) == []


def test_several_selectors_add_up_and_a_role_is_no_part_of_itself() -> None:
    expression = {"matchExpressions": [{"key": "kind", "operator": "In", "values": ["x"]}]}
    own = convert(
        ClusterRole,
        {
            "metadata": {"name": "whole", "labels": {"part": "yes"}},
            "aggregationRule": {"clusterRoleSelectors": [PART, expression]},
            "rules": [rule("own")],
        },
    )
    parts = [
        own,
        role("a", rule("get"), labels={"part": "yes"}),
        role("b", rule("list"), labels={"kind": "x"}),
    ]
    found = plan_rules(own, parts)
    assert found is not None
    assert [r.verbs for r in found] == [("get",), ("list",)]


@settings(deadline=None)
@given(st.permutations(["a", "b", "c", "d"]), st.lists(st.sampled_from("abcd"), max_size=4))
def test_the_order_they_come_in_does_not_matter(order: list[str], labelled: list[str]) -> None:
    parts = [
        role(n, rule(n), rule("get"), labels={"part": "yes"} if n in labelled else {})
        for n in order
    ]
    found = plan_rules(whole(PART), parts)
    expected = plan_rules(whole(PART), sorted(parts, key=lambda r: r.metadata.name))
    assert found == expected
    assert found is not None
    # A second run is a no-op.
    filled = role("whole", *(r.tree() for r in found))
    assert list(filled.rules) == found


def test_the_default_roles_are_a_fixed_point_after_as_many_steps_as_levels() -> None:
    roles = {r["metadata"]["name"]: convert(ClusterRole, r) for r in default_cluster_roles()}
    for _ in range(3):
        for name, view in list(roles.items()):
            rules = plan_rules(view, roles.values())
            if rules is not None:
                roles[name] = msgspec.structs.replace(view, rules=tuple(rules))
    view, edit, admin = (roles[n].rules for n in ("view", "edit", "admin"))
    assert len(view) < len(edit) < len(admin)
    assert all(rule in edit for rule in view)
    assert plan_rules(roles["admin"], roles.values()) == list(admin)
