"""Aggregated ClusterRoles show what they grant."""

from __future__ import annotations

from tests.conformance_kit import Rest, wait_until

ROLES = "/apis/rbac.authorization.k8s.io/v1/clusterroles"


def test_the_default_roles_are_filled_and_follow_their_parts(kutter_cluster):
    rest = Rest(kutter_cluster.kubernetes_client())

    def resources(name):
        return {r for rule in rest.get(f"{ROLES}/{name}")["rules"] for r in rule["resources"]}

    wait_until(lambda: "pods" in resources("view"), 30)
    wait_until(lambda: "pods/exec" in resources("edit"), 30)
    # Through edit, which is a part of admin, and from admin's own.
    wait_until(lambda: {"pods/exec", "rolebindings"} <= resources("admin"), 30)
    label = {"rbac.authorization.k8s.io/aggregate-to-view": "true"}
    rules = [{"apiGroups": ["example.com"], "resources": ["widgets"], "verbs": ["get"]}]
    rest.post(ROLES, {"metadata": {"name": "widgets", "labels": label}, "rules": rules})
    for name in ("view", "edit", "admin"):
        wait_until(lambda name=name: "widgets" in resources(name), 30)
    rest.delete(f"{ROLES}/widgets")
    for name in ("view", "edit", "admin"):
        wait_until(lambda name=name: "widgets" not in resources(name), 30)
